/* options.c - hak_option_get and hak_option_set.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "blocks.h"

#include <inttypes.h>

enum { VALUE_BYTES = 32 }; /* always suffice */

static const char *get(const char *name) {
    static char value[VALUE_BYTES];
    memset(value, '?', sizeof value);
    if (hak_option_get(name, value, sizeof value) != 0)
        return "(error)";
    CHECK(memchr(value, '\0', sizeof value));
    return value;
}

static const struct {
    const char *name, *usual;
} options[] = {
    {"prewarm", "off"},
    {"pool_tls_arena_mb_init", "1"},
    {"pool_tls_arena_mb_max", "8"},
    {"pool_tls_arena_growth_levels", "3"},
    {"thread_cache_kb", "8192"},
    {"checks", "0"},
    {"on_error", "abort"},
    {"stats", "0"},
};

TEST(options_have_their_defaults) {
    for (size_t i = 0; i < TEST_COUNT(options); i++) {
        AT("option", i);
        CHECK_STR(get(options[i].name), options[i].usual);
    }
    static const char *const tuned[] = {"heaps", "cache_total_mb", "large_cache_mb",
                                        "purge_delay_ms"};
    for (size_t i = 0; i < TEST_COUNT(tuned); i++) {
        AT("tuned option", i);
        CHECK(get(tuned[i])[0] >= '0' && get(tuned[i])[0] <= '9');
    }
}

TEST(an_unknown_option_is_enoent) {
    char value[VALUE_BYTES] = "kept";
    CHECK_EQ(hak_option_get("no_such_option", value, sizeof value), ENOENT);
    CHECK_STR(value, "kept");
    CHECK_EQ(hak_option_set("no_such_option", "1"), ENOENT);
    CHECK_EQ(hak_option_set("", "1"), ENOENT);
    CHECK_EQ(hak_option_set("prewar", "off"), ENOENT);
    CHECK_EQ(hak_option_set("prewarm=", "off"), ENOENT);
}

TEST(a_value_that_does_not_parse_is_einval_and_the_old_one_stays) {
    static const char *const bad[] = {
        "", "x", "abort ", "1x", "-1", "1 ", "0x", "99999999999999999999999", "1.5"};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        char before[VALUE_BYTES];
        CHECK_EQ(hak_option_get("purge_delay_ms", before, sizeof before), 0);
        AT("value", i);
        CHECK_EQ(hak_option_set("purge_delay_ms", bad[i]), EINVAL);
        CHECK_STR(get("purge_delay_ms"), before);
        CHECK_EQ(hak_option_set("on_error", bad[i]), EINVAL);
        CHECK_STR(get("on_error"), "abort");
    }
}

TEST(a_value_that_was_set_is_read_back) {
    CHECK_EQ(hak_option_set("purge_delay_ms", "1234"), 0);
    CHECK_STR(get("purge_delay_ms"), "1234");
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    CHECK_STR(get("on_error"), "continue");
    CHECK_EQ(hak_option_set("on_error", "abort"), 0);
    CHECK_STR(get("on_error"), "abort");
}

/* Threads attach to heaps from the first allocation on. */
TEST(an_option_that_is_read_at_start_only_is_ebusy) {
    hak_free(hak_malloc(1));
    CHECK_EQ(hak_option_set("heaps", "2"), EBUSY);
}

static struct hak_option_info info(unsigned index) {
    struct hak_option_info row;
    CHECK_EQ(hak_option_info(index, &row, sizeof row), 0);
    return row;
}

static const char *const names[] = {
#define OPTION(name, ...) #name,
#include "core/options.def"
#undef OPTION
};

TEST(every_option_is_listed_with_its_meaning) {
    for (unsigned index = 0; index < TEST_COUNT(names); index++) {
        struct hak_option_info row = info(index);
        AT("option", index);
        CHECK_STR(row.name, names[index]);
        CHECK(row.help && strlen(row.help) > 10);
        CHECK_LE(row.least, row.default_value);
        CHECK_LE(row.default_value, row.most);
    }
}

TEST(an_option_past_the_last_is_enoent) {
    struct hak_option_info row = {.name = "kept"};
    CHECK_EQ(hak_option_info(TEST_COUNT(names), &row, sizeof row), ENOENT);
    CHECK_EQ(hak_option_info(UINT32_MAX, &row, sizeof row), ENOENT);
    CHECK_STR(row.name, "kept");
}

TEST(the_list_says_which_options_can_be_set_and_to_what) {
    for (unsigned index = 0; index < TEST_COUNT(names); index++) {
        struct hak_option_info row = info(index);
        char beyond[VALUE_BYTES];
        AT("option", index);
        CHECK_EQ(hak_option_set(row.name, get(row.name)), row.at_start ? EBUSY : 0);
        snprintf(beyond, sizeof beyond, "%" PRIu64, row.most + 1);
        CHECK_EQ(hak_option_set(row.name, row.choices ? row.choices : beyond), EINVAL);
        if (!row.at_start)
            CHECK_EQ(hak_option_set(row.name, "1K"), row.is_size ? 0 : EINVAL);
        if (row.is_size)
            CHECK_EQ(hak_option_set(row.name, "0"), 0);
    }
}

TEST(a_row_has_the_default_and_the_choices) {
    unsigned found = 0;
    for (unsigned index = 0; index < TEST_COUNT(names); index++) {
        struct hak_option_info row = info(index);
        if (strcmp(row.name, "purge_delay_ms") == 0) {
            CHECK_EQ(row.default_value, 1000);
            CHECK_EQ(row.most, 86400000);
            CHECK(row.choices == NULL && !row.is_size && !row.at_start);
            found++;
        } else if (strcmp(row.name, "on_error") == 0) {
            CHECK_EQ(row.default_value, 0);
            CHECK_STR(row.choices, "abort|continue");
            found++;
        } else if (strcmp(row.name, "limit_hard") == 0) {
            CHECK(row.choices == NULL && row.is_size);
            found++;
        } else if (strcmp(row.name, "checks") == 0) {
            CHECK(row.at_start);
            found++;
        }
    }
    CHECK_EQ(found, 4);
}

TEST(a_caller_with_a_shorter_or_longer_row_gets_the_fields_that_both_know) {
    struct hak_option_info row;
    memset(&row, 0xff, sizeof row);
    CHECK_EQ(hak_option_info(0, &row, sizeof row.name), 0);
    CHECK_STR(row.name, names[0]);
    CHECK_EQ((uintptr_t)row.help, UINTPTR_MAX);
    struct {
        struct hak_option_info known;
        uint64_t later;
    } whole;
    memset(&whole, 0xff, sizeof whole);
    CHECK_EQ(hak_option_info(0, &whole.known, sizeof whole), 0);
    CHECK_EQ(whole.later, 0);
}

TEST(a_short_buffer_is_erange) {
    char value[VALUE_BYTES] = "kept";
    CHECK_EQ(hak_option_get("on_error", value, 5), ERANGE);
    CHECK_EQ(hak_option_get("on_error", value, 0), ERANGE);
    CHECK_EQ(hak_option_get("on_error", value, 6), 0);
    CHECK_STR(value, "abort");
}
