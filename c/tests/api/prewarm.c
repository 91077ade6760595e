/* prewarm.c - hak_prewarm fills the thread's cache and touches nothing.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "blocks.h"

enum { THREAD_BYTES_MOST = 2 * 1024 * 1024 };

/* The counts of the default table. */
static const struct {
    size_t bytes, count;
} pool_counts[] = {
    {8 * KIB, 16}, {16 * KIB, 16}, {24 * KIB, 12}, {32 * KIB, 8},
    {40 * KIB, 8}, {48 * KIB, 4},  {52 * KIB, 4},
};
/* Tiny: 16 blocks per class, and fewer above 512 B, so that all sets together stay below 2 MB. */
enum { TINY_COUNT = 16, TINY_COUNT_UPPER = 6, TINY_BYTES_UPPER = 512, TINY_BYTES_LAST = 1024 };

static size_t tiny_count(size_t bytes) {
    return bytes <= TINY_BYTES_UPPER ? TINY_COUNT : TINY_COUNT_UPPER;
}

struct shot {
    enum hak_prewarm_set set;
    size_t added, added_again;
    uint64_t refills_before, refills_after;
};

static uint64_t class_refills(size_t bytes) {
    struct hak_class_stats stats;
    return hak_class_stats(class_of_bytes(bytes), &stats, sizeof stats) == 0 ? stats.refills : 0;
}

/* Each test prewarms in its own thread. The trim removes caches of earlier threads, so the new
 * thread starts with an empty cache. */
static void in_new_thread(void *(*run)(void *), void *arg) {
    hak_trim();
    pthread_join(test_thread(run, arg), NULL);
}

/* Allocates the promised blocks of a class. Returns whether this needed a refill. */
static void check_ready(size_t bytes, size_t count) {
    void *blocks[TINY_COUNT];
    uint64_t before = class_refills(bytes);
    AT("bytes count", bytes, count);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = hak_malloc(bytes);
        CHECK(blocks[i]);
    }
    CHECK_EQ(class_refills(bytes) - before, 0);
    for (size_t i = 0; i < count; i++)
        hak_free(blocks[i]);
}

static void *prewarm_pool(void *arg) {
    size_t added = hak_prewarm(HAK_PREWARM_POOL);
    size_t promised = 0;
    for (size_t i = 0; i < TEST_COUNT(pool_counts); i++)
        promised += pool_counts[i].bytes * pool_counts[i].count;
    CHECK_GE(added, promised);
    CHECK_LE(added, THREAD_BYTES_MOST);
    for (size_t i = 0; i < TEST_COUNT(pool_counts); i++)
        check_ready(pool_counts[i].bytes, pool_counts[i].count);
    return arg;
}

TEST(pool_prewarm_makes_the_promised_blocks_ready) { in_new_thread(prewarm_pool, NULL); }

static void *prewarm_tiny(void *arg) {
    size_t added = hak_prewarm(HAK_PREWARM_TINY);
    CHECK(added > 0);
    CHECK_LE(added, THREAD_BYTES_MOST);
    for (size_t bytes = 16; bytes <= TINY_BYTES_LAST; bytes += 16)
        check_ready(bytes, tiny_count(bytes));
    return arg;
}

TEST(tiny_prewarm_makes_the_promised_blocks_ready) { in_new_thread(prewarm_tiny, NULL); }

static void *prewarm_all(void *arg) {
    size_t added = hak_prewarm(HAK_PREWARM_ALL);
    CHECK_LE(added, THREAD_BYTES_MOST);
    for (size_t i = 0; i < TEST_COUNT(pool_counts); i++)
        check_ready(pool_counts[i].bytes, pool_counts[i].count);
    for (size_t bytes = 16; bytes <= TINY_BYTES_LAST; bytes += 16)
        check_ready(bytes, tiny_count(bytes));
    return arg;
}

TEST(prewarm_of_all_makes_both_ready) { in_new_thread(prewarm_all, NULL); }

static void *prewarm_twice(void *arg) {
    struct shot *shot = arg;
    shot->added = hak_prewarm(shot->set);
    shot->added_again = hak_prewarm(shot->set);
    return NULL;
}

TEST(prewarming_twice_adds_nothing) {
    for (int set = HAK_PREWARM_TINY; set <= HAK_PREWARM_ALL; set++) {
        struct shot shot = {.set = (enum hak_prewarm_set)set};
        in_new_thread(prewarm_twice, &shot);
        AT("set", set);
        CHECK(shot.added > 0);
        CHECK_EQ(shot.added_again, 0);
    }
}

TEST(prewarm_off_adds_nothing) {
    struct shot shot = {.set = HAK_PREWARM_OFF};
    in_new_thread(prewarm_twice, &shot);
    CHECK_EQ(shot.added, 0);
}

TEST(prewarm_of_an_unknown_set_adds_nothing) {
    struct shot shot = {.set = (enum hak_prewarm_set)1000};
    in_new_thread(prewarm_twice, &shot);
    CHECK_EQ(shot.added, 0);
}

static void *prewarm_rss(void *arg) {
    size_t *rss = arg;
    hak_free(hak_malloc(100));
    test_rss();
    rss[0] = test_rss();
    rss[2] = hak_prewarm(HAK_PREWARM_ALL);
    rss[1] = test_rss();
    return NULL;
}

/* An emulator of another processor needs memory of its own for code that runs for the first time:
 * up to 768 KiB with pages of 64 KiB, of 1.9 MiB of blocks. */
TEST(prewarming_does_not_touch_the_blocks) {
    size_t rss[3] = {0, 0, 0}; /* before and after, and the bytes of the blocks */
    in_new_thread(prewarm_rss, rss);
    CHECK(rss[0] > 0);
    CHECK(rss[2] > 0);
    CHECK_LE(rss[1] - rss[0], rss[2] / 2);
}

static void *prewarm_accounts(void *arg) {
    uint64_t live = bytes_live();
    struct hak_stats before, after;
    hak_trim(); /* blocks in transfer caches already count as cached */
    hak_stats(&before, sizeof before);
    size_t added = hak_prewarm(HAK_PREWARM_ALL);
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_cached - before.bytes_cached, added);
    CHECK_EQ(after.bytes_live, live);
    CHECK_EQ(hak_validate(), 0);
    return arg;
}

TEST(prewarmed_blocks_are_cached_not_live) { in_new_thread(prewarm_accounts, NULL); }

TEST(prewarmed_blocks_go_home_with_the_thread) {
    struct hak_stats before, after;
    hak_stats(&before, sizeof before);
    for (unsigned i = 0; i < 200; i++) {
        struct shot shot = {.set = HAK_PREWARM_ALL};
        in_new_thread(prewarm_twice, &shot);
        CHECK(shot.added > 0);
    }
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_live, before.bytes_live);
    CHECK_LE(after.bytes_mapped, before.bytes_mapped + 64 * MIB);
}

/* Adaptive prewarming learns from an earlier thread that held many blocks of a class. */
static void *teach(void *arg) {
    enum { HELD = 64 };
    void *blocks[HELD];
    for (unsigned round = 0; round < 20; round++) {
        for (size_t i = 0; i < HELD; i++)
            blocks[i] = hak_malloc(320);
        for (size_t i = 0; i < HELD; i++)
            hak_free(blocks[i]);
    }
    return arg;
}

TEST(adaptive_prewarm_follows_the_threads_that_ended) {
    for (unsigned i = 0; i < 4; i++)
        in_new_thread(teach, NULL);
    struct shot shot = {.set = HAK_PREWARM_ADAPTIVE};
    in_new_thread(prewarm_twice, &shot);
    CHECK(shot.added > 0);
    CHECK_LE(shot.added, THREAD_BYTES_MOST);
}
