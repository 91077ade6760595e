/* debug/report.c - statistics for people and for programs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "report.h"

#include "../core/nodes.h"
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

struct report_row {
    const char *name;
    const char *metric;
    const char *kind;
    const char *heading; /* NULL for struct hak_stats */
    const char *help;
    size_t offset; /* in struct hak_stats or struct hak_class_stats */
};

static const struct report_row report_rows[] = {
#define STAT(field, metric, kind, unit, help)                                                      \
    {#field, #metric, #kind, NULL, help, offsetof(struct hak_stats, field)},
#include "../core/stats.def"
#undef STAT
};
_Static_assert(sizeof report_rows / sizeof report_rows[0] * sizeof(uint64_t) ==
                   sizeof(struct hak_stats),
               "stats.def has a row for each field");

enum { REPORT_ROWS = sizeof report_rows / sizeof report_rows[0] };

static const struct report_row report_class_rows[] = {
#define CLASS_STAT(field, metric, kind, unit, heading, help)                                       \
    {#field, #metric, #kind, heading, help, offsetof(struct hak_class_stats, field)},
#include "../core/class_stats.def"
#undef CLASS_STAT
};
_Static_assert(sizeof report_class_rows / sizeof report_class_rows[0] * sizeof(uint64_t) ==
                   sizeof(struct hak_class_stats),
               "class_stats.def has a row for each field");

enum { REPORT_CLASS_ROWS = sizeof report_class_rows / sizeof report_class_rows[0] };

/* A report lists the classes in use. */
static bool report_has_class(const struct hak_class_stats *stats) {
    return stats->slabs > 0 || stats->refills > 0;
}

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
        for (const char *c = report_class_rows[i].heading; *c != 0; c++)
            width--;
        for (; width > 0; width--)
            report_add(report, " ");
        report_add(report, report_class_rows[i].heading);
    }

    report_add(report, "\n");
    report_flush(report);

    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hak_class_stats *stats = &all->classes[class];
        if (!report_has_class(stats))
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

static void report_text_line(struct report *report, uint64_t number, const char *help) {
    report_add_column(report, number, REPORT_NUMBER_WIDTH);
    report_add(report, "  ");
    report_add(report, help);
    report_add(report, "\n");
    report_flush(report);
}

static void report_text(struct report *report, const struct hk_stats_all *all) {
    report_add(report, "hakmem " HAK_VERSION_STRING "\n");
    report_text_options(report);
    for (unsigned i = 0; i < REPORT_ROWS; i++)
        report_text_line(report, report_value(&all->total, &report_rows[i]), report_rows[i].help);
    if (hk_nodes_count() > 1)
        report_text_line(report, hk_nodes_count(), "NUMA nodes with CPUs");
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

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void report_metric_head(struct report *report, const struct report_row *row) {
    report_add(report, "# HELP hakmem_");
    report_add(report, row->metric);
    report_add(report, " ");
    report_add(report, row->help);
    report_flush(report);

    report_add(report, "\n# TYPE hakmem_");
    report_add(report, row->metric);
    report_add(report, " ");
    report_add(report, row->kind);
    report_add(report, "\n");
    report_flush(report);
}

/* Adds one sample. `label` is the row that names the class, or NULL. */
static void report_sample(struct report *report, const struct report_row *row, const void *stats,
                          const struct report_row *label) {
    report_add(report, "hakmem_");
    report_add(report, row->metric);
    if (label != NULL) {
        report_add(report, "{");
        report_add(report, label->metric);
        report_add(report, "=\"");
        hk_text_add_number(&report->text, report_value(stats, label));
        report_add(report, "\"}");
    }

    report_add(report, " ");
    hk_text_add_number(&report->text, report_value(stats, row));
    report_add(report, "\n");
    report_flush(report);
}

static void report_prometheus(struct report *report, const struct hk_stats_all *all) {
    report_add(report, "# HELP hakmem_build_info Version of the library, always 1\n"
                       "# TYPE hakmem_build_info gauge\n"
                       "hakmem_build_info{version=\"" HAK_VERSION_STRING "\"} 1\n");
    report_flush(report);

    for (unsigned i = 0; i < REPORT_ROWS; i++) {
        report_metric_head(report, &report_rows[i]);
        report_sample(report, &report_rows[i], &all->total, NULL);
    }
}

static void report_prometheus_classes(struct report *report, const struct hk_stats_all *all) {
    const struct report_row *label = &report_class_rows[0];
    for (unsigned i = 1; i < REPORT_CLASS_ROWS; i++) {
        report_metric_head(report, &report_class_rows[i]);
        for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
            if (report_has_class(&all->classes[class]))
                report_sample(report, &report_class_rows[i], &all->classes[class], label);
        }
    }
}

/* ---- All formats ----------------------------------------------------------------------------- */

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

    switch (format) {
    case HAK_REPORT_JSON:
        report_json(&report, &all);
        break;
    case HAK_REPORT_PROMETHEUS_CLASSES:
        report_prometheus(&report, &all);
        report_prometheus_classes(&report, &all);
        break;
    case HAK_REPORT_PROMETHEUS:
        report_prometheus(&report, &all);
        break;
    case HAK_REPORT_TEXT:
    default:
        report_text(&report, &all);
        break;
    }
}
