/* core/options.c - parsing options. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <hakmem.h>
#include <string.h>

#include "../os/check.h"
#include "../os/os.h"

enum option_when { ANYTIME, START };

enum {
    OPTION_LINE_BYTES = 256,
    OPTION_VALUE_BYTES = 32,
};

struct option_row {
    const char *name;
    uint64_t fallback;
    uint64_t least;
    uint64_t most;
    const char *choices;
    enum option_when when;
};

static const struct option_row option_rows[HK_OPTION_COUNT] = {
#define OPTION(name, fallback, least, most, choices, when, help)                                   \
    {#name, fallback, least, most, choices, when},
#include "options.def"
#undef OPTION
};

uint64_t hk_option_values[HK_OPTION_COUNT] = {
#define OPTION(name, fallback, ...) fallback,
#include "options.def"
#undef OPTION
};

static const char option_prefix[] = "HAKMEM_";

static char option_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* The row whose name is the first `bytes` of `name`, case ignored; -1 if there is none. */
static int option_find(const char *name, size_t bytes) {
    for (int i = 0; i < HK_OPTION_COUNT; i++) {
        const char *row = option_rows[i].name;
        size_t k = 0;
        while (k < bytes && row[k] != 0 && row[k] == option_lower(name[k]))
            k++;
        if (k == bytes && row[k] == 0)
            return i;
    }
    return -1;
}

/* The bytes of the first choice in "a|b|c". */
static size_t option_choice_bytes(const char *choices) { return strcspn(choices, "|"); }

static bool option_parse_choice(const char *choices, const char *text, size_t bytes,
                                uint64_t *value) {
    for (uint64_t i = 0;; i++) {
        size_t n = option_choice_bytes(choices);
        if (n == bytes && memcmp(choices, text, n) == 0) {
            *value = i;
            return true;
        }
        if (choices[n] == 0)
            return false;
        choices += n + 1;
    }
}

static bool option_parse_number(const char *text, size_t bytes, uint64_t *value) {
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] < '0' || text[i] > '9' || number > (UINT64_MAX - 9) / 10)
            return false;
        number = number * 10 + (uint64_t)(text[i] - '0');
    }
    *value = number;
    return bytes > 0;
}

static bool option_is_size(const struct option_row *row) {
    return row->choices != NULL && row->choices[0] == '%';
}

/* Bytes, or "80%" of the cgroup's limit; without such a limit, no limit. */
static bool option_parse_size(const char *text, size_t bytes, uint64_t *value) {
    if (bytes == 0 || text[bytes - 1] != '%')
        return option_parse_number(text, bytes, value);
    uint64_t percent;
    if (!option_parse_number(text, bytes - 1, &percent) || percent > 100)
        return false;
    *value = hk_os_memory_limit() / 100 * percent;
    return true;
}

static bool option_parse(const struct option_row *row, const char *text, size_t bytes,
                         uint64_t *value) {
    bool parsed = option_is_size(row)    ? option_parse_size(text, bytes, value)
                  : row->choices != NULL ? option_parse_choice(row->choices, text, bytes, value)
                                         : option_parse_number(text, bytes, value);
    return parsed && *value >= row->least && *value <= row->most;
}

static void option_store(int option, uint64_t value) {
    hk_store_relaxed(&hk_option_values[option], value); /* relaxed: a setting */
}

static void option_print(int option, uint64_t value, struct hk_text *text) {
    const char *choices = option_rows[option].choices;
    if (choices == NULL || option_is_size(&option_rows[option])) {
        hk_text_add_number(text, value);
        return;
    }
    for (; value > 0; value--)
        choices += option_choice_bytes(choices) + 1;
    hk_text_add_bytes(text, choices, option_choice_bytes(choices));
}

/* "hakmem: HAKMEM_HEAPS=x: not a number from 0 to 256; 0 is used" */
static void option_warn(int option, const char *given, size_t bytes) {
    const struct option_row *row = &option_rows[option];
    char line[OPTION_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line - 1};
    hk_text_add(&text, "hakmem: ");
    hk_text_add_bytes(&text, given, bytes < 64 ? bytes : 64);
    if (option_is_size(row)) {
        hk_text_add(&text, ": not a number of bytes, or of per cent to 100%");
    } else if (row->choices != NULL) {
        hk_text_add(&text, ": not one of ");
        hk_text_add(&text, row->choices);
    } else {
        hk_text_add(&text, ": not a number from ");
        hk_text_add_number(&text, row->least);
        hk_text_add(&text, " to ");
        hk_text_add_number(&text, row->most);
    }
    hk_text_add(&text, "; ");
    option_print(option, hk_option((enum hk_option)option), &text);
    hk_text_add(&text, " is used");
    *text.at++ = '\n';
    hk_os_write_error(line, (size_t)(text.at - line));
}

static void option_warn_unknown(const char *given, size_t bytes) {
    char line[OPTION_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line - 1};
    hk_text_add(&text, "hakmem: ");
    hk_text_add_bytes(&text, given, bytes < 64 ? bytes : 64);
    hk_text_add(&text, ": there is no such option");
    *text.at++ = '\n';
    hk_os_write_error(line, (size_t)(text.at - line));
}

/* One "name=value" of `bytes` bytes, the name from `skip` on. */
static void option_read(const char *given, size_t bytes, size_t skip) {
    const char *equals = memchr(given, '=', bytes);
    size_t name_end = equals != NULL ? (size_t)(equals - given) : bytes;
    int option = option_find(given + skip, name_end - skip);
    uint64_t value;
    if (option < 0)
        option_warn_unknown(given, name_end);
    else if (equals != NULL &&
             option_parse(&option_rows[option], equals + 1, bytes - name_end - 1, &value))
        option_store(option, value);
    else
        option_warn(option, given, bytes);
}

static void options_read_conf(void) {
    const char *conf = &hak_conf != NULL ? hak_conf : NULL;
    while (conf != NULL && *conf != 0) {
        size_t bytes = strcspn(conf, ", ");
        if (bytes > 0)
            option_read(conf, bytes, 0);
        conf += bytes + (conf[bytes] != 0);
    }
}

void hk_options_read(void) {
    options_read_conf();
    const size_t prefix_bytes = sizeof option_prefix - 1;
    for (char *const *entry = hk_os_environment(); entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, option_prefix, prefix_bytes) == 0)
            option_read(*entry, strlen(*entry), prefix_bytes);
    }
}

int hk_option_set(const char *name, const char *value) {
    int option = option_find(name, strlen(name));
    if (option < 0)
        return ENOENT;
    uint64_t parsed;
    if (!option_parse(&option_rows[option], value, strlen(value), &parsed))
        return EINVAL;
    if (option_rows[option].when == START)
        return EBUSY;
    option_store(option, parsed);
    return 0;
}

static int option_get(int option, char *value, size_t value_bytes) {
    char text_bytes[OPTION_VALUE_BYTES];
    struct hk_text text = {text_bytes, text_bytes + sizeof text_bytes};
    option_print(option, hk_option((enum hk_option)option), &text);
    size_t bytes = (size_t)(text.at - text_bytes);
    if (bytes >= value_bytes)
        return ERANGE;
    memcpy(value, text_bytes, bytes);
    value[bytes] = 0;
    return 0;
}

int hk_option_get(const char *name, char *value, size_t value_bytes) {
    int option = option_find(name, strlen(name));
    return option < 0 ? ENOENT : option_get(option, value, value_bytes);
}

bool hk_option_describe(unsigned index, const char **name, char *value, size_t value_bytes) {
    if (index >= HK_OPTION_COUNT)
        return false;
    *name = option_rows[index].name;
    return option_get((int)index, value, value_bytes) == 0;
}
