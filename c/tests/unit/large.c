/* unit/large.c - blocks above the largest class: placement, resizing and reuse.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/large.h"

#include "core/meta.h"
#include "core/options.h"
#include "core/pagemap.h"
#include "core/usage.h"
#include "fresh.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define FAR ((uintptr_t)1 << 45) /* nothing else is mapped near it */

static struct hk_arena arena;

static struct hk_span *span_of(const void *block) {
    struct hk_span *span = hk_pagemap_find(block);
    REQUIRE(span != NULL);
    return span;
}

static void *allocate(size_t size) {
    struct hk_block block = hk_large_alloc(&arena, &arena, size, 16);
    REQUIRE(block.start != NULL);
    return block.start;
}

static size_t purge_arena(enum hk_purge which) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    return hk_arena_purge(&arena, which, &budget);
}

static size_t purge_extents(uint64_t before_ms) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    return hk_extent_purge(before_ms, &budget);
}

static void release(void *block) { hk_large_free(span_of(block)); }

static void keep_for_reuse(const char *mib) { CHECK_EQ(hk_option_set("large_cache_mb", mib), 0); }

TEST_FRESH(blocks_to_4_mib_are_granules_of_the_arena_and_larger_ones_mappings) {
    void *small = allocate(4 * MIB), *large = allocate(4 * MIB + 1);
    CHECK(span_of(small)->chunk != NULL && span_of(small)->owner == &arena);
    CHECK(span_of(large)->chunk == NULL);
    CHECK_EQ(span_of(small)->bytes, 4 * MIB);
    CHECK_EQ(span_of(large)->bytes, 4 * MIB + HK_GRANULE_BYTES);
    CHECK_EQ(hk_large_live_bytes(), 8 * MIB + HK_GRANULE_BYTES);
    release(small);
    release(large);
    CHECK_EQ(hk_large_live_bytes(), 0);
    CHECK(hk_pagemap_find(small) == NULL && hk_pagemap_find(large) == NULL);
}

TEST_FRESH(every_size_is_aligned_and_writable_to_its_end) {
    static const size_t sizes[] = {256 * KIB + 1, 300 * KIB, MIB - 1, MIB, 4 * MIB, 5 * MIB};
    for (size_t align = 16; align <= 8 * MIB; align *= 2) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            struct hk_block block = hk_large_alloc(&arena, &arena, sizes[i], align);
            AT("size align", sizes[i], align);
            REQUIRE(block.start != NULL);
            CHECK_EQ((uintptr_t)block.start % align, 0);
            CHECK_EQ((uintptr_t)block.start % HK_GRANULE_BYTES, 0);
            size_t usable = span_of(block.start)->bytes;
            CHECK_GE(usable, sizes[i]);
            CHECK(fake_os_is_mapped(block.start, usable));
            memset((char *)block.start + usable - 16, 1, 16);
            release(block.start);
        }
    }
}

TEST_FRESH(size_zero_with_a_large_alignment_is_a_block_of_its_own) {
    struct hk_block a = hk_large_alloc(&arena, &arena, 0, 128 * KIB);
    struct hk_block b = hk_large_alloc(&arena, &arena, 0, 128 * KIB);
    CHECK(a.start != NULL && b.start != NULL && a.start != b.start);
    release(a.start);
    release(b.start);
}

TEST_FRESH(memory_is_called_zero_only_while_it_is) {
    struct hk_block block = hk_large_alloc(&arena, &arena, MIB, 16);
    CHECK(block.zero);
    memset(block.start, 1, MIB);
    release(block.start);
    struct hk_block again = hk_large_alloc(&arena, &arena, MIB, 16);
    CHECK(again.start == block.start && !again.zero);

    block = hk_large_alloc(&arena, &arena, 8 * MIB, 16);
    CHECK(block.zero);
    memset(block.start, 1, MIB);
    release(block.start);
    again = hk_large_alloc(&arena, &arena, 8 * MIB, 16);
    CHECK(again.start == block.start && !again.zero);
}

TEST_FRESH(absurd_sizes_are_refused) {
    CHECK(hk_large_alloc(&arena, &arena, SIZE_MAX, 16).start == NULL);
    CHECK(hk_large_alloc(&arena, &arena, (size_t)PTRDIFF_MAX + 1, 16).start == NULL);
    CHECK(hk_large_alloc(&arena, &arena, PTRDIFF_MAX, 16).start == NULL);
    CHECK(hk_large_alloc(&arena, &arena, MIB, (size_t)1 << 62).start == NULL);
    void *block = allocate(MIB), *mapping = allocate(8 * MIB);
    static const size_t sizes[] = {SIZE_MAX, (size_t)PTRDIFF_MAX + 1, PTRDIFF_MAX, (size_t)1 << 48,
                                   (size_t)1 << 52};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("size", i);
        CHECK(hk_large_resize(span_of(block), sizes[i], 16) == NULL);
        CHECK(hk_large_resize(span_of(mapping), sizes[i], 16) == NULL);
    }
    CHECK_EQ(span_of(block)->bytes, MIB);
    CHECK_EQ(span_of(mapping)->bytes, 8 * MIB);
    CHECK(hk_arena_valid(&arena));
}

/* ---- Cached mappings ------------------------------------------------------------------------- */

/* Mappings are adjacent, regardless of their sizes. */
static void without_huge_pages(void) { CHECK_EQ(hk_option_set("huge_page_mb", "0"), 0); }

/* Frees two adjacent mappings. */
static char *free_neighbours(size_t first, size_t second) {
    without_huge_pages();
    fake_os.chunks_at = FAR;
    void *a = allocate(first);
    fake_os.chunks_at = FAR + first;
    void *b = allocate(second);
    CHECK_EQ((uintptr_t)a, FAR);
    CHECK_EQ((uintptr_t)b, FAR + first);
    release(a);
    release(b);
    return a;
}

TEST_FRESH(a_smaller_block_takes_the_beginning_of_a_freed_mapping_and_leaves_the_rest) {
    char *block = allocate(20 * MIB);
    release(block);
    CHECK_EQ(hk_extent_cached_bytes(), 20 * MIB);
    CHECK(allocate(20 * MIB + 1) != block);
    CHECK(allocate(5 * MIB - 1) == block);
    CHECK_EQ(span_of(block)->bytes, 5 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 15 * MIB);
    CHECK(allocate(15 * MIB) == block + 5 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

TEST_FRESH(freed_neighbours_become_one) {
    char *block = free_neighbours(5 * MIB, 6 * MIB);
    CHECK(allocate(11 * MIB) == block);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

TEST_FRESH(a_block_grows_into_the_free_mapping_behind_it_without_a_system_call) {
    char *block = free_neighbours(5 * MIB, 6 * MIB);
    CHECK(allocate(5 * MIB) == block);
    uint64_t calls = hk_os_counts.remap_calls;
    CHECK(hk_large_resize(span_of(block), 8 * MIB, 16) == block);
    CHECK_EQ(span_of(block)->bytes, 8 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 3 * MIB);
    CHECK_EQ(hk_large_live_bytes(), 8 * MIB);
    CHECK_EQ(hk_os_counts.remap_calls, calls);
}

TEST_FRESH(a_block_of_several_mappings_is_never_moved_by_the_os) {
    char *block = free_neighbours(5 * MIB, 6 * MIB);
    CHECK(allocate(11 * MIB) == block);
    uint64_t calls = hk_os_counts.remap_calls;
    CHECK(hk_large_resize(span_of(block), 40 * MIB, 16) == NULL);
    CHECK_EQ(hk_os_counts.remap_calls, calls);
    CHECK_EQ(span_of(block)->bytes, 11 * MIB);
}

/* The end of a mapping whose middle was unmapped, behind a block that grew over the middle. */
TEST_FRESH(a_block_that_grew_up_to_the_rest_of_its_mapping_is_no_part_of_it) {
    without_huge_pages();
    fake_os.chunks_at = FAR;
    release(allocate(24 * MIB));
    char *block = allocate(8 * MIB), *middle = allocate(8 * MIB), *end = allocate(8 * MIB);
    CHECK_EQ((uintptr_t)block, FAR);
    CHECK_EQ((uintptr_t)end, FAR + 16 * MIB);
    release(middle);
    CHECK_EQ(purge_extents(UINT64_MAX), 8 * MIB);

    size_t with_reserve = 16 * MIB; /* 227 granules and an eighth */
    CHECK(hk_large_resize(span_of(block), 227 * HK_GRANULE_BYTES, 16) == block);
    CHECK_EQ(span_of(block)->bytes, with_reserve);
    release(end);
    CHECK(hk_large_resize(span_of(block), 20 * MIB, 16) == block);
    CHECK_EQ(hk_extent_cached_bytes(), 4 * MIB);

    uint64_t calls = hk_os_counts.remap_calls;
    CHECK(hk_large_resize(span_of(block), 40 * MIB, 16) == NULL);
    CHECK_EQ(hk_os_counts.remap_calls, calls);
}

TEST_FRESH(of_a_mapping_above_the_limit_the_beginning_is_kept) {
    keep_for_reuse("20");
    char *block = allocate(50 * MIB);
    release(block);
    CHECK_EQ(hk_extent_cached_bytes(), 20 * MIB);
    CHECK(fake_os_is_mapped(block, 20 * MIB) && !fake_os_is_mapped(block + 20 * MIB, 4096));
}

/* Frees `count` blocks of 8 MiB and allocates as many. Returns the number of newly mapped bytes. */
static size_t replace(void **list, size_t count) {
    for (size_t i = 0; i < count; i++)
        release(list[i]);
    size_t mapped = fake_os_mapped();
    for (size_t i = 0; i < count; i++)
        list[i] = allocate(8 * MIB);
    return fake_os_mapped() - mapped;
}

TEST_FRESH(the_limit_rises_to_half_of_what_is_in_use_where_evicted_mappings_are_missed) {
    keep_for_reuse("16");
    void *list[10];
    for (size_t i = 0; i < TEST_COUNT(list); i++)
        list[i] = allocate(8 * MIB);
    CHECK_EQ(replace(list, 10), 64 * MIB); /* all but 16 MiB */
    CHECK_EQ(replace(list, 10), 24 * MIB); /* all but 16 MiB and half of 80 */
    CHECK_EQ(replace(list, 7), 0);
}

TEST_FRESH(the_limit_does_not_rise_where_nothing_is_missed_and_falls_again) {
    keep_for_reuse("16");
    void *list[10];
    for (int round = 0; round < 3; round++) {
        AT("round", round);
        for (size_t i = 0; i < TEST_COUNT(list); i++)
            list[i] = allocate(8 * MIB);
        for (size_t i = 0; i < TEST_COUNT(list); i++)
            release(list[i]);
        CHECK_EQ(hk_extent_cached_bytes(), round == 1 ? 56 * MIB : 16 * MIB);
        /* The second round misses the mappings that the first one evicted. Then a long
         * time passes. */
        for (int i = 0; round == 1 && i < 40; i++) {
            fake_os.now_ms += 10000;
            release(allocate(8 * MIB));
        }
    }
}

TEST_FRESH(without_a_cache_nothing_is_kept_however_often_it_is_missed) {
    keep_for_reuse("0");
    void *list[4];
    for (size_t i = 0; i < TEST_COUNT(list); i++)
        list[i] = allocate(8 * MIB);
    for (int round = 0; round < 3; round++)
        CHECK_EQ(replace(list, 4), 32 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

TEST_FRESH(the_smallest_kept_mapping_that_fits_is_reused) {
    void *blocks[] = {allocate(12 * MIB), allocate(11 * MIB), allocate(10 * MIB)};
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        release(blocks[i]);
    CHECK(allocate(10 * MIB + 1) == blocks[1]);
    CHECK(allocate(10 * MIB) == blocks[2]);
    CHECK(allocate(10 * MIB) == blocks[0]);
}

TEST_FRESH(a_kept_mapping_is_reused_only_where_its_alignment_is_enough) {
    without_huge_pages();
    fake_os.chunks_at = FAR + 64 * KIB;
    void *block = allocate(8 * MIB);
    release(block);
    struct hk_block aligned = hk_large_alloc(&arena, &arena, 8 * MIB, MIB);
    CHECK(aligned.start != block && aligned.zero);
    CHECK(hk_large_alloc(&arena, &arena, 8 * MIB, 64 * KIB).start == block);
}

TEST_FRESH(the_oldest_mappings_are_unmapped_when_the_limit_is_reached) {
    keep_for_reuse("20");
    void *a = allocate(8 * MIB), *b = allocate(8 * MIB), *c = allocate(8 * MIB);
    release(a);
    release(b);
    CHECK_EQ(hk_extent_cached_bytes(), 16 * MIB);
    release(c);
    CHECK_EQ(hk_extent_cached_bytes(), 16 * MIB);
    CHECK(!fake_os_is_mapped(a, 4096) && fake_os_is_mapped(b, 8 * MIB));
}

TEST_FRESH(with_a_limit_of_zero_nothing_is_kept) {
    keep_for_reuse("0");
    void *block = allocate(5 * MIB);
    release(block);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
    CHECK(!fake_os_is_mapped(block, 4096));
}

TEST_FRESH(only_so_many_mappings_are_kept_and_none_is_lost) {
    enum { BLOCKS = 100 };
    keep_for_reuse("1000");
    void *blocks[BLOCKS];
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = allocate(5 * MIB);
    size_t others = fake_os_mapped() - BLOCKS * 5 * MIB;
    for (int i = 0; i < BLOCKS; i++)
        release(blocks[i]);
    CHECK(hk_extent_cached_bytes() >= 5 * MIB && hk_extent_cached_bytes() < BLOCKS * 5 * MIB);
    CHECK_EQ(fake_os_mapped(), others + hk_extent_cached_bytes());
    size_t kept = hk_extent_cached_bytes();
    CHECK_EQ(purge_extents(UINT64_MAX), kept);
    CHECK_EQ(fake_os_mapped(), others);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

TEST_FRESH(kept_mappings_go_when_they_are_old_enough) {
    fake_os.now_ms = 1000;
    void *old = allocate(5 * MIB), *young = allocate(5 * MIB);
    release(old);
    fake_os.now_ms = 1500;
    release(young);
    CHECK_EQ(purge_extents(1000), 0);
    CHECK_EQ(purge_extents(1500), 5 * MIB);
    CHECK(!fake_os_is_mapped(old, 4096) && fake_os_is_mapped(young, 5 * MIB));
    CHECK_EQ(purge_extents(1501), 5 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

/* ---- Resizing -------------------------------------------------------------------------------- */

static void check_resized(void *block, size_t old_size, size_t size, bool stays) {
    struct hk_span *span = span_of(block);
    test_fill(block, old_size, 7);
    unsigned char *resized = hk_large_resize(span, size, 16);
    REQUIRE(resized != NULL);
    CHECK_EQ(resized == block, stays);
    size_t least = old_size < size ? old_size : size;
    CHECK_EQ(test_intact(resized, least, 7), least);
    CHECK(span_of(resized) == span);
    CHECK_GE(span->bytes, size);
    CHECK(fake_os_is_mapped(resized, span->bytes));
    memset(resized, 1, span->bytes);
    CHECK_EQ(hk_large_live_bytes(), span->bytes);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(a_block_grows_into_free_granules_behind_it) {
    void *block = allocate(300 * KIB);
    check_resized(block, 300 * KIB, 310 * KIB, true); /* inside its last granule */
    check_resized(block, 310 * KIB, 900 * KIB, true);
    CHECK_EQ(span_of(block)->granules, 15);
    release(block);
    CHECK_EQ(hk_large_live_bytes(), 0);
}

TEST_FRESH(a_block_does_not_grow_over_its_neighbour) {
    void *block = allocate(300 * KIB), *neighbour = allocate(300 * KIB);
    test_fill(neighbour, 300 * KIB, 8);
    CHECK(hk_large_resize(span_of(block), 400 * KIB, 16) == NULL);
    CHECK_EQ(span_of(block)->bytes, 300 * KIB);
    CHECK(hk_large_resize(span_of(block), 5 * MIB, 16) == NULL);
    CHECK_EQ(test_intact(neighbour, 300 * KIB, 8), 300 * KIB);
    release(neighbour);
    check_resized(block, 300 * KIB, 400 * KIB, true);
}

TEST_FRESH(a_block_that_shrinks_leaves_its_granules_to_others) {
    void *block = allocate(900 * KIB);
    check_resized(block, 900 * KIB, 300 * KIB, true);
    CHECK((char *)allocate(300 * KIB) == (char *)block + 320 * KIB);
}

TEST_FRESH(a_mapping_grows_in_place_with_a_reserve_and_keeps_it) {
    fake_os.chunks_at = FAR;
    void *block = allocate(8 * MIB);
    check_resized(block, 8 * MIB, 9 * MIB, true);
    size_t bytes = span_of(block)->bytes;
    CHECK(bytes > 9 * MIB && bytes <= 9 * MIB + 2 * MIB);
    uint64_t calls = hk_os_counts.remap_calls;
    check_resized(block, 9 * MIB, bytes, true);
    check_resized(block, 9 * MIB, 9 * MIB - 100, true);
    CHECK_EQ(hk_os_counts.remap_calls, calls);
}

TEST_FRESH(where_there_is_no_room_for_the_reserve_a_mapping_grows_without) {
    fake_os.resize_fails = true;
    void *block = allocate(8 * MIB);
    fake_os_fail_maps(1, 1);
    check_resized(block, 8 * MIB, 16 * MIB, false);
    CHECK_EQ(hk_large_live_bytes(), 16 * MIB);
}

TEST_FRESH(a_mapping_that_cannot_grow_in_place_moves_without_a_copy) {
    fake_os.resize_fails = true;
    void *block = allocate(8 * MIB);
    check_resized(block, 8 * MIB, 16 * MIB, false);
    CHECK(hk_pagemap_find(block) == NULL);
    CHECK(!fake_os_is_mapped(block, 4096));
}

TEST_FRESH(a_mapping_keeps_its_alignment_when_it_moves) {
    fake_os.resize_fails = true;
    struct hk_block block = hk_large_alloc(&arena, &arena, 8 * MIB, 4 * MIB);
    char *moved = hk_large_resize(span_of(block.start), 20 * MIB, 4 * MIB);
    CHECK(moved != NULL && moved != block.start);
    CHECK_EQ((uintptr_t)moved % (4 * MIB), 0);
}

TEST_FRESH(a_mapping_that_shrinks_gives_its_end_back) {
    void *block = allocate(40 * MIB);
    size_t before = fake_os_mapped();
    check_resized(block, 40 * MIB, 10 * MIB, true);
    CHECK_EQ(fake_os_mapped(), before - 30 * MIB);
    CHECK(hk_large_resize(span_of(block), 300 * KIB, 16) == NULL); /* copied to an arena */
    CHECK_EQ(span_of(block)->bytes, 10 * MIB);
}

static void check_cannot_grow(unsigned char *block) {
    CHECK(hk_large_resize(span_of(block), 16 * MIB, 16) == NULL);
    CHECK_EQ(span_of(block)->bytes, 8 * MIB);
    CHECK_EQ(hk_large_live_bytes(), 8 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 8 * MIB);
    CHECK_EQ(test_intact(block, 8 * MIB, 9), 8 * MIB);
}

TEST_FRESH(a_resize_that_fails_changes_nothing) {
    fake_os.resize_fails = true;
    unsigned char *block = allocate(8 * MIB);
    test_fill(block, 8 * MIB, 9);
    size_t mapped = fake_os_mapped();
    fake_os_fail_maps(1, FAKE_OS_ALL); /* no room to move to */
    check_cannot_grow(block);
    fake_os.chunks_at = FAR; /* room, but no pagemap leaf for it, then no room */
    fake_os_fail_maps(2, 2);
    check_cannot_grow(block);
    CHECK_EQ(fake_os_mapped(), mapped);
    fake_os.move_fails = true; /* room, but the OS does not move */
    check_cannot_grow(block);
}

/* Takes all free metadata. The OS maps no more from then on. */
static void exhaust_metadata(void) {
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t bytes = MIB; bytes >= HK_EXTENT_NODE_BYTES; bytes /= 2) {
        while (hk_meta_alloc(bytes) != NULL)
            ;
    }
}

/* A part that is cut off, and a place to move to, may have to be recorded. */
TEST_FRESH(without_metadata_for_an_extent_a_block_neither_shrinks_nor_moves) {
    fake_os.resize_fails = true;
    fake_os.unmap_fails = true;
    unsigned char *block = allocate(40 * MIB);
    test_fill(block, 40 * MIB, 9);
    exhaust_metadata();
    CHECK(hk_large_resize(span_of(block), 10 * MIB, 16) == NULL);
    fake_os_fail_maps(0, 0);
    uint64_t calls = hk_os_counts.remap_calls;
    fake_os_fail_maps(1, 2); /* for nodes, with and without the reserve */
    CHECK(hk_large_resize(span_of(block), 80 * MIB, 16) == NULL);
    CHECK_EQ(hk_os_counts.remap_calls - calls, 2);
    CHECK_EQ(span_of(block)->bytes, 40 * MIB);
    CHECK_EQ(test_intact(block, 40 * MIB, 9), 40 * MIB);

    CHECK(hk_large_resize(span_of(block), 10 * MIB, 16) == block);
    CHECK_EQ(hk_extent_refused_bytes(), 30 * MIB);
}

TEST_FRESH(a_refused_move_leaves_nothing_at_its_target_and_the_block_stays_known) {
    fake_os.resize_fails = true;
    unsigned char *block = allocate(8 * MIB);
    test_fill(block, 8 * MIB, 9);
    CHECK(hk_pagemap_reserve(FAR));
    for (int unmaps = 0; unmaps < 2; unmaps++) {
        AT("the kernel unmaps the target", unmaps);
        size_t mapped = fake_os_mapped();
        fake_os.chunks_at = FAR;
        fake_os.move_fails = true;
        fake_os.move_unmaps = unmaps;
        check_cannot_grow(block);
        CHECK_EQ(fake_os_mapped(), mapped);
        CHECK(hk_pagemap_find(block) != NULL);
        CHECK(hk_pagemap_find((void *)FAR) == NULL);
    }
    fake_os.move_fails = false;
    fake_os.chunks_at = FAR;
    check_resized(block, 8 * MIB, 16 * MIB, false);
}

TEST_FRESH(the_target_of_a_refused_move_that_cannot_be_unmapped_either_is_kept_for_reuse) {
    fake_os.resize_fails = true;
    fake_os.move_fails = true;
    fake_os.unmap_fails = true;
    unsigned char *block = allocate(8 * MIB);
    CHECK(hk_large_resize(span_of(block), 16 * MIB, 16) == NULL);
    size_t kept = hk_extent_refused_bytes();
    CHECK(kept >= 16 * MIB);
    CHECK_EQ(hk_large_live_bytes(), 8 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 8 * MIB);
    struct hk_block again = hk_large_alloc(&arena, &arena, 16 * MIB, 16);
    CHECK(again.start != NULL && again.zero);
    CHECK_EQ(hk_extent_refused_bytes(), kept - 16 * MIB);
}

TEST_FRESH(a_block_that_has_become_several_mappings_is_not_moved) {
    unsigned char *block = allocate(8 * MIB);
    test_fill(block, 8 * MIB, 9);
    fake_os.resize_refused = true;
    uint64_t maps = fake_os.map_calls;
    check_cannot_grow(block);
    CHECK_EQ(fake_os_calls(FAKE_OS_MOVE), 0);
    CHECK_EQ(fake_os.map_calls, maps);
}

TEST_FRESH(a_block_whose_end_cannot_be_unmapped_shrinks_and_its_end_is_reused) {
    char *block = allocate(40 * MIB);
    fake_os.unmap_fails = true;
    check_resized(block, 40 * MIB, 10 * MIB, true);
    CHECK_EQ(span_of(block)->bytes, 10 * MIB);
    CHECK_EQ(hk_extent_refused_bytes(), 30 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 10 * MIB);
    CHECK(hk_large_resize(span_of(block), 20 * MIB, 16) == block);
    CHECK_EQ(hk_extent_refused_bytes(), 20 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 20 * MIB);
}

TEST_FRESH(live_mappings_are_counted) {
    uint64_t count, bytes;
    void *granules = allocate(MIB), *a = allocate(8 * MIB), *b = allocate(5 * MIB);
    hk_large_mapped(&count, &bytes);
    CHECK(count == 2 && bytes == 13 * MIB);
    fake_os.resize_fails = true;
    char *moved = hk_large_resize(span_of(a), 16 * MIB, 16);
    hk_large_mapped(&count, &bytes);
    CHECK_EQ(count, 2);
    CHECK_EQ(bytes, 5 * MIB + span_of(moved)->bytes);
    release(granules);
    release(moved);
    release(b);
    hk_large_mapped(&count, &bytes);
    CHECK(count == 0 && bytes == 0);
}

TEST_FRESH(holes_between_many_live_mappings_are_purged_instead_of_unmapped) {
    enum { BLOCKS = 2600 };
    static void *blocks[BLOCKS];
    fake_os.mappings_max = 4400; /* room for 2200 */
    keep_for_reuse("0");
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = allocate(5 * MIB);
    size_t mapped = fake_os_mapped();
    for (int i = 0; i < BLOCKS; i += 2)
        release(blocks[i]);
    CHECK_EQ(hk_extent_refused_bytes(), 400 * 5 * MIB); /* until fewer than 2200 were live */
    CHECK_EQ(fake_os_mapped(), mapped - 900 * 5 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), BLOCKS / 2 * 5 * MIB);
    CHECK(hk_large_alloc(&arena, &arena, 5 * MIB, 16).start == blocks[798] ||
          hk_extent_refused_bytes() == 399 * 5 * MIB);
    purge_extents(0);
    CHECK_EQ(hk_extent_refused_bytes(), 0);
}

TEST_FRESH(blocks_with_a_large_alignment_share_chunks_while_they_fit) {
    enum { BLOCKS = 300 };
    static void *blocks[BLOCKS];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < BLOCKS; i++) {
            blocks[i] = hk_large_alloc(&arena, &arena, 4 * KIB, 128 * KIB).start;
            REQUIRE(blocks[i] != NULL);
            CHECK_EQ((uintptr_t)blocks[i] % (128 * KIB), 0);
            CHECK_EQ(span_of(blocks[i])->bytes, 4 * KIB);
            memset(blocks[i], i, 4 * KIB);
        }
        for (int i = 0; i < BLOCKS; i++)
            release(blocks[i]);
    }
    CHECK(fake_os.map_calls < 20);
    struct hk_block most = hk_large_alloc(&arena, &arena, 2 * MIB, 2 * MIB);
    struct hk_block more = hk_large_alloc(&arena, &arena, 3 * MIB, 2 * MIB);
    CHECK(span_of(most.start)->chunk != NULL);
    CHECK(span_of(more.start)->chunk == NULL);
    CHECK_EQ((uintptr_t)more.start % (2 * MIB), 0);
}

TEST_FRESH(an_aligned_block_of_a_chunk_is_resized_where_it_is) {
    struct hk_block block = hk_large_alloc(&arena, &arena, 4 * KIB, 256 * KIB);
    char *start = block.start;
    CHECK(hk_large_resize(span_of(start), 100 * KIB, 256 * KIB) == start);
    CHECK(hk_large_resize(span_of(start), 1, 256 * KIB) == start);
    CHECK(hk_large_resize(span_of(start), 0, 256 * KIB) == start);
    CHECK_EQ(span_of(start)->granules, 1);
    CHECK(hk_arena_valid(&arena));
    release(start);
    CHECK_EQ(hk_large_live_bytes(), 0);
}

TEST_FRESH(the_hard_limit_holds_for_mappings_new_and_grown) {
    CHECK_EQ(hk_option_set("limit_hard", "21233664"), 0); /* 20 MiB, and the metadata */
    keep_for_reuse("0");
    void *block = allocate(10 * MIB);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 10 * MIB);
    CHECK(hk_large_alloc(&arena, &arena, 11 * MIB, 16).start == NULL);
    CHECK(hk_large_resize(span_of(block), 21 * MIB, 16) == NULL);
    CHECK_EQ(span_of(block)->bytes, 10 * MIB);
    check_resized(block, 10 * MIB, 5 * MIB, true);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 5 * MIB);
    release(block);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 0);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_large_alloc(&arena, &arena, 11 * MIB, 16).start == NULL);
    CHECK_EQ(hk_usage_bytes() - hk_meta_bytes(), 0);
}

/* ---- Without memory -------------------------------------------------------------------------- */

TEST_FRESH(without_memory_there_is_no_block_and_nothing_is_lost) {
    static const size_t sizes[] = {300 * KIB, 8 * MIB};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (uint64_t nth = 1; nth <= 5; nth++) {
            fake_os_fail_maps(nth, FAKE_OS_ALL);
            struct hk_block block = hk_large_alloc(&arena, &arena, sizes[i], 16);
            fake_os_fail_maps(0, 0);
            AT("size nth", sizes[i], nth);
            if (block.start != NULL)
                release(block.start);
            purge_extents(UINT64_MAX);
            purge_arena(HK_PURGE_ALL);
            CHECK_EQ(hk_large_live_bytes(), 0);
            CHECK_EQ(hk_extent_cached_bytes(), 0);
            CHECK_EQ((fake_os_mapped() - hk_meta_bytes()) % (512 * KIB), 0); /* leaves only */
            CHECK(fake_os_mapped() - hk_meta_bytes() <= 2 * 512 * KIB);
        }
    }
}

/* ---- The order of publication ---------------------------------------------------------------- */

/* A call that returns late or starts late. Other threads map and unmap meanwhile. */
static void delay(void) {
    static _Thread_local uint64_t seed = 11;
    if (test_random(&seed) % 4 == 0)
        test_sleep_ms(1);
    else
        sched_yield();
}

static bool stopped; /* atomic */

static bool is_stopped(void) { return __atomic_load_n(&stopped, __ATOMIC_RELAXED); }

static void check_known(const unsigned char *block, size_t size) {
    struct hk_span *span = hk_pagemap_find(block);
    REQUIRE(span != NULL && span->base == (uintptr_t)block && span->bytes >= size);
}

static void *grow_blocks(void *arg) {
    while (!is_stopped()) {
        size_t size = 5 * MIB;
        unsigned char *block = allocate(size);
        for (int i = 0; i < 5 && !is_stopped(); i++) {
            block[0] = block[size - 1] = 7;
            size_t larger = size + size / 2;
            unsigned char *resized = hk_large_resize(span_of(block), larger, 16);
            if (resized == NULL)
                break;
            CHECK(resized[0] == 7 && resized[size - 1] == 7);
            block = resized;
            size = larger;
            check_known(block, size);
        }
        check_known(block, size);
        release(block);
    }
    return arg;
}

static void *map_blocks(void *arg) {
    uint64_t seed = (uintptr_t)arg + 1;
    while (!is_stopped()) {
        size_t size = 4 * MIB + (test_random(&seed) % 64 + 1) * HK_GRANULE_BYTES;
        unsigned char *block = allocate(size);
        block[0] = 1;
        delay();
        check_known(block, size);
        release(block);
    }
    return arg;
}

static void check_publication(void) {
    pthread_t threads[6];
    keep_for_reuse("0");
    fake_os.delay = delay;
    for (uintptr_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(i < 3 ? grow_blocks : map_blocks, (void *)i);
    test_sleep_ms(1500);
    __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    fake_os.delay = NULL;
    CHECK_EQ(hk_large_live_bytes(), 0);
    CHECK(hk_extent_valid());
}

TEST_FRESH(blocks_stay_known_while_others_are_mapped_moved_and_unmapped_around_them) {
    fake_os.resize_fails = true;
    check_publication();
}

TEST_FRESH(blocks_stay_known_while_moves_and_unmaps_of_others_fail) {
    fake_os.resize_fails = true;
    fake_os.move_fails = true;
    fake_os.move_unmaps = true;
    check_publication();
}
