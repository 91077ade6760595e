/* trim.c - hak_trim returns memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=100000 HAKMEM_PURGE_THREAD_MB=0
#include "blocks.h"

enum { BLOCKS = 200000, BYTES = 300 };
static unsigned char *blocks[BLOCKS];

static void hold_and_touch(void) {
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = hak_malloc(BYTES);
        REQUIRE(blocks[i]);
        memset(blocks[i], 1, BYTES);
    }
}

TEST(trim_returns_freed_small_blocks_to_the_os) {
    size_t before = test_rss();
    hold_and_touch();
    size_t with = test_rss();
    CHECK_GE(with - before, (size_t)BLOCKS * BYTES * 9 / 10);
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    size_t returned = hak_trim();
    CHECK_GE(returned, (size_t)BLOCKS * BYTES * 8 / 10);
    CHECK_LE(test_rss(), before + 8 * MIB);
    CHECK_EQ(hak_validate(), 0);
}

/* No whole slab is free here, but most pages are. */
TEST(trim_returns_free_pages_within_slabs_in_use) {
    enum { KEPT_EACH = 256 };
    hold_and_touch();
    size_t with = test_rss();
    for (size_t i = 0; i < BLOCKS; i++)
        if (i % KEPT_EACH)
            hak_free(blocks[i]);
    hak_trim();
    size_t after = test_rss();
    CHECK_LE(after, with - (size_t)BLOCKS * BYTES / 2);
    for (size_t i = 0; i < BLOCKS; i += KEPT_EACH) {
        CHECK_EQ(blocks[i][0], 1);
        CHECK_EQ(blocks[i][BYTES - 1], 1);
        hak_free(blocks[i]);
    }
    CHECK_EQ(hak_validate(), 0);
}

TEST(trim_returns_freed_large_blocks_to_the_os) {
    enum { LARGE = 40 };
    unsigned char *large[LARGE];
    hak_trim();
    size_t before = test_rss();
    for (size_t i = 0; i < LARGE; i++) {
        large[i] = hak_malloc(i % 2 ? 700 * KIB : 5 * MIB);
        REQUIRE(large[i]);
        memset(large[i], 1, hak_usable_size(large[i]));
    }
    for (size_t i = 0; i < LARGE; i++)
        hak_free(large[i]);
    hak_trim();
    CHECK_LE(test_rss(), before + 2 * MIB);
}

TEST(a_second_trim_has_nothing_to_return) {
    hak_trim();
    CHECK_EQ(hak_trim(), 0);
}

TEST(memory_is_usable_and_zeroed_after_trim) {
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = hak_calloc(1, BYTES);
        REQUIRE(blocks[i]);
        CHECK_EQ(test_zeros(blocks[i], BYTES), BYTES);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
}

static pthread_barrier_t barrier;

/* A thread sleeps with a full cache, then continues. */
static void *fill_cache_and_sleep(void *arg) {
    void *held[64];
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        held[i] = memset(hak_malloc(4096), 1, 4096);
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        hak_free(held[i]);
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < TEST_COUNT(held); i++) {
        unsigned char *p = hak_calloc(1, 4096);
        CHECK(p);
        CHECK_EQ(test_zeros(p, 4096), 4096);
        held[i] = p;
    }
    for (size_t i = 0; i < TEST_COUNT(held); i++)
        hak_free(held[i]);
    return arg;
}

TEST(trim_while_other_threads_hold_caches_is_safe) {
    pthread_t threads[4];
    pthread_barrier_init(&barrier, NULL, TEST_COUNT(threads) + 1);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(fill_cache_and_sleep, NULL);
    pthread_barrier_wait(&barrier);
    hak_trim();
    hak_trim();
    pthread_barrier_wait(&barrier);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hak_validate(), 0);
}
