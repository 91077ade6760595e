/* report.c - the text and JSON reports.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "blocks.h"

enum { TEXT_BYTES = 1024 * 1024 };

struct text {
    char *bytes;
    size_t length;
};

static void append(void *arg, const char *text, size_t bytes) {
    struct text *all = arg;
    if (all->length + bytes >= TEXT_BYTES) {
        test_fail(__FILE__, __LINE__, "the report fits in a megabyte");
        return;
    }
    memcpy(all->bytes + all->length, text, bytes);
    all->length += bytes;
    all->bytes[all->length] = '\0';
}

static struct text report(enum hak_report_format format) {
    struct text text = {test_map(TEXT_BYTES), 0};
    hak_report(format, append, &text);
    return text;
}

/* ---- A JSON checker: RFC 8259, values thrown away -------------------------------------------- */

static const char *json_value(const char *at, unsigned depth);

static const char *json_space(const char *at) { return at ? at + strspn(at, " \t\r\n") : NULL; }

static const char *json_string(const char *at) {
    if (*at++ != '"')
        return NULL;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\' && !strchr("\"\\/bfnrtu", *++at))
            return NULL;
    }
    return at + 1;
}

static const char *json_number(const char *at) {
    if (*at == '-')
        at++;
    size_t digits = strspn(at, "0123456789");
    if (digits == 0 || (digits > 1 && *at == '0'))
        return NULL;
    at += digits;
    if (*at == '.') {
        digits = strspn(++at, "0123456789");
        if (digits == 0)
            return NULL;
        at += digits;
    }
    return at;
}

/* An object or an array, at its opening bracket. */
static const char *json_list(const char *at, char close, unsigned depth) {
    at = json_space(at + 1);
    if (*at == close)
        return at + 1;
    for (;;) {
        if (close == '}') {
            at = json_space(json_string(at));
            if (!at || *at != ':')
                return NULL;
            at = json_space(at + 1);
        }
        at = json_space(json_value(at, depth + 1));
        if (!at)
            return NULL;
        if (*at == close)
            return at + 1;
        if (*at != ',')
            return NULL;
        at = json_space(at + 1);
    }
}

static const char *json_value(const char *at, unsigned depth) {
    enum { DEPTH_MOST = 20 };
    static const char *const words[] = {"true", "false", "null"};
    if (depth > DEPTH_MOST)
        return NULL;
    if (*at == '{')
        return json_list(at, '}', depth);
    if (*at == '[')
        return json_list(at, ']', depth);
    if (*at == '"')
        return json_string(at);
    for (size_t i = 0; i < TEST_COUNT(words); i++)
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    return json_number(at);
}

static int json_valid(const char *text) {
    const char *at = json_space(json_value(json_space(text), 0));
    return at && *at == '\0';
}

/* Returns the number after "name": in the text, or UINT64_MAX if there is none. */
static uint64_t json_field(const char *text, const char *name) {
    char key[64];
    snprintf(key, sizeof key, "\"%s\"", name);
    const char *at = strstr(text, "\"stats\":"); /* options may have the same names */
    at = at ? strstr(at, key) : NULL;
    if (!at)
        return UINT64_MAX;
    at = json_space(at + strlen(key));
    return *at == ':' ? strtoull(at + 1, NULL, 10) : UINT64_MAX;
}

TEST(the_json_checker_tells_good_from_bad) {
    CHECK(json_valid(" {\"a\": [1, -2.5, \"x\\n\", true, null], \"b\": {}} \n"));
    CHECK(!json_valid("{\"a\": 1,}"));
    CHECK(!json_valid("{\"a\" 1}"));
    CHECK(!json_valid("[1 2]"));
    CHECK(!json_valid("{\"a\": 01}"));
    CHECK(!json_valid("{} x"));
    CHECK(!json_valid(""));
}

TEST(the_json_report_is_json) {
    struct text json = report(HAK_REPORT_JSON);
    CHECK(json.length > 0);
    if (!json_valid(json.bytes))
        CHECK_STR(json.bytes, "valid JSON");
}

TEST(the_json_report_has_every_field_of_the_struct_by_its_name) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    const struct {
        const char *name;
        uint64_t value;
    } fields[] = {
#define STAT(field, ...) {#field, stats.field},
#include "core/stats.def"
#undef STAT
    };
    CHECK_EQ(TEST_COUNT(fields) * sizeof(uint64_t), sizeof stats);
    struct text json = report(HAK_REPORT_JSON);
    for (size_t i = 0; i < TEST_COUNT(fields); i++)
        if (json_field(json.bytes, fields[i].name) != fields[i].value)
            CHECK_STR(fields[i].name, "a field with the value of the struct");
}

TEST(the_text_report_names_the_bytes_live) {
    void *p = hak_malloc(123456789);
    REQUIRE(p);
    struct text text = report(HAK_REPORT_TEXT);
    CHECK_CONTAINS(text.bytes, "hakmem");
    CHECK_CONTAINS(text.bytes, "live");
    CHECK(text.length > 0 && text.bytes[text.length - 1] == '\n');
    hak_free(p);
}

static void report_to_null(void *arg) { hak_report(*(enum hak_report_format *)arg, NULL, NULL); }

TEST(without_a_function_the_report_goes_to_standard_error) {
    static const char *const words[] = {
        [HAK_REPORT_TEXT] = "  Bytes in live blocks\n",
        [HAK_REPORT_JSON] = "\"bytes_live\"",
        [HAK_REPORT_PROMETHEUS] = "\nhakmem_bytes_live ",
        [HAK_REPORT_PROMETHEUS_CLASSES] = "\nhakmem_bytes_live ",
    };
    for (size_t format = 0; format < TEST_COUNT(words); format++) {
        enum hak_report_format chosen = (enum hak_report_format)format;
        struct test_child child = test_in_child(report_to_null, &chosen);
        CHECK_EXITED(child);
        CHECK_CONTAINS(child.errors, words[format]);
    }
}
