/* unit/stats.c - compares the statistics and reports with the operations of the test.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "debug/stats.h"

#include "core/error.h"
#include "core/options.h"
#include "fresh.h"
#include "heap/heaps.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"

#define MIB ((size_t)1 << 20)

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static struct hak_class_stats class_stats(unsigned class) {
    struct hak_class_stats now;
    CHECK_EQ(hak_class_stats(class, &now, sizeof now), 0);
    return now;
}

TEST_FRESH(before_the_first_allocation_everything_is_zero) {
    struct hak_stats now = stats(), zero;
    memset(&zero, 0, sizeof zero);
    CHECK(memcmp(&now, &zero, sizeof now) == 0);
}

TEST_FRESH(live_bytes_follow_blocks_of_every_class_and_large_ones) {
    CHECK_EQ(hak_option_set("purge_thread_mb", "0"), 0); /* no memory is returned automatically */
    enum { PER_CLASS = 5 };
    void *blocks[HK_CLASS_COUNT][PER_CLASS];
    size_t expected = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = hk_classes[class].block_bytes;
        for (int i = 0; i < PER_CLASS; i++) {
            blocks[class][i] = hak_alloc(bytes, bytes == 8 ? 8 : 16);
            expected += bytes;
            AT("bytes", bytes);
            CHECK_EQ(stats().bytes_live, expected);
        }
        CHECK_EQ(class_stats((unsigned)class).blocks_live, PER_CLASS);
    }
    void *large = hak_malloc(MIB), *mapping = hak_malloc(10 * MIB);
    CHECK_EQ(stats().bytes_live, expected + 11 * MIB);
    CHECK_EQ(stats().bytes_large, 11 * MIB);
    hak_free(large);
    hak_free(mapping);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        for (int i = 0; i < PER_CLASS; i++)
            hak_free(blocks[class][i]);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(stats().bytes_large_cached, 10 * MIB);
}

static void check_class_sums(void) {
    static struct hak_class_stats rows[HK_CLASS_COUNT];
    CHECK_EQ(hak_class_stats_all(rows, sizeof rows[0], HK_CLASS_COUNT), HK_CLASS_COUNT - 1);
    struct hak_stats total = stats();
    uint64_t live = total.bytes_large, cached = 0, slabs = 0, refills = 0, flushes = 0;
    for (unsigned class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hak_class_stats row = class_stats(class);
        AT("class", class);
        CHECK(memcmp(&row, &rows[class - 1], sizeof row) == 0);
        CHECK_EQ(row.block_bytes, hk_classes[class].block_bytes);
        CHECK_EQ(row.slab_bytes, hk_classes[class].granules * HK_GRANULE_BYTES);
        CHECK_EQ(row.blocks_live + row.blocks_cached + row.blocks_free,
                 row.slabs * hk_classes[class].blocks);
        live += row.blocks_live * row.block_bytes;
        cached += row.blocks_cached * row.block_bytes;
        slabs += row.slabs * row.slab_bytes;
        refills += row.refills;
        flushes += row.flushes;
    }
    CHECK_EQ(total.bytes_live, live);
    CHECK_EQ(total.bytes_cached, cached);
    CHECK_EQ(total.bytes_slabs, slabs);
    CHECK_EQ(total.refills, refills);
    CHECK_EQ(total.flushes, flushes);
    CHECK_EQ(total.bytes_mapped, fake_os_mapped());
    CHECK_GE(total.bytes_mapped_peak, total.bytes_mapped);
    CHECK_EQ(total.map_calls, fake_os.map_calls);
}

TEST_FRESH(the_sums_over_the_classes_are_the_totals_whatever_happens) {
    enum { BLOCKS = 400 };
    static void *blocks[BLOCKS];
    uint64_t seed = test_seed(4);
    for (int step = 0; step < 20000; step++) {
        size_t i = test_random(&seed) % BLOCKS;
        hak_free(blocks[i]);
        blocks[i] = hak_malloc(test_random(&seed) % ((size_t)16 << test_random(&seed) % 15));
        if (step % 500 == 0)
            check_class_sums();
    }
    check_class_sums();
}

TEST_FRESH(a_class_that_does_not_exist_is_an_error) {
    struct hak_class_stats row;
    CHECK_EQ(hak_class_stats(0, &row, sizeof row), EINVAL);
    CHECK_EQ(hak_class_stats(HK_CLASS_COUNT, &row, sizeof row), EINVAL);
    CHECK_EQ(hak_class_stats(UINT32_MAX, &row, sizeof row), EINVAL);
}

TEST_FRESH(a_caller_with_a_shorter_or_longer_struct_gets_what_both_know) {
    hak_free(hak_malloc(100));
    struct hak_stats whole = stats();
    unsigned char room[sizeof whole + 16];
    memset(room, 0xee, sizeof room);
    hak_stats((struct hak_stats *)(void *)room, 24);
    CHECK(memcmp(room, &whole, 24) == 0);
    CHECK_EQ(room[24], 0xee);
    hak_stats((struct hak_stats *)(void *)room, sizeof whole + 8);
    CHECK_EQ(test_zeros(room + sizeof whole, 8), 8);
    CHECK_EQ(room[sizeof whole + 8], 0xee);
}

TEST_FRESH(errors_are_counted) {
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    void *block = hak_malloc(100);
    hak_free((char *)block + 1000000000);
    hak_free(block);
    hak_free(block);
    CHECK_EQ(stats().errors, 2);
    fake_os_take_errors();
}

static void first_heap(void *arg, struct hk_heap *heap) {
    struct hk_heap **first = arg;
    *first = *first != NULL ? *first : heap;
}

static void *free_block(void *block) {
    hak_free(block);
    return NULL;
}

TEST_FRESH(a_class_lock_found_taken_is_counted) {
    struct hk_heap *heap = NULL;
    void *block = hak_malloc(3000);
    hk_heaps_each(first_heap, &heap);
    REQUIRE(heap != NULL);
    struct hk_lock *lock = &heap->classes[hk_class_of(3000)].lock;
    hk_lock(lock, HK_RANK_CLASS);
    pthread_t thread = test_thread(free_block, block);
    while (hk_load_relaxed(&hk_lock_counts.sleeps) == 0)
        test_sleep_ms(1);
    hk_unlock(lock, HK_RANK_CLASS);
    pthread_join(thread, NULL);
    struct hak_stats now = stats();
    CHECK_EQ(now.lock_busy_class, 1);
    CHECK_GE(now.lock_waits, 1);
    CHECK_EQ(now.lock_busy_arena + now.lock_busy_meta + now.lock_busy_other, 0);
}

TEST_FRESH(locks_found_taken_are_told_apart_by_what_they_protect) {
    uint64_t sum = 0;
    for (unsigned rank = 0; rank < HK_RANK_COUNT; rank++)
        sum += hk_lock_counts.busy[rank] = UINT64_C(1) << rank;
    struct hak_stats now = stats();
    CHECK_EQ(now.lock_busy_class, 1 << HK_RANK_CLASS);
    CHECK_EQ(now.lock_busy_arena, 1 << HK_RANK_ARENA);
    CHECK_EQ(now.lock_busy_meta, 1 << HK_RANK_META);
    CHECK_EQ(now.lock_busy_class + now.lock_busy_arena + now.lock_busy_meta + now.lock_busy_other,
             sum);
}

/* ---- Reports --------------------------------------------------------------------------------- */

enum { REPORT_BYTES = 256 * 1024 };
static char report[REPORT_BYTES];
static size_t report_bytes;

static void append(void *arg, const char *text, size_t bytes) {
    CHECK(arg == &report_bytes);
    REQUIRE(bytes < REPORT_BYTES - report_bytes);
    memcpy(report + report_bytes, text, bytes);
    report_bytes += bytes;
    report[report_bytes] = 0;
}

static const char *make_report(enum hak_report_format format) {
    report_bytes = 0;
    hak_report(format, append, &report_bytes);
    return report;
}

/* The rows of the tables, in the order of the structs. */
static const struct stat_row {
    const char *name, *metric, *kind, *unit, *help;
    size_t offset;
} stat_rows[] =
    {
#define STAT(field, metric, kind, unit, help)                                                      \
    {#field, #metric, #kind, #unit, help, offsetof(struct hak_stats, field)},
#include "core/stats.def"
#undef STAT
},
  class_rows[] = {
#define CLASS_STAT(field, metric, kind, unit, heading, help)                                       \
    {#field, #metric, #kind, #unit, help, offsetof(struct hak_class_stats, field)},
#include "core/class_stats.def"
#undef CLASS_STAT
};
static const char *const option_names[] = {
#define OPTION(name, ...) #name,
#include "core/options.def"
#undef OPTION
};

TEST_FRESH(the_text_report_has_every_statistic_option_and_class_in_use) {
    void *block = hak_malloc(3000);
    const char *text = make_report(HAK_REPORT_TEXT);
    CHECK_CONTAINS(text, "hakmem " HAK_VERSION_STRING "\n");
    for (size_t i = 0; i < TEST_COUNT(stat_rows); i++)
        CHECK_CONTAINS(text, stat_rows[i].help);
    for (size_t i = 0; i < TEST_COUNT(option_names); i++) {
        char pair[100];
        snprintf(pair, sizeof pair, " %s=", option_names[i]);
        CHECK_CONTAINS(text, pair);
    }
    CHECK_CONTAINS(text, "\n        3072 ");
    CHECK(strstr(text, "\n        2304 ") == NULL);
    CHECK_EQ(text[report_bytes - 1], '\n');
    hak_free(block);
}

TEST_FRESH(without_a_writer_the_report_goes_to_standard_error) {
    hak_report(HAK_REPORT_TEXT, NULL, NULL);
    CHECK_CONTAINS(fake_os_take_errors(), "in live blocks\n");
}

/* Returns the number after "name": in the report, and counts occurrences of the name. */
static uint64_t json_number(const char *json, const char *name, int *count) {
    char key[100];
    uint64_t number = UINT64_MAX;
    *count = 0;
    snprintf(key, sizeof key, "\"%s\":", name);
    for (const char *at = json; (at = strstr(at, key)) != NULL; at += strlen(key))
        if ((*count)++ == 0)
            number = strtoull(at + strlen(key), NULL, 10);
    return number;
}

/* Skips a JSON value. Returns NULL if it is invalid. */
static const char *json_skip(const char *at) {
    if (*at == '"') {
        at = strchr(at + 1, '"');
        return at != NULL ? at + 1 : NULL;
    }
    if (*at != '{' && *at != '[') {
        size_t digits = strspn(at, "0123456789");
        return digits > 0 ? at + digits : NULL;
    }
    char close = *at == '{' ? '}' : ']';
    for (at++; *at != close; at += *at == ',') {
        if (close == '}' && ((at = json_skip(at)) == NULL || *at++ != ':'))
            return NULL;
        if ((at = json_skip(at)) == NULL || (*at != ',' && *at != close))
            return NULL;
    }
    return at + 1;
}

TEST_FRESH(the_json_report_is_json_with_every_statistic_option_and_class) {
    void *blocks[10];
    for (int i = 0; i < 10; i++)
        blocks[i] = hak_malloc(3000);
    const char *json = make_report(HAK_REPORT_JSON);
    const char *end = json_skip(json);
    REQUIRE(end != NULL);
    CHECK_STR(end, "\n");
    int count;
    for (size_t i = 0; i < TEST_COUNT(stat_rows); i++) {
        json_number(json, stat_rows[i].name, &count);
        CHECK_GE(count, 1);
    }
    for (size_t i = 0; i < TEST_COUNT(class_rows); i++) {
        json_number(json, class_rows[i].name, &count);
        CHECK_GE(count, HK_CLASS_COUNT - 1);
    }
    CHECK_EQ(json_number(json, "bytes_live", &count), 10 * 3072);
    CHECK_EQ(json_number(json, "map_calls", &count), fake_os.map_calls);
    json_number(json, "block_bytes", &count);
    CHECK_EQ(count, HK_CLASS_COUNT - 1);
    for (size_t i = 0; i < TEST_COUNT(option_names); i++)
        CHECK_CONTAINS(json, option_names[i]);
    CHECK_CONTAINS(json, "\"prewarm\":\"off\"");
    CHECK_CONTAINS(json, "\"version\":\"" HAK_VERSION_STRING "\"");
    for (int i = 0; i < 10; i++)
        hak_free(blocks[i]);
}

/* ---- Prometheus ------------------------------------------------------------------------------ */

static void check_order(const struct stat_row *rows, size_t count) {
    for (size_t i = 0; i < count; i++)
        CHECK_EQ(rows[i].offset, i * sizeof(uint64_t));
}

TEST(the_tables_have_the_order_of_the_structs) {
    check_order(stat_rows, TEST_COUNT(stat_rows));
    check_order(class_rows, TEST_COUNT(class_rows));
}

TEST(a_metric_is_named_by_its_kind_and_unit) {
    static const char total[] = "_total";
    for (size_t i = 0; i < TEST_COUNT(stat_rows); i++) {
        const struct stat_row *row = &stat_rows[i];
        const char *end = strstr(row->metric, total);
        if ((strcmp(row->kind, "counter") == 0) != (end != NULL && strcmp(end, total) == 0))
            CHECK_STR(row->metric, "a counter ends in _total, and a gauge does not");
        if ((strcmp(row->unit, "bytes") == 0) != (strstr(row->metric, "bytes") != NULL))
            CHECK_STR(row->metric, "a number of bytes has the word in its name");
    }
}

/* Checks that a metric has HELP and TYPE, once and in this order. Returns the text after them. */
static const char *check_metric(const char *text, const struct stat_row *row) {
    char head[256];
    snprintf(head, sizeof head, "# HELP hakmem_%s %s\n# TYPE hakmem_%s %s\n", row->metric,
             row->help, row->metric, row->kind);
    CHECK_CONTAINS(text, head);
    const char *at = strstr(text, head);
    if (at == NULL)
        return "";
    at += strlen(head);
    CHECK(strstr(at, head) == NULL);
    return at;
}

TEST_FRESH(the_prometheus_report_has_every_statistic_with_help_type_and_value) {
    void *block = hak_malloc(3000);
    struct hak_stats now = stats();
    const char *text = make_report(HAK_REPORT_PROMETHEUS);
    for (size_t i = 0; i < TEST_COUNT(stat_rows); i++) {
        const void *value = (const char *)&now + stat_rows[i].offset;
        char sample[100];
        snprintf(sample, sizeof sample, "hakmem_%s %llu\n", stat_rows[i].metric,
                 (unsigned long long)*(const uint64_t *)value);
        const char *at = check_metric(text, &stat_rows[i]);
        CHECK(strncmp(at, sample, strlen(sample)) == 0);
    }
    CHECK_CONTAINS(text, "\nhakmem_build_info{version=\"" HAK_VERSION_STRING "\"} 1\n");
    CHECK(strstr(text, "hakmem_class_") == NULL);
    hak_free(block);
}

TEST_FRESH(the_prometheus_report_with_classes_has_the_series_of_each_class_in_use) {
    void *small = hak_malloc(16), *block = hak_malloc(3000);
    const char *text = make_report(HAK_REPORT_PROMETHEUS_CLASSES);
    CHECK_CONTAINS(text, "\nhakmem_bytes_live 3088\n");
    for (size_t i = 1; i < TEST_COUNT(class_rows); i++) {
        char start[100], second[100];
        snprintf(start, sizeof start, "hakmem_%s{block_bytes=\"16\"} ", class_rows[i].metric);
        snprintf(second, sizeof second, "hakmem_%s{block_bytes=\"3072\"} ", class_rows[i].metric);
        const char *at = check_metric(text, &class_rows[i]);
        CHECK(strncmp(at, start, strlen(start)) == 0);
        at = strchr(at, '\n') + 1;
        CHECK(strncmp(at, second, strlen(second)) == 0);
    }
    CHECK_CONTAINS(text, "\nhakmem_class_blocks_live{block_bytes=\"3072\"} 1\n");
    CHECK(strstr(text, "\"2304\"") == NULL);
    hak_free(small);
    hak_free(block);
}
