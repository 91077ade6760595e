/* grid.c - all allocation functions, at every class boundary and alignment.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 120
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PREWARM=all
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "blocks.h"

#include <malloc.h>

enum { MALLOC_ALIGN = 16, ALIGN_MAX = 2 * 1024 * 1024 };

struct way {
    const char *name;
    size_t align_least, align_most; /* of the requests that it can express */
    size_t align_promised;          /* at least this, whatever was requested */
    void *(*alloc)(size_t size, size_t align);
    void (*release)(void *ptr, size_t size, size_t align);
};

static void *by_malloc(size_t size, size_t align) {
    (void)align;
    return malloc(size);
}

static void *by_calloc(size_t size, size_t align) {
    (void)align;
    return calloc(1, size);
}

static void *by_realloc(size_t size, size_t align) {
    (void)align;
    return realloc(NULL, size);
}

static void *by_hak_malloc(size_t size, size_t align) {
    (void)align;
    return hak_malloc(size);
}

static void *by_aligned_alloc(size_t size, size_t align) { return aligned_alloc(align, size); }

static void *by_hak_aligned_alloc(size_t size, size_t align) {
    return hak_aligned_alloc(align, size);
}

static void *by_posix_memalign(size_t size, size_t align) {
    void *out = NULL;
    CHECK_EQ(posix_memalign(&out, align, size), 0);
    return out;
}

static void by_free(void *ptr, size_t size, size_t align) {
    (void)size, (void)align;
    free(ptr);
}

static void by_hak_free_sized(void *ptr, size_t size, size_t align) {
    (void)align;
    hak_free_sized(ptr, size);
}

static void by_hak_free_aligned_sized(void *ptr, size_t size, size_t align) {
    hak_free_aligned_sized(ptr, align, size);
}

static const struct way ways[] = {
    {"malloc", 16, 16, MALLOC_ALIGN, by_malloc, by_free},
    {"calloc", 16, 16, MALLOC_ALIGN, by_calloc, by_free},
    {"realloc", 16, 16, MALLOC_ALIGN, by_realloc, by_free},
    {"hak_malloc", 16, 16, MALLOC_ALIGN, by_hak_malloc, by_hak_free_sized},
    {"aligned_alloc", 1, ALIGN_MAX, 1, by_aligned_alloc, by_free},
    {"hak_aligned_alloc", 1, ALIGN_MAX, 1, by_hak_aligned_alloc, by_hak_free_aligned_sized},
    {"posix_memalign", 8, ALIGN_MAX, 1, by_posix_memalign, by_free},
    {"hak_alloc", 1, ALIGN_MAX, 1, hak_alloc, hak_dealloc},
    {"hak_alloc_zeroed", 1, ALIGN_MAX, 1, hak_alloc_zeroed, hak_dealloc},
};

static size_t sizes[GRID_SIZES_MAX];
static struct block blocks[GRID_SIZES_MAX];

/* Holds a block of each size at once. Checks each block, checks that blocks do not overlap, and
 * checks all contents again after all blocks have been filled. */
static void check_way(const struct way *way, size_t align) {
    size_t count = grid_sizes(sizes);
    for (size_t i = 0; i < count; i++) {
        struct block *b = &blocks[i];
        AT("size align", sizes[i], align);
        b->start = (unsigned char *)HIDE(way->alloc(sizes[i], align));
        REQUIRE(b->start);
        b->size = sizes[i];
        b->align = align;
        b->bytes = hak_usable_size(b->start);
        b->key = i + align;
        size_t promised = align > way->align_promised ? align : way->align_promised;
        CHECK_EQ((uintptr_t)b->start % promised, 0);
        CHECK_GE(b->bytes, b->size);
        CHECK_EQ(malloc_usable_size(b->start), b->bytes);
        block_fill(b);
    }
    blocks_check_apart(blocks, count);
    for (size_t i = 0; i < count; i++) {
        AT("size align", blocks[i].size, align);
        CHECK(block_intact(&blocks[i]));
        way->release(blocks[i].start, blocks[i].size, align);
    }
}

static void check_ways_named(const char *name) {
    uint64_t live = bytes_live();
    for (size_t i = 0; i < TEST_COUNT(ways); i++) {
        if (strcmp(ways[i].name, name) != 0)
            continue;
        for (size_t align = ways[i].align_least; align <= ways[i].align_most; align *= 2)
            check_way(&ways[i], align);
    }
    test_place.names = NULL;
    CHECK_EQ(bytes_live(), live);
    CHECK_EQ(hak_validate(), 0);
}

TEST(classes_are_those_of_the_tiers) {
    static const size_t pool_kib[] = {8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52};
    static const size_t big_kib[] = {64, 80, 96, 112, 128, 160, 192, 224, 256};
    CHECK(class_of_bytes(8));
    for (size_t bytes = 16; bytes <= KIB; bytes += 16)
        CHECK(class_of_bytes(bytes));
    for (size_t bytes = KIB; bytes < 8 * KIB; bytes *= 2)
        for (size_t step = 1; step <= 8; step++)
            CHECK(class_of_bytes(bytes + bytes / 8 * step));
    for (size_t i = 0; i < TEST_COUNT(pool_kib); i++)
        CHECK(class_of_bytes(pool_kib[i] * KIB));
    for (size_t i = 0; i < TEST_COUNT(big_kib); i++)
        CHECK(class_of_bytes(big_kib[i] * KIB));
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++)
        CHECK_LE(class_bytes(index), 256 * KIB);
    CHECK_EQ(class_bytes(class_last() + 1), 0);
}

TEST(internal_waste_is_at_most_an_eighth_above_128_bytes) {
    for (size_t size = 129; size <= 8 * KIB; size++) {
        void *p = hak_malloc(size);
        AT("size", size);
        CHECK_LE(hak_usable_size(p) - size, size / 8 + 15);
        hak_free(p);
    }
}

TEST(malloc_keeps_its_contract_on_the_grid) { check_ways_named("malloc"); }

TEST(calloc_keeps_its_contract_on_the_grid) { check_ways_named("calloc"); }

TEST(realloc_of_null_keeps_its_contract_on_the_grid) { check_ways_named("realloc"); }

TEST(hak_malloc_keeps_its_contract_on_the_grid) { check_ways_named("hak_malloc"); }

TEST(aligned_alloc_keeps_its_contract_on_the_grid) { check_ways_named("aligned_alloc"); }

TEST(hak_aligned_alloc_keeps_its_contract_on_the_grid) { check_ways_named("hak_aligned_alloc"); }

TEST(posix_memalign_keeps_its_contract_on_the_grid) { check_ways_named("posix_memalign"); }

TEST(hak_alloc_keeps_its_contract_on_the_grid) { check_ways_named("hak_alloc"); }

TEST(hak_alloc_zeroed_keeps_its_contract_on_the_grid) { check_ways_named("hak_alloc_zeroed"); }
