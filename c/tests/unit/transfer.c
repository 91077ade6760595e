/* unit/transfer.c - transfer caches: batches between threads, their limits and scans.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "transfer/transfer.h"

#include "core/meta.h"
#include "core/options.h"
#include "fresh.h"

enum { CLASS = HK_CLASS_64, MOST = 1024 };

/* Blocks are only pointers in this test. Nothing accesses the memory that they point to. */
static void *block(uintptr_t number) { return (void *)(number * 64); }

static uint32_t put(size_t class, uintptr_t first, uint32_t count) {
    static void *blocks[2 * MOST];
    for (uint32_t i = 0; i < count; i++)
        blocks[i] = block(first + i);
    return hk_transfer_put(class, blocks, count, NULL).count;
}

/* Frees a single block. */
static struct hk_transfer_put put_one(size_t class, void *block) {
    return hk_transfer_put(class, &block, 1, block);
}

static uint64_t count(size_t class) {
    struct hk_transfer_counts counts;
    hk_transfer_count(class, &counts);
    return counts.blocks;
}

TEST_FRESH(the_newest_blocks_come_back_first) {
    hk_transfer_start(1);
    void *to[8];
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 0);
    CHECK_EQ(put(CLASS, 1, 10), 10);
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 8);
    for (uintptr_t i = 0; i < 8; i++)
        CHECK(to[i] == block(3 + i));
    CHECK_EQ(hk_transfer_take(HK_CLASS_128, to, 8), 0);
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 2);
    CHECK(to[0] == block(1) && to[1] == block(2));
}

TEST_FRESH(a_cpu_serves_the_threads_that_run_on_it) {
    hk_transfer_start(3);
    void *to[8];
    fake_os.cpu = 1;
    CHECK_EQ(put(CLASS, 1, 4), 4);
    fake_os.cpu = 2;
    CHECK_EQ(hk_transfer_take(CLASS, to, 4), 0);
    fake_os.cpu = 7; /* numbers may have gaps, caches are then shared */
    CHECK_EQ(hk_transfer_take(CLASS, to, 4), 4);
}

TEST_FRESH(before_the_start_there_is_nothing) {
    void *to[1];
    CHECK_EQ(hk_transfer_take(CLASS, to, 1), 0);
    CHECK_EQ(put(CLASS, 1, 1), 0);
    CHECK_EQ(put_one(CLASS, block(1)).count, 0);
}

TEST_FRESH(every_class_has_limits_and_the_rest_of_a_batch_is_left_to_the_caller) {
    hk_transfer_start(2);
    CHECK_EQ(put(HK_CLASS_16, 1, MOST + 5), MOST);
    CHECK_EQ(put(HK_CLASS_16, 1, 5), 0);
    CHECK_EQ(put(HK_CLASS_16384, 1, 200), 128); /* 2 MiB */
    fake_os.cpu = 1;                            /* where the budget of all classes is not used */
    CHECK_EQ(put(HK_CLASS_262144, 1, 100), 8);
    fake_os.cpu = 0;
    CHECK_EQ(put_one(HK_CLASS_16384, block(500)).count, 0);
}

TEST_FRESH(all_classes_of_a_cpu_share_a_budget_that_idle_ones_give_back) {
    hk_transfer_start(2);
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        bytes += put(class, 1, MOST) * (size_t)hk_classes[class].block_bytes;
    CHECK(bytes <= 4 << 20 && bytes > 2 << 20);
    CHECK_EQ(put(HK_CLASS_262144, 1, 4), 0);
    fake_os.cpu = 1; /* another CPU has a budget of its own */
    CHECK_EQ(put(HK_CLASS_262144, 1, 4), 4);
    fake_os.cpu = 0;

    void *to[MOST];
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        hk_transfer_take_oldest(0, class, HK_TRANSFER_ALL, to, MOST);
    CHECK_EQ(put(HK_CLASS_262144, 1, 4), 4);
}

TEST_FRESH(the_freed_block_is_compared_with_the_two_newest) {
    hk_transfer_start(1);
    CHECK_EQ(put_one(CLASS, block(1)).count, 1);
    CHECK(put_one(CLASS, block(1)).freed_is_there);
    CHECK_EQ(put_one(CLASS, block(2)).count, 1);
    CHECK(put_one(CLASS, block(1)).freed_is_there);
    CHECK_EQ(count(CLASS), 2);
    void *others[] = {block(5), block(6)};
    struct hk_transfer_put put = hk_transfer_put(CLASS, others, 2, block(2));
    CHECK(put.freed_is_there && put.count == 0);
    put = hk_transfer_put(CLASS, others, 2, block(7));
    CHECK(!put.freed_is_there && put.count == 2);
    CHECK(!put_one(CLASS, block(1)).freed_is_there); /* it is no longer among the newest */
}

TEST_FRESH(a_scan_takes_what_nobody_needed_since_the_last_one) {
    hk_transfer_start(1);
    void *to[100];
    put(CLASS, 1, 20);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_IDLE, to, 100), 0); /* all are new */
    hk_transfer_take(CLASS, to, 15);
    put(CLASS, 6, 15);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_IDLE, to, 3),
             3); /* 5 were never needed */
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_IDLE, to + 3, 3), 2);
    for (uintptr_t i = 0; i < 5; i++)
        CHECK(to[i] == block(1 + i)); /* the oldest */
    CHECK_EQ(count(CLASS), 15);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_IDLE, to, 100), 15);
    CHECK_EQ(count(CLASS), 0);
}

TEST_FRESH(a_trim_takes_all_blocks_and_their_arrays) {
    hk_transfer_start(1);
    void *to[100];
    put(CLASS, 1, 50);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_ALL, to, 40), 40);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_ALL, to, 40), 10);
    uint64_t before = hk_meta_bytes();
    for (int i = 0; i < 1000; i++) { /* a lost array would be detected */
        put(CLASS, 1, 1000);
        while (hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_ALL, to, 100) == 100) {
        }
    }
    CHECK_LE(hk_meta_bytes(), before + 128 * 1024);
}

TEST_FRESH(the_older_half_goes_and_the_newest_blocks_stay) {
    hk_transfer_start(1);
    void *to[100];
    put(CLASS, 1, 21);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_HALF, to, 100), 11);
    for (uintptr_t i = 0; i < 11; i++)
        CHECK(to[i] == block(1 + i));
    CHECK_EQ(hk_transfer_take(CLASS, to, 100), 10);
    put(CLASS, 1, 1);
    CHECK_EQ(hk_transfer_take_oldest(0, CLASS, HK_TRANSFER_HALF, to, 100), 1); /* so that it ends */
}

static void *take_and_put(void *arg) {
    void *to[8];
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 8);
    CHECK(to[7] == block(22));
    CHECK_EQ(put(CLASS, 31, 3), 3);
    return arg;
}

/* Runs while the visited cache is locked. */
static void run_while_locked(void *arg, void *const *blocks, uint32_t count) {
    if (count == 0 || blocks[0] != block(1))
        return;
    ++*(int *)arg;
    pthread_join(test_thread(take_and_put, NULL), NULL);
}

TEST_FRESH(while_a_lock_is_taken_the_cache_of_the_next_cpu_serves) {
    hk_transfer_start(2);
    void *to[8];
    int visits = 0;
    put(CLASS, 1, 4);
    fake_os.cpu = 1;
    put(CLASS, 11, 12);
    fake_os.cpu = 0;
    hk_transfer_each(CLASS, run_while_locked, &visits);
    CHECK_EQ(visits, 1);
    fake_os.cpu = 1;
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 7);
    CHECK(to[3] == block(14) && to[6] == block(33));
}

TEST_FRESH(a_cpu_that_only_allocates_takes_from_one_that_only_frees) {
    hk_transfer_start(3);
    void *to[8];
    fake_os.cpu = 2;
    put(CLASS, 1, 16);
    fake_os.cpu = 0;
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 8);
    CHECK_EQ(hk_transfer_take(CLASS, to, 8), 0); /* half of its array remains for its own threads */
    fake_os.cpu = 2;
    put(CLASS, 21, 8);
    fake_os.cpu = 0;
    int looks = 0;
    while (looks < 100 && hk_transfer_take(CLASS, to, 8) == 0) /* a miss is followed by a pause */
        looks++;
    CHECK(looks > 4 && looks < 32);
}

TEST_FRESH(without_memory_for_a_cache_or_an_array_nothing_is_put) {
    hk_transfer_start(1);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t bytes = 1 << 20; bytes >= 64; bytes /= 2)
        while (hk_meta_alloc(bytes) != NULL) {
        }
    CHECK_EQ(put(CLASS, 1, 4), 0);
    fake_os_fail_maps(0, 0);
    CHECK_EQ(put(CLASS, 1, 4), 4);
}

TEST_FRESH(with_fast_checks_blocks_stay_out_so_that_their_bits_tell) {
    char *environment[] = {"HAKMEM_CHECKS=fast", NULL};
    fake_os.environment = environment;
    hk_options_read();
    hk_transfer_start(1);
    CHECK_EQ(put(CLASS, 1, 4), 0);
    CHECK_EQ(put_one(CLASS, block(1)).count, 0);
}
