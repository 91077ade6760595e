/* core/options.c - parsing options. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <hakmem.h>

#include "../base/string.h"
#include "../os/check.h"
#include "../os/os.h"

enum option_when { ANYTIME, START };

enum {
    OPTION_LINE_BYTES = 256,
    OPTION_VALUE_BYTES = 32,
    OPTION_TEXT_BYTES = 256,
    OPTION_NAME_BYTES = 40,     /* longer than any name, or a misspelt one */
    OPTION_MISSPELT = 2,        /* maximum number of wrong letters in a misspelt name */
    OPTION_FRACTION_DIGITS = 6, /* of a size */
    OPTION_TREE_UNKNOWN = 0,
    OPTION_TREE_FIRST = 1,
    OPTION_TREE_MARKED = 2,
};

struct option_row {
    const char *name;
    uint64_t fallback;
    uint64_t least;
    uint64_t most;
    const char *choices;
    enum option_when when;
    const char *help;
};

static const struct option_row option_rows[HK_OPTION_COUNT] = {
#define OPTION(name, fallback, least, most, choices, when, help)                                   \
    {#name, fallback, least, most, choices, when, help},
#include "options.def"
#undef OPTION
};

uint64_t hk_option_values[HK_OPTION_COUNT] = {
#define OPTION(name, fallback, ...) fallback,
#include "options.def"
#undef OPTION
};

static const char *const option_text_names[HK_TEXT_OPTION_COUNT] = {
#define OPTION(name, ...)
#define TEXT_OPTION(name, ...) #name,
#include "options.def"
#undef OPTION
};

static char option_texts[HK_TEXT_OPTION_COUNT][OPTION_TEXT_BYTES] = {
#define OPTION(name, ...)
#define TEXT_OPTION(name, fallback, help) fallback,
#include "options.def"
#undef OPTION
};

static const char option_prefix[] = "HAKMEM_";

static uint32_t option_tree; /* atomic: OPTION_TREE_*, see options_warn_in_tree */

static char option_lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

/* Whether the first `bytes` of `name` are the name of a row, ignoring case. */
static bool option_is_named(const char *row, const char *name, size_t bytes) {
    size_t k = 0;
    while (k < bytes && row[k] != 0 && row[k] == option_lower(name[k]))
        k++;
    return k == bytes && row[k] == 0;
}

/* The row named by the first `bytes` of `name`, or -1 if there is none. */
static int option_find(const char *name, size_t bytes) {
    for (int i = 0; i < HK_OPTION_COUNT; i++) {
        if (option_is_named(option_rows[i].name, name, bytes))
            return i;
    }
    return -1;
}

/* The same among the texts. */
static int option_find_text(const char *name, size_t bytes) {
    for (int i = 0; i < HK_TEXT_OPTION_COUNT; i++) {
        if (option_is_named(option_text_names[i], name, bytes))
            return i;
    }
    return -1;
}

const char *hk_option_text(enum hk_text_option option) { return option_texts[option]; }

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

/* The unit K, M, G or T, ignoring case. B or iB may follow. All are powers of 1024. 0 if there is
 * no unit. */
static uint64_t option_parse_unit(const char *text, size_t bytes) {
    static const char letters[] = "kmgt";
    const char *letter = bytes > 0 ? strchr(letters, option_lower(text[0])) : NULL;
    bool known = bytes == 1 || (bytes == 2 && option_lower(text[1]) == 'b') ||
                 (bytes == 3 && text[1] == 'i' && option_lower(text[2]) == 'b');
    if (letter == NULL || *letter == 0 || !known)
        return 0;
    return (uint64_t)1 << (10 * (letter - letters + 1));
}

static size_t option_digits(const char *text, size_t bytes) {
    size_t digits = 0;
    while (digits < bytes && text[digits] >= '0' && text[digits] <= '9')
        digits++;
    return digits;
}

/* "209715200", "200M", "1.5GiB". */
static bool option_parse_bytes(const char *text, size_t bytes, uint64_t *value) {
    size_t whole = option_digits(text, bytes);
    if (whole == bytes)
        return option_parse_number(text, bytes, value);

    size_t unit_at = whole;
    const char *fraction = text + whole + 1;
    size_t digits = 0;
    if (text[whole] == '.') {
        digits = option_digits(fraction, bytes - whole - 1);
        unit_at += 1 + digits;
        if (digits == 0 || digits > OPTION_FRACTION_DIGITS)
            return false;
    }

    uint64_t unit = option_parse_unit(text + unit_at, bytes - unit_at);
    uint64_t number, part = 0, ten = 1;
    if (unit == 0 || !option_parse_number(text, whole, &number) || number > INT64_MAX / unit - 1)
        return false;

    for (size_t i = 0; i < digits; i++, ten *= 10)
        part = part * 10 + (uint64_t)(fraction[i] - '0');
    *value = number * unit + part * unit / ten;
    return true;
}

/* Parses bytes, or a percentage of the cgroup's limit such as "80%". If the cgroup has no limit,
 * the value is 0. */
static bool option_parse_size(const char *text, size_t bytes, uint64_t *value) {
    if (bytes == 0 || text[bytes - 1] != '%')
        return option_parse_bytes(text, bytes, value);
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

/* ---- Warnings -------------------------------------------------------------------------------- */

struct option_line {
    struct hk_text text;
    char bytes[OPTION_LINE_BYTES];
};

/* Begins "hakmem: HAKMEM_HEAPS=x: ". */
static void option_line_begin(struct option_line *line, const char *given, size_t bytes) {
    enum { GIVEN_BYTES = 64 };
    line->text = (struct hk_text){line->bytes, line->bytes + sizeof line->bytes - 1};
    hk_text_add(&line->text, "hakmem: ");
    hk_text_add_bytes(&line->text, given, bytes < GIVEN_BYTES ? bytes : GIVEN_BYTES);
    hk_text_add(&line->text, ": ");
}

static void option_line_end(struct option_line *line) {
    *line->text.at++ = '\n';
    hk_os_write_error(line->bytes, (size_t)(line->text.at - line->bytes));
}

/* Ends in "; 0 is used". */
static void option_line_end_used(struct option_line *line, int option) {
    hk_text_add(&line->text, "; ");
    option_print(option, hk_option((enum hk_option)option), &line->text);
    hk_text_add(&line->text, " is used");
    option_line_end(line);
}

/* "hakmem: HAKMEM_HEAPS=x: not a number from 0 to 256; 0 is used" */
static void option_warn(int option, const char *given, size_t bytes) {
    const struct option_row *row = &option_rows[option];
    struct option_line line;
    option_line_begin(&line, given, bytes);

    if (option_is_size(row)) {
        hk_text_add(&line.text, "not a number of bytes, as 200M or 1.5GiB, or of per cent to 100%");
    } else if (row->choices != NULL) {
        hk_text_add(&line.text, "not one of ");
        hk_text_add(&line.text, row->choices);
    } else {
        hk_text_add(&line.text, "not a number from ");
        hk_text_add_number(&line.text, row->least);
        hk_text_add(&line.text, " to ");
        hk_text_add_number(&line.text, row->most);
    }

    option_line_end_used(&line, option);
}

static void option_warn_late(int option, const char *given, size_t bytes) {
    struct option_line line;
    option_line_begin(&line, given, bytes);
    hk_text_add(&line.text, "memory was allocated before the environment could be read");
    option_line_end_used(&line, option);
}

static void option_warn_unknown(const char *given, size_t bytes) {
    struct option_line line;
    option_line_begin(&line, given, bytes);
    hk_text_add(&line.text, "there is no such option");
    option_line_end(&line);
}

/* Some warnings concern the environment rather than one process. The first process prints them, and
 * the processes that it starts do not repeat them. */
static bool options_warn_in_tree(void) {
    uint32_t tree = hk_load_relaxed(&option_tree); /* relaxed: a setting */
    if (tree == OPTION_TREE_UNKNOWN) {
        tree = hk_os_mark_tree() ? OPTION_TREE_FIRST : OPTION_TREE_MARKED;
        hk_store_relaxed(&option_tree, tree); /* relaxed: a setting */
    }
    return tree == OPTION_TREE_FIRST;
}

/* Warns about a percentage if there is no limit to apply it to. */
static void option_warn_unlimited(int option, const char *given, size_t bytes) {
    bool percent = option_is_size(&option_rows[option]) && given[bytes - 1] == '%';
    if (!percent || hk_os_memory_limit() != 0 || !options_warn_in_tree())
        return;
    struct option_line line;
    option_line_begin(&line, given, bytes);
    hk_text_add(&line.text,
                "no control group limits the memory of this process; there is no limit");
    option_line_end(&line);
}

/* ---- Misspelt names -------------------------------------------------------------------------- */

static uint32_t option_least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* The edit distance: the number of letters to insert, remove or replace to turn `name` into the
 * name of the row. */
static uint32_t option_distance(const char *row, const char *name, size_t bytes) {
    uint32_t costs[OPTION_NAME_BYTES + 1]; /* from the first letters of `name` to those of `row` */
    if (bytes > OPTION_NAME_BYTES)
        return UINT32_MAX;

    for (size_t k = 0; k <= bytes; k++)
        costs[k] = (uint32_t)k;

    for (uint32_t i = 0; row[i] != 0; i++) {
        uint32_t diagonal = costs[0];
        costs[0] = i + 1;
        for (size_t k = 1; k <= bytes; k++) {
            uint32_t replaced = diagonal + (row[i] != option_lower(name[k - 1]));
            diagonal = costs[k];
            costs[k] = option_least(replaced, option_least(costs[k], costs[k - 1]) + 1);
        }
    }

    return costs[bytes];
}

/* Replaces *nearest and *least if a row is nearer to `name`. */
static void option_compare(const char *row, const char *name, size_t bytes, const char **nearest,
                           uint32_t *least) {
    uint32_t distance = option_distance(row, name, bytes);
    if (distance < *least) {
        *least = distance;
        *nearest = row;
    }
}

/* Other tools have variables with our prefix, so only a name that looks misspelt gets a warning. */
static void option_warn_misspelt(const char *given, size_t bytes) {
    const char *name = given + sizeof option_prefix - 1;
    size_t name_bytes = bytes - (sizeof option_prefix - 1);
    uint32_t least = OPTION_MISSPELT + 1;
    const char *meant = NULL;

    for (int i = 0; i < HK_OPTION_COUNT; i++)
        option_compare(option_rows[i].name, name, name_bytes, &meant, &least);
    for (int i = 0; i < HK_TEXT_OPTION_COUNT; i++)
        option_compare(option_text_names[i], name, name_bytes, &meant, &least);

    if (meant == NULL || !options_warn_in_tree())
        return;

    struct option_line line;
    option_line_begin(&line, given, bytes);
    hk_text_add(&line.text, "there is no such option; the nearest is ");
    hk_text_add(&line.text, meant);
    option_line_end(&line);
}

/* ---- Reading --------------------------------------------------------------------------------- */

enum option_source { FROM_CONF, FROM_ENVIRONMENT, FROM_LATE_ENVIRONMENT };

/* Stores a parsed value if it can still take effect. */
static void option_take(int option, uint64_t value, const char *given, enum option_source source) {
    size_t bytes = strcspn(given, source == FROM_CONF ? ", " : "");
    bool late = source == FROM_LATE_ENVIRONMENT && option_rows[option].when == START;
    if (late && value != hk_option((enum hk_option)option)) {
        option_warn_late(option, given, bytes);
        return;
    }
    option_store(option, value);
    option_warn_unlimited(option, given, bytes);
}

/* Stores the text after `equals`, up to `end`. */
static void option_take_text(int option, const char *given, const char *equals, const char *end) {
    size_t bytes = equals != NULL ? (size_t)(end - equals - 1) : 0;
    if (bytes > 0 && bytes < OPTION_TEXT_BYTES) {
        memcpy(option_texts[option], equals + 1, bytes);
        option_texts[option][bytes] = 0;
        return;
    }

    struct option_line line;
    option_line_begin(&line, given, (size_t)(end - given));
    hk_text_add(&line.text, "not a text of at most 255 bytes; ");
    hk_text_add(&line.text, option_texts[option]);
    hk_text_add(&line.text, " is used");
    option_line_end(&line);
}

/* Reads one "name=value" of `bytes` bytes. In the environment, the name has the prefix. */
static void option_read(const char *given, size_t bytes, enum option_source source) {
    size_t skip = source == FROM_CONF ? 0 : sizeof option_prefix - 1;
    const char *equals = memchr(given, '=', bytes);
    size_t name_end = equals != NULL ? (size_t)(equals - given) : bytes;
    int option = option_find(given + skip, name_end - skip);
    int text = option_find_text(given + skip, name_end - skip);
    uint64_t value;

    if (text >= 0)
        option_take_text(text, given, equals, given + bytes);
    else if (option < 0 && source == FROM_CONF)
        option_warn_unknown(given, name_end);
    else if (option < 0)
        option_warn_misspelt(given, name_end);
    else if (equals != NULL &&
             option_parse(&option_rows[option], equals + 1, bytes - name_end - 1, &value))
        option_take(option, value, given, source);
    else
        option_warn(option, given, bytes);
}

static void options_read_conf(void) {
    const char *conf = &hak_conf != NULL ? hak_conf : NULL;
    while (conf != NULL && *conf != 0) {
        size_t bytes = strcspn(conf, ", ");
        if (bytes > 0)
            option_read(conf, bytes, FROM_CONF);
        conf += bytes + (conf[bytes] != 0);
    }
}

static void options_read_environment(enum option_source source) {
    const size_t prefix_bytes = sizeof option_prefix - 1;
    for (char *const *entry = hk_os_environment(); entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, option_prefix, prefix_bytes) == 0)
            option_read(*entry, strlen(*entry), source);
    }
    if (hk_option(HK_OPTION_stats) || hk_option(HK_OPTION_profile) == HK_PROFILE_LEAKS)
        hk_os_keep_error();
}

void hk_options_read(void) {
    hk_os_note_error();
    options_read_conf();
    options_read_environment(FROM_ENVIRONMENT);
}

void hk_options_read_late(void) { options_read_environment(FROM_LATE_ENVIRONMENT); }

int hk_option_set(const char *name, const char *value) {
    int option = option_find(name, strlen(name));
    if (option < 0)
        return option_find_text(name, strlen(name)) < 0 ? ENOENT : EBUSY;

    uint64_t parsed;
    if (!option_parse(&option_rows[option], value, strlen(value), &parsed))
        return EINVAL;
    if (option_rows[option].when == START)
        return EBUSY;

    option_store(option, parsed);
    option_warn_unlimited(option, value, strlen(value));
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
    if (option >= 0)
        return option_get(option, value, value_bytes);

    int text = option_find_text(name, strlen(name));
    if (text < 0)
        return ENOENT;
    size_t bytes = strlen(option_texts[text]) + 1;
    if (bytes > value_bytes)
        return ERANGE;
    memcpy(value, option_texts[text], bytes);
    return 0;
}

bool hk_option_describe(unsigned index, const char **name, char *value, size_t value_bytes) {
    if (index >= HK_OPTION_COUNT)
        return false;
    *name = option_rows[index].name;
    return option_get((int)index, value, value_bytes) == 0;
}

bool hk_option_info(unsigned index, struct hak_option_info *info) {
    if (index >= HK_OPTION_COUNT)
        return false;
    const struct option_row *row = &option_rows[index];
    *info = (struct hak_option_info){
        .name = row->name,
        .help = row->help,
        .choices = option_is_size(row) ? NULL : row->choices,
        .default_value = row->fallback,
        .least = row->least,
        .most = row->most,
        .is_size = option_is_size(row),
        .at_start = row->when == START,
    };
    return true;
}
