/* unit/meta.c - memory for the core's own structures.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/meta.h"

#include "base/compiler.h"
#include "core/usage.h"
#include "fresh.h"

TEST_FRESH(blocks_are_apart_and_do_not_share_cache_lines) {
    enum { BLOCKS = 3000 };
    static struct {
        unsigned char *start;
        size_t bytes;
    } blocks[BLOCKS];
    uint64_t seed = test_seed(1);
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i].bytes = (size_t)1 << test_random(&seed) % 13;
        blocks[i].bytes += test_random(&seed) % blocks[i].bytes;
        blocks[i].start = hk_meta_alloc(blocks[i].bytes);
        REQUIRE(blocks[i].start != NULL);
        CHECK_EQ((uintptr_t)blocks[i].start % HK_CACHE_LINE, 0);
        test_fill(blocks[i].start, hk_meta_usable(blocks[i].bytes), i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        AT("block bytes", i, blocks[i].bytes);
        CHECK_EQ(test_intact(blocks[i].start, blocks[i].bytes, i), blocks[i].bytes);
    }
}

TEST_FRESH(usable_bytes_are_the_next_power_of_two_from_a_line_up) {
    CHECK_EQ(hk_meta_usable(1), 64);
    CHECK_EQ(hk_meta_usable(64), 64);
    CHECK_EQ(hk_meta_usable(65), 128);
    CHECK_EQ(hk_meta_usable(4096), 4096);
    CHECK_EQ(hk_meta_usable(4097), 8192);
}

TEST_FRESH(a_freed_block_is_the_next_of_its_size) {
    void *a = hk_meta_alloc(100), *b = hk_meta_alloc(100);
    hk_meta_free(a, 100);
    hk_meta_free(b, 100);
    CHECK(hk_meta_alloc(65) == b);
    CHECK(hk_meta_alloc(128) == a);
    CHECK_EQ(fake_os.map_calls, 1);
}

TEST_FRESH(a_freed_block_keeps_all_but_its_first_word) {
    unsigned char *block = hk_meta_alloc(256);
    test_fill(block, 256, 1);
    hk_meta_free(block, 256);
    unsigned char expected[256];
    test_fill(expected, sizeof expected, 1);
    CHECK(memcmp(block + sizeof(void *), expected + sizeof(void *), 256 - sizeof(void *)) == 0);
}

TEST_FRESH(the_rest_of_a_region_is_kept_in_pieces_when_a_larger_block_needs_a_new_one) {
    void *first = hk_meta_alloc(64);
    uint64_t region = hk_meta_bytes();
    void *large = hk_meta_alloc(region);
    CHECK(first != NULL && large != NULL);
    CHECK_EQ(fake_os.map_calls, 2);
    CHECK_EQ(hk_meta_bytes(), 2 * region);
    for (size_t piece = region / 2; piece >= 64; piece /= 2) /* their sum is region - 64 */
        CHECK(hk_meta_alloc(piece) != NULL);
    CHECK_EQ(fake_os.map_calls, 2);
    CHECK(hk_meta_alloc(64) != NULL);
    CHECK_EQ(fake_os.map_calls, 3);
}

TEST_FRESH(the_largest_block_is_a_mebibyte) {
    unsigned char *block = hk_meta_alloc(1 << 20);
    REQUIRE(block != NULL);
    test_fill(block, 1 << 20, 1);
    CHECK_EQ(hk_meta_bytes(), fake_os_mapped());
}

TEST_FRESH(without_memory_there_is_no_block_and_freed_ones_still_serve) {
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_meta_alloc(64) == NULL);
    CHECK_EQ(hk_meta_bytes(), 0);
    CHECK_EQ(hk_usage_bytes(), 0);
    fake_os_fail_maps(0, 0);
    void *block = hk_meta_alloc(64);
    CHECK(block != NULL);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_meta_alloc(1 << 20) == NULL);
    hk_meta_free(block, 64);
    CHECK(hk_meta_alloc(64) == block);
}

static void *allocate_and_free(void *key) {
    for (int i = 0; i < 20000; i++) {
        unsigned char *block = hk_meta_alloc(64);
        test_fill(block, 64, (uintptr_t)key);
        CHECK_EQ(test_intact(block, 64, (uintptr_t)key), 64);
        hk_meta_free(block, 64);
    }
    return NULL;
}

TEST_FRESH(threads_never_get_the_same_block) {
    pthread_t threads[4];
    for (uintptr_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(allocate_and_free, (void *)i);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
}

TEST_FRESH(pages_of_64_kib_are_asked_for_whole) {
    fake_os.page_bytes = 65536; /* the fake OS refuses anything else */
    CHECK(hk_meta_alloc(64) != NULL);
    CHECK(hk_meta_alloc(600000) != NULL);
}
