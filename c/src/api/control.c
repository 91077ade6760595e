/* api/control.c - options, statistics, counters of threads, trim, prewarm.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include <errno.h>
#include <hakmem.h>

#include "../base/string.h"
#include "../core/options.h"
#include "../debug/report.h"
#include "../debug/stats.h"
#include "../debug/validate.h"
#include "../own/owners.h"
#include "../purge/decay.h"
#include "../thread/count.h"
#include "../thread/prewarm.h"
#include "../thread/thread.h"
#include "copy.h"

const char *hak_version(void) { return HAK_VERSION_STRING; }

size_t hak_prewarm(enum hak_prewarm_set set) {
    struct hk_thread *thread = hk_thread_get();
    return thread != NULL ? hk_prewarm_thread(thread, set) : 0;
}

size_t hak_trim(void) { return hk_decay_all(); }

/* We call hk_thread_get first because it may read the environment, which must not overwrite the new
 * value later. */
int hak_option_set(const char *name, const char *value) {
    hk_thread_get();
    return hk_option_set(name, value);
}

int hak_option_get(const char *name, char *value, size_t value_bytes) {
    hk_thread_get();
    return hk_option_get(name, value, value_bytes);
}

int hak_option_info(unsigned index, struct hak_option_info *info, size_t info_bytes) {
    struct hak_option_info row;
    if (!hk_option_info(index, &row))
        return ENOENT;
    hk_copy_struct(info, info_bytes, &row, sizeof row);
    return 0;
}

void hak_stats(struct hak_stats *stats, size_t stats_bytes) {
    struct hk_stats_all all;
    hk_stats_collect(&all);
    hk_copy_struct(stats, stats_bytes, &all.total, sizeof all.total);
}

int hak_class_stats(unsigned index, struct hak_class_stats *stats, size_t stats_bytes) {
    if (index == HK_CLASS_NONE || index >= HK_CLASS_COUNT)
        return EINVAL;
    struct hk_stats_all all;
    hk_stats_collect(&all);
    hk_copy_struct(stats, stats_bytes, &all.classes[index], sizeof all.classes[index]);
    return 0;
}

size_t hak_class_stats_all(struct hak_class_stats *stats, size_t stats_bytes, size_t count) {
    size_t classes = HK_CLASS_COUNT - 1; /* class 0 is HK_CLASS_NONE */
    if (count == 0)
        return classes;

    struct hk_stats_all all;
    hk_stats_collect(&all);
    for (size_t i = 0; i < count && i < classes; i++) {
        const struct hak_class_stats *row = &all.classes[i + 1];
        hk_copy_struct((char *)stats + i * stats_bytes, stats_bytes, row, sizeof *row);
    }
    return classes;
}

void hak_thread_count_start(void) {
    hk_count_start();
    hk_owner_note_count();
}

void hak_thread_count_stop(void) {
    hk_count_stop();
    hk_owner_note_count();
}

int hak_thread_counters(struct hak_thread_counters *counters, size_t counters_bytes) {
    hk_copy_struct(counters, counters_bytes, &hk_counters, sizeof hk_counters);
    return hk_count_is_on();
}

void hak_report(enum hak_report_format format,
                void (*write)(void *arg, const char *text, size_t bytes), void *arg) {
    hk_report(format, write, arg);
}

size_t hak_validate(void) { return hk_validate(); }
