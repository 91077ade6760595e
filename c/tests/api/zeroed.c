/* zeroed.c - calloc and hak_alloc_zeroed on memory that was used before.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// timeout: 120
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_LARGE_CACHE_MB=64
// variant: HAKMEM_PURGE_DELAY_MS=0
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "blocks.h"

static size_t sizes[GRID_SIZES_MAX];

/* Enough blocks of one size to include fresh, cached and recycled ones. */
enum { COUNT = 40 };

static size_t count_for(size_t size) { return size <= 64 * KIB ? COUNT : size <= MIB ? 6 : 2; }

static void check_zeroed(size_t size, size_t align) {
    unsigned char *blocks[COUNT];
    size_t count = count_for(size);
    AT("size align", size, align);
    for (size_t i = 0; i < count; i++) {
        blocks[i] = align ? hak_alloc_zeroed(size, align) : calloc(size, 1);
        REQUIRE(blocks[i]);
        CHECK_EQ(test_zeros(blocks[i], size), size);
        memset(blocks[i], 0xee, hak_usable_size(blocks[i]));
    }
    for (size_t i = 0; i < count; i++) {
        if (align)
            hak_dealloc(blocks[i], size, align);
        else
            free(blocks[i]);
    }
}

TEST(calloc_zeroes_dirtied_memory_of_all_sizes) {
    size_t count = grid_sizes(sizes);
    for (unsigned round = 0; round < 2; round++) {
        dirty_free_memory();
        for (size_t i = 0; i < count; i++)
            check_zeroed(sizes[i], 0);
    }
}

TEST(hak_alloc_zeroed_zeroes_dirtied_memory_of_all_sizes_and_alignments) {
    size_t count = grid_sizes(sizes);
    for (size_t align = 1; align <= 128 * KIB; align *= 8) {
        dirty_free_memory();
        for (size_t i = 0; i < count; i++)
            if (sizes[i] <= 4 * MIB)
                check_zeroed(sizes[i], align);
    }
}

TEST(calloc_zeroes_after_trim) {
    size_t count = grid_sizes(sizes);
    dirty_free_memory();
    hak_trim();
    for (size_t i = 0; i < count; i++)
        check_zeroed(sizes[i], 0);
    hak_trim();
    for (size_t i = 0; i < count; i++)
        check_zeroed(sizes[i], 0);
}

/* A large block records which of its memory the OS has zeroed. This excludes memory that a shrunk
 * neighbour has left. */
TEST(calloc_zeroes_large_memory_given_up_by_realloc) {
    for (size_t size = 300 * KIB; size <= 40 * MIB; size = size * 3 / 2) {
        AT("size", size);
        unsigned char *p = hak_malloc(size);
        REQUIRE(p);
        memset(p, 0xcc, hak_usable_size(p));
        p = hak_realloc(p, size / 3);
        REQUIRE(p);
        unsigned char *zeroed = calloc(size / 3, 2);
        REQUIRE(zeroed);
        CHECK_EQ(test_zeros(zeroed, size / 3 * 2), size / 3 * 2);
        memset(zeroed, 0xdd, hak_usable_size(zeroed));
        hak_free(p);
        free(zeroed);
    }
}

/* A block may be zeroed lazily only as long as nothing could write to it. */
TEST(calloc_zeroes_memory_that_a_large_block_grew_into_and_left) {
    for (unsigned round = 0; round < 3; round++) {
        unsigned char *p = calloc(1, 300 * KIB);
        REQUIRE(p);
        for (size_t size = 300 * KIB; size < 20 * MIB; size = size * 7 / 5) {
            p = hak_realloc(p, size);
            REQUIRE(p);
            memset(p, 0x77, hak_usable_size(p));
        }
        hak_free(p);
        for (size_t size = 300 * KIB; size < 20 * MIB; size = size * 7 / 5)
            check_zeroed(size, 0);
    }
}

enum { SHARED_BLOCKS = 2000, SHARED_BYTES = 200 };
static unsigned char *shared_blocks[SHARED_BLOCKS];

static void *dirty_and_free_shared_blocks(void *arg) {
    for (size_t i = 0; i < SHARED_BLOCKS; i++) {
        memset(shared_blocks[i], 0xab, SHARED_BYTES);
        free(shared_blocks[i]);
    }
    return arg;
}

TEST(calloc_zeroes_blocks_that_another_thread_freed) {
    for (unsigned round = 0; round < 3; round++) {
        for (size_t i = 0; i < SHARED_BLOCKS; i++) {
            shared_blocks[i] = calloc(SHARED_BYTES, 1);
            REQUIRE(shared_blocks[i]);
            CHECK_EQ(test_zeros(shared_blocks[i], SHARED_BYTES), SHARED_BYTES);
        }
        pthread_join(test_thread(dirty_and_free_shared_blocks, NULL), NULL);
    }
}
