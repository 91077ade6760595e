/* stats.c - the statistics match the actions of the program.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 120
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PREWARM=all
#include "blocks.h"

#include <sched.h>

static struct hak_stats stats_now(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats;
}

static size_t sizes[GRID_SIZES_MAX];
static void *held[GRID_SIZES_MAX];

TEST(bytes_live_follows_each_block_exactly) {
    size_t count = grid_sizes(sizes);
    uint64_t start = bytes_live(), expected = start;
    for (size_t i = 0; i < count; i++) {
        AT("size", sizes[i]);
        held[i] = hak_malloc(sizes[i]);
        REQUIRE(held[i]);
        expected += hak_usable_size(held[i]);
        CHECK_EQ(bytes_live(), expected);
    }
    for (size_t i = 0; i < count; i++) {
        AT("size", sizes[i]);
        expected -= hak_usable_size(held[i]);
        hak_free(held[i]);
        CHECK_EQ(bytes_live(), expected);
    }
    CHECK_EQ(bytes_live(), start);
}

TEST(blocks_live_of_each_class_follows_exactly) {
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        enum { COUNT = 37 };
        void *blocks[COUNT];
        uint64_t before = class_live(index);
        size_t bytes = class_bytes(index), align = bytes % 16 ? 8 : 16;
        AT("class bytes", index, bytes);
        for (size_t i = 0; i < COUNT; i++) {
            blocks[i] = hak_alloc(bytes, align);
            REQUIRE(blocks[i]);
            CHECK_EQ(class_live(index), before + i + 1);
        }
        for (size_t i = 0; i < COUNT; i++) {
            hak_dealloc(blocks[i], bytes, align);
            CHECK_EQ(class_live(index), before + COUNT - 1 - i);
        }
    }
}

TEST(bytes_large_is_the_part_of_bytes_live_above_the_classes) {
    struct hak_stats before = stats_now();
    void *small = hak_malloc(256 * KIB), *large = hak_malloc(256 * KIB + 1),
         *huge = hak_malloc(64 * MIB);
    REQUIRE(small && large && huge);
    struct hak_stats with = stats_now();
    uint64_t bytes = hak_usable_size(large) + hak_usable_size(huge);
    CHECK_EQ(with.bytes_large - before.bytes_large, bytes);
    CHECK_EQ(with.bytes_live - before.bytes_live, bytes + hak_usable_size(small));
    hak_free(small);
    hak_free(large);
    hak_free(huge);
    CHECK_EQ(stats_now().bytes_large, before.bytes_large);
}

TEST(realloc_moves_the_account_with_the_block) {
    uint64_t start = bytes_live();
    void *p = hak_malloc(1);
    for (size_t size = 1; size < 64 * MIB; size = size * 3 / 2 + 1) {
        p = hak_realloc(p, size);
        AT("size", size);
        REQUIRE(p);
        CHECK_EQ(bytes_live(), start + hak_usable_size(p));
    }
    for (size_t size = 64 * MIB; size > 0; size /= 2) {
        p = hak_realloc(p, size);
        AT("size", size);
        REQUIRE(p);
        CHECK_EQ(bytes_live(), start + hak_usable_size(p));
    }
    hak_free(p);
    CHECK_EQ(bytes_live(), start);
}

TEST(the_sums_of_a_snapshot_hold) {
    size_t count = grid_sizes(sizes);
    for (size_t i = 0; i < count; i++)
        held[i] = hak_malloc(sizes[i]);
    for (size_t i = 0; i < count; i += 3) {
        hak_free(held[i]);
        held[i] = NULL;
    }
    struct hak_stats stats = stats_now();
    uint64_t slabs = 0, live = 0, cached = 0;
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        struct hak_class_stats class;
        CHECK_EQ(hak_class_stats(index, &class, sizeof class), 0);
        AT("class", index);
        slabs += class.slabs * class.slab_bytes;
        live += class.blocks_live * class.block_bytes;
        cached += class.blocks_cached * class.block_bytes;
        CHECK_LE((class.blocks_live + class.blocks_cached + class.blocks_free) * class.block_bytes,
                 class.slabs * class.slab_bytes);
        CHECK_LE(class.block_bytes, class.slab_bytes);
    }
    test_place.names = NULL;
    CHECK_EQ(stats.bytes_slabs, slabs);
    CHECK_EQ(stats.bytes_live, live + stats.bytes_large);
    CHECK_EQ(stats.bytes_cached, cached);
    CHECK_LE(stats.bytes_slabs, stats.bytes_mapped);
    CHECK_LE(stats.bytes_mapped, stats.bytes_mapped_peak);
    CHECK_LE(stats.bytes_metadata, stats.bytes_mapped);
    if (!with_checks())
        CHECK(stats.heaps >= 1 && stats.threads >= 1);
    for (size_t i = 0; i < count; i++)
        hak_free(held[i]);
}

TEST(the_tail_waste_of_slabs_is_below_two_percent) {
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        struct hak_class_stats class;
        CHECK_EQ(hak_class_stats(index, &class, sizeof class), 0);
        AT("bytes slab_bytes", class.block_bytes, class.slab_bytes);
        CHECK_LE(class.slab_bytes % class.block_bytes * 50, class.slab_bytes);
    }
}

TEST(counts_of_refills_and_flushes_grow_with_the_work) {
    enum { COUNT = 20000 };
    static void *blocks[COUNT];
    struct hak_class_stats before, after;
    unsigned index = class_of_bytes(336);
    hak_class_stats(index, &before, sizeof before);
    struct hak_stats all_before = stats_now();
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = hak_malloc(336);
    for (size_t i = 0; i < COUNT; i++)
        hak_free(blocks[i]);
    hak_class_stats(index, &after, sizeof after);
    struct hak_stats all_after = stats_now();
    if (with_checks())
        SKIP("with checks=1 there are no caches to refill");
    CHECK(after.refills > before.refills);
    CHECK(after.flushes > before.flushes);
    CHECK_LE(after.refills - before.refills, COUNT);
    CHECK_GE(all_after.refills - all_before.refills, after.refills - before.refills);
    CHECK_GE(all_after.flushes - all_before.flushes, after.flushes - before.flushes);
}

TEST(map_calls_are_counted) {
    struct hak_stats before = stats_now();
    void *p = hak_malloc(200 * MIB);
    REQUIRE(p);
    struct hak_stats with = stats_now();
    hak_free(p);
    hak_trim();
    struct hak_stats after = stats_now();
    CHECK(with.map_calls > before.map_calls);
    CHECK_GE(with.bytes_mapped - before.bytes_mapped, 200 * MIB);
    CHECK_GE(after.bytes_mapped_peak, with.bytes_mapped);
    CHECK(after.unmap_calls + after.purge_calls > with.unmap_calls + with.purge_calls);
}

/* ---- Producers and consumers ----------------------------------------------------------------- */

enum { PAIRS = 2, ITEMS = 30000, QUEUE = 256 };

struct queue {
    void *slots[QUEUE];
};

static struct queue queues[PAIRS];

static void *produce(void *arg) {
    struct queue *queue = arg;
    uint64_t random = (uintptr_t)arg;
    for (size_t i = 0; i < ITEMS; i++) {
        void *item = hak_malloc(test_random(&random) % 3000);
        while (__atomic_load_n(&queue->slots[i % QUEUE], __ATOMIC_ACQUIRE))
            sched_yield();
        __atomic_store_n(&queue->slots[i % QUEUE], item, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void *consume(void *arg) {
    struct queue *queue = arg;
    for (size_t i = 0; i < ITEMS; i++) {
        void *item;
        while (!(item = __atomic_load_n(&queue->slots[i % QUEUE], __ATOMIC_ACQUIRE)))
            sched_yield();
        __atomic_store_n(&queue->slots[i % QUEUE], NULL, __ATOMIC_RELEASE);
        hak_free(item);
    }
    return NULL;
}

TEST(bytes_live_is_exact_after_producers_and_consumers) {
    pthread_t threads[2 * PAIRS];
    test_let_libc_keep_threads(TEST_COUNT(threads));
    uint64_t start = bytes_live();
    struct hak_stats before = stats_now();
    for (size_t i = 0; i < PAIRS; i++) {
        threads[2 * i] = test_thread(produce, &queues[i]);
        threads[2 * i + 1] = test_thread(consume, &queues[i]);
    }
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    struct hak_stats after = stats_now();
    CHECK_EQ(after.bytes_live, start);
    CHECK_EQ(after.threads, before.threads);
    if (!with_checks())
        CHECK(after.transfer_puts > before.transfer_puts);
    CHECK_EQ(hak_validate(), 0);
}

static int stop; /* atomic */

/* One block at a time, without a cache, so that each call takes the lock of the class. */
static void *disturb(void *arg) {
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        hak_free(hak_malloc(5000));
    return arg;
}

TEST(locks_found_taken_are_counted) {
    enum { THREADS = 4, SECONDS_MOST = 60 };
    uint64_t before = stats_now().lock_busy_class;
    pthread_t threads[THREADS];
    char cache_kb[32];
    test_let_libc_keep_threads(THREADS);
    CHECK_EQ(hak_option_get("thread_cache_kb", cache_kb, sizeof cache_kb), 0);
    CHECK_EQ(hak_option_set("thread_cache_kb", "0"), 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(disturb, NULL);
    for (int i = 0; i < SECONDS_MOST * 100 && stats_now().lock_busy_class == before; i++)
        test_sleep_ms(10);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hak_option_set("thread_cache_kb", cache_kb), 0);
    CHECK(stats_now().lock_busy_class > before);
}

static void *allocate_one(void *arg) {
    (void)arg;
    return hak_malloc(5000);
}

TEST(blocks_of_ended_threads_stay_live) {
    uint64_t start = bytes_live();
    void *block = NULL;
    pthread_join(test_thread(allocate_one, NULL), &block);
    REQUIRE(block);
    CHECK_EQ(bytes_live(), start + hak_usable_size(block));
    hak_free(block);
    CHECK_EQ(bytes_live(), start);
}

TEST(a_short_struct_is_filled_and_not_overrun) {
    struct {
        uint64_t first[2];
        uint64_t guard;
    } part = {{0, 0}, 0x1122334455667788};
    hak_stats((struct hak_stats *)&part, sizeof part.first);
    CHECK_EQ(part.guard, 0x1122334455667788);
    struct hak_class_stats row;
    memset(&row, 0xff, sizeof row);
    CHECK_EQ(hak_class_stats(1, &row, sizeof row.block_bytes), 0);
    CHECK_EQ(row.block_bytes, class_bytes(1));
    CHECK_EQ(row.slab_bytes, UINT64_MAX);
}

TEST(a_long_struct_is_filled_with_zeros) {
    struct {
        struct hak_stats known;
        uint64_t later[4];
    } whole;
    memset(&whole, 0xff, sizeof whole);
    hak_stats(&whole.known, sizeof whole);
    for (size_t i = 0; i < TEST_COUNT(whole.later); i++)
        CHECK_EQ(whole.later[i], 0);
    CHECK(whole.known.bytes_mapped > 0);
}

enum { ROWS_MOST = 256 }; /* more than there are classes */

TEST(one_call_fills_the_rows_of_all_classes) {
    static struct hak_class_stats rows[ROWS_MOST];
    void *block = hak_malloc(48);
    REQUIRE(block);
    memset(rows, 0xff, sizeof rows);
    size_t classes = hak_class_stats_all(rows, sizeof rows[0], ROWS_MOST);
    CHECK_EQ(classes, class_last());
    for (unsigned index = FIRST_CLASS; index <= classes; index++) {
        struct hak_class_stats row;
        AT("class", index);
        CHECK_EQ(hak_class_stats(index, &row, sizeof row), 0);
        CHECK(memcmp(&row, &rows[index - 1], sizeof row) == 0);
    }
    test_place.names = NULL;
    CHECK_GE(rows[class_of_bytes(48) - 1].blocks_live, 1);
    CHECK_EQ(rows[classes].block_bytes, UINT64_MAX);
    hak_free(block);
}

TEST(the_rows_of_one_snapshot_add_up_to_the_totals) {
    static struct hak_class_stats rows[ROWS_MOST];
    size_t classes = hak_class_stats_all(rows, sizeof rows[0], ROWS_MOST);
    struct hak_stats stats = stats_now();
    uint64_t live = stats.bytes_large;
    for (size_t i = 0; i < classes; i++)
        live += rows[i].blocks_live * rows[i].block_bytes;
    CHECK_EQ(live, stats.bytes_live);
}

TEST(an_array_that_is_too_short_has_the_first_rows_and_is_not_overrun) {
    struct hak_class_stats rows[3];
    memset(rows, 0xff, sizeof rows);
    CHECK_EQ(hak_class_stats_all(rows, sizeof rows[0], 2), class_last());
    CHECK_EQ(rows[0].block_bytes, class_bytes(1));
    CHECK_EQ(rows[1].block_bytes, class_bytes(2));
    CHECK_EQ(rows[2].block_bytes, UINT64_MAX);
    CHECK_EQ(hak_class_stats_all(NULL, 0, 0), class_last());
}

TEST(short_and_long_rows_lie_one_after_the_other) {
    uint64_t brief[3][2]; /* block_bytes and slab_bytes alone */
    memset(brief, 0xff, sizeof brief);
    hak_class_stats_all((struct hak_class_stats *)(void *)brief, sizeof brief[0], 2);
    for (unsigned i = 0; i < 2; i++) {
        struct hak_class_stats row;
        CHECK_EQ(hak_class_stats(i + 1, &row, sizeof row), 0);
        CHECK_EQ(brief[i][0], row.block_bytes);
        CHECK_EQ(brief[i][1], row.slab_bytes);
    }
    CHECK_EQ(brief[2][0], UINT64_MAX);

    struct {
        struct hak_class_stats known;
        uint64_t later[2];
    } whole[2];
    memset(whole, 0xff, sizeof whole);
    hak_class_stats_all(&whole[0].known, sizeof whole[0], 2);
    for (unsigned i = 0; i < 2; i++) {
        CHECK_EQ(whole[i].known.block_bytes, class_bytes(i + 1));
        CHECK_EQ(whole[i].later[0], 0);
        CHECK_EQ(whole[i].later[1], 0);
    }
}

TEST(there_is_no_class_zero_and_none_after_the_last) {
    struct hak_class_stats row;
    CHECK_EQ(hak_class_stats(0, &row, sizeof row), EINVAL);
    CHECK_EQ(hak_class_stats(class_last() + 1, &row, sizeof row), EINVAL);
    CHECK_EQ(hak_class_stats(UINT32_MAX, &row, sizeof row), EINVAL);
}
