/* debug/report.c - statistics for people and for programs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "report.h"

#include "../core/options.h"
#include "../os/check.h"
#include "../os/os.h"
#include "stats.h"

enum {
    REPORT_LINE_BYTES = 256,
    REPORT_VALUE_BYTES = 32,
    REPORT_NUMBER_WIDTH = 16,
    REPORT_COLUMN_WIDTH = 12,
};

enum report_unit { BYTES, COUNT };

struct report_row {
    const char *name;
    const char *words;
    size_t offset; /* in struct hak_stats */
    enum report_unit unit;
};

static const struct report_row report_rows[] = {
#define STAT(field, unit, words) {#field, words, offsetof(struct hak_stats, field), unit},
#include "../core/stats.def"
#undef STAT
};
_Static_assert(sizeof report_rows / sizeof report_rows[0] * sizeof(uint64_t) ==
                   sizeof(struct hak_stats),
               "stats.def has a row for each field");

enum { REPORT_ROWS = sizeof report_rows / sizeof report_rows[0] };

static const struct report_row report_class_rows[] = {
#define COLUMN(field, words)                                                                       \
    { #field, words, offsetof(struct hak_class_stats, field), COUNT }
    COLUMN(block_bytes, "block"),    COLUMN(slabs, "slabs"),        COLUMN(blocks_live, "live"),
    COLUMN(blocks_cached, "cached"), COLUMN(blocks_free, "free"),   COLUMN(refills, "refills"),
    COLUMN(flushes, "flushes"),      COLUMN(transfer_puts, "puts"), COLUMN(transfer_takes, "takes"),
#undef COLUMN
};

enum { REPORT_CLASS_ROWS = sizeof report_class_rows / sizeof report_class_rows[0] };

static uint64_t report_value(const void *stats, const struct report_row *row) {
    return *(const uint64_t *)(const void *)((const char *)stats + row->offset);
}

/* The current line, and the destination of lines. */
struct report {
    void (*write)(void *arg, const char *text, size_t bytes);
    void *arg;
    struct hk_text text;
    char line[REPORT_LINE_BYTES];
};

static void report_flush(struct report *report) {
    report->write(report->arg, report->line, (size_t)(report->text.at - report->line));
    report->text.at = report->line;
}

static void report_add(struct report *report, const char *words) {
    hk_text_add(&report->text, words);
}

/* Adds a right-aligned number. */
static void report_add_column(struct report *report, uint64_t number, unsigned width) {
    unsigned digits = 1;
    for (uint64_t n = number; n >= 10; n /= 10)
        digits++;
    for (; digits < width; digits++)
        report_add(report, " ");
    hk_text_add_number(&report->text, number);
}

/* ---- Text ------------------------------------------------------------------------------------ */

static void report_text_classes(struct report *report, const struct hk_stats_all *all) {
    for (unsigned i = 0; i < REPORT_CLASS_ROWS; i++) {
        size_t width = REPORT_COLUMN_WIDTH;
        for (const char *c = report_class_rows[i].words; *c != 0; c++)
            width--;
        for (; width > 0; width--)
            report_add(report, " ");
        report_add(report, report_class_rows[i].words);
    }

    report_add(report, "\n");
    report_flush(report);

    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hak_class_stats *stats = &all->classes[class];
        if (stats->slabs == 0 && stats->refills == 0)
            continue;

        for (unsigned i = 0; i < REPORT_CLASS_ROWS; i++)
            report_add_column(report, report_value(stats, &report_class_rows[i]),
                              REPORT_COLUMN_WIDTH);
        report_add(report, "\n");
        report_flush(report);
    }
}

static void report_text_options(struct report *report) {
    const char *name;
    char value[REPORT_VALUE_BYTES];

    report_add(report, "options:");
    for (unsigned i = 0; hk_option_describe(i, &name, value, sizeof value); i++) {
        report_add(report, " ");
        report_add(report, name);
        report_add(report, "=");
        report_add(report, value);
        report_flush(report);
    }

    report_add(report, "\n");
    report_flush(report);
}

static void report_text(struct report *report, const struct hk_stats_all *all) {
    report_add(report, "hakmem " HAK_VERSION_STRING "\n");
    report_text_options(report);
    for (unsigned i = 0; i < REPORT_ROWS; i++) {
        report_add_column(report, report_value(&all->total, &report_rows[i]), REPORT_NUMBER_WIDTH);
        report_add(report, report_rows[i].unit == BYTES ? " bytes " : " ");
        report_add(report, report_rows[i].words);
        report_add(report, "\n");
        report_flush(report);
    }
    report_text_classes(report, all);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void report_json_fields(struct report *report, const void *stats,
                               const struct report_row *rows, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        report_add(report, i == 0 ? "{\"" : ",\"");
        report_add(report, rows[i].name);
        report_add(report, "\":");
        hk_text_add_number(&report->text, report_value(stats, &rows[i]));
        report_flush(report);
    }
    report_add(report, "}");
    report_flush(report);
}

static void report_json_options(struct report *report) {
    const char *name;
    char value[REPORT_VALUE_BYTES];

    for (unsigned i = 0; hk_option_describe(i, &name, value, sizeof value); i++) {
        report_add(report, i == 0 ? "{\"" : ",\"");
        report_add(report, name);
        report_add(report, "\":\"");
        report_add(report, value);
        report_add(report, "\"");
        report_flush(report);
    }
    report_add(report, "}");
}

static void report_json(struct report *report, const struct hk_stats_all *all) {
    report_add(report, "{\"version\":\"" HAK_VERSION_STRING "\",\"options\":");
    report_json_options(report);
    report_add(report, ",\"stats\":");
    report_json_fields(report, &all->total, report_rows, REPORT_ROWS);

    report_add(report, ",\"classes\":[");
    const char *between = "";
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        report_add(report, between);
        report_json_fields(report, &all->classes[class], report_class_rows, REPORT_CLASS_ROWS);
        between = ",";
    }

    report_add(report, "]}\n");
    report_flush(report);
}

static void report_to_error(void *arg, const char *text, size_t bytes) {
    (void)arg;
    hk_os_write_error(text, bytes);
}

void hk_report(enum hak_report_format format, void (*write)(void *arg, const char *, size_t),
               void *arg) {
    struct hk_stats_all all;
    struct report report;
    hk_stats_collect(&all);

    report.write = write != NULL ? write : report_to_error;
    report.arg = arg;
    report.text = (struct hk_text){report.line, report.line + sizeof report.line};

    if (format == HAK_REPORT_JSON)
        report_json(&report, &all);
    else
        report_text(&report, &all);
}
