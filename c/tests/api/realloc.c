/* realloc.c - contents, alignment and statistics with all kinds of resizing.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 120
// variant: HAKMEM_CHECKS=1
#include "blocks.h"

static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }

/* Resizes a block of `from` bytes to `to`, and checks the preserved contents. */
static void check_realloc(size_t from, size_t to) {
    AT("from to", from, to);
    unsigned char *p = hak_malloc(from);
    REQUIRE(p);
    test_fill(p, from, from + to);
    unsigned char *moved = HIDE(hak_realloc(p, to));
    REQUIRE(moved);
    CHECK_EQ((uintptr_t)moved % 16, 0);
    CHECK_GE(hak_usable_size(moved), to);
    CHECK_EQ(test_intact(moved, smaller(from, to), from + to), smaller(from, to));
    test_fill(moved, to, to);
    CHECK_EQ(test_intact(moved, to, to), to);
    hak_free_sized(moved, to);
}

static void check_realloc_layout(size_t from, size_t to, size_t align) {
    AT("from to align", from, to, align);
    unsigned char *p = hak_alloc(from, align);
    REQUIRE(p);
    test_fill(p, from, from ^ to);
    unsigned char *moved = HIDE(hak_realloc_layout(p, from, align, to));
    REQUIRE(moved);
    CHECK_EQ((uintptr_t)moved % align, 0);
    CHECK_GE(hak_usable_size(moved), to);
    CHECK_EQ(test_intact(moved, smaller(from, to), from ^ to), smaller(from, to));
    test_fill(moved, to, to);
    hak_dealloc(moved, to, align);
}

static size_t sizes[GRID_SIZES_MAX];

TEST(hak_realloc_keeps_contents_between_all_pairs_of_classes) {
    uint64_t live = bytes_live();
    unsigned last = class_last();
    for (unsigned from = FIRST_CLASS; from <= last; from++)
        for (unsigned to = FIRST_CLASS; to <= last; to++)
            check_realloc(class_bytes(from), class_bytes(to));
    CHECK_EQ(bytes_live(), live);
}

TEST(hak_realloc_keeps_contents_around_each_boundary) {
    size_t count = grid_sizes(sizes);
    for (size_t i = 0; i < count; i++)
        for (size_t j = i < 4 ? 0 : i - 4; j < count && j <= i + 4; j++)
            if (sizes[i] <= MIB && sizes[j] <= MIB)
                check_realloc(sizes[i], sizes[j]);
}

TEST(hak_realloc_keeps_contents_to_large_and_back) {
    static const size_t small[] = {1, 16, 100, 1024, 8 * KIB, 52 * KIB, 256 * KIB};
    for (size_t i = 0; i < TEST_COUNT(small); i++)
        for (size_t j = 0; j < TEST_COUNT(large_sizes) - 2; j++) {
            check_realloc(small[i], large_sizes[j]);
            check_realloc(large_sizes[j], small[i]);
        }
}

TEST(hak_realloc_keeps_contents_between_large_sizes) {
    for (size_t i = 0; i < TEST_COUNT(large_sizes); i++)
        for (size_t j = 0; j < TEST_COUNT(large_sizes); j++)
            if (i == j || large_sizes[i] + large_sizes[j] <= 24 * MIB || i + 1 == j || j + 1 == i)
                check_realloc(large_sizes[i], large_sizes[j]);
    CHECK_EQ(hak_validate(), 0);
}

TEST(hak_realloc_layout_keeps_contents_and_alignment) {
    static const size_t aligns[] = {1, 8, 16, 64, 256, 4096, 64 * 1024, 2 * 1024 * 1024};
    static const size_t spread[] = {1,        7,         8,    9,          16,      40,
                                    100,      1000,      1025, 5000,       9 * KIB, 52 * KIB,
                                    60 * KIB, 200 * KIB, MIB,  3 * MIB + 5};
    uint64_t live = bytes_live();
    for (size_t a = 0; a < TEST_COUNT(aligns); a++)
        for (size_t i = 0; i < TEST_COUNT(spread); i++)
            for (size_t j = 0; j < TEST_COUNT(spread); j++)
                check_realloc_layout(spread[i], spread[j], aligns[a]);
    CHECK_EQ(bytes_live(), live);
}

TEST(hak_realloc_layout_keeps_contents_around_each_boundary) {
    size_t count = grid_sizes(sizes);
    for (size_t align = 1; align <= 64; align *= 8)
        for (size_t i = 0; i < count; i++)
            for (size_t j = i < 3 ? 0 : i - 3; j < count && j <= i + 3; j++)
                if (sizes[i] <= MIB && sizes[j] <= MIB)
                    check_realloc_layout(sizes[i], sizes[j], align);
}

/* After a realloc, the class must match the new size. Otherwise a sized free uses the
 * wrong class. */
TEST(hak_realloc_in_place_leaves_the_block_in_the_class_of_its_new_size) {
    for (size_t from = 1; from <= 2 * KIB; from += 5)
        for (size_t to = 1; to <= from; to += 97) {
            void *fresh = hak_malloc(to);
            void *p = hak_realloc(hak_malloc(from), to);
            AT("from to", from, to);
            CHECK_EQ(hak_usable_size(p), hak_usable_size(fresh));
            hak_free_sized(p, to);
            hak_free_sized(fresh, to);
        }
}

TEST(realloc_of_an_over_aligned_block_keeps_contents) {
    for (size_t align = 32; align <= 2 * MIB; align *= 4)
        for (size_t size = 1; size <= 2 * MIB; size = size * 5 + 3) {
            AT("size align", size, align);
            unsigned char *p = hak_aligned_alloc(align, size);
            REQUIRE(p);
            test_fill(p, size, align);
            size_t longer = size + size / 2 + 1;
            p = hak_realloc(p, longer);
            REQUIRE(p);
            CHECK_EQ(test_intact(p, size, align), size);
            memset(p, 1, longer);
            hak_free(p);
        }
    CHECK_EQ(hak_validate(), 0);
}

TEST(realloc_to_zero_frees_and_returns_null) {
    static const size_t from[] = {0, 1, 100, 5000, 52 * KIB, 256 * KIB, MIB, 40 * MIB};
    for (size_t i = 0; i < TEST_COUNT(from); i++) {
        AT("from", from[i]);
        uint64_t live = bytes_live();
        void *p = hak_malloc(from[i]);
        REQUIRE(p);
        CHECK(!hak_realloc(p, 0));
        CHECK_EQ(bytes_live(), live);
        p = malloc(from[i]);
        CHECK(!realloc(p, 0));
        CHECK_EQ(bytes_live(), live);
        p = hak_malloc(from[i]);
        CHECK(!hak_reallocarray(p, 5, 0));
        CHECK_EQ(bytes_live(), live);
    }
}

TEST(realloc_of_null_to_zero_gives_a_block) {
    void *p = hak_realloc(NULL, 0);
    CHECK(p);
    hak_free(p);
}

TEST(a_vector_grows_from_one_byte_to_128_mib) {
    uint64_t live = bytes_live();
    size_t size = 1, filled = 0;
    unsigned char *p = hak_malloc(size);
    while (size < 128 * MIB) {
        for (; filled < size; filled += filled < 4096 ? 1 : 4093)
            p[filled] = test_byte(3, filled);
        size += size / 2 + 1;
        p = hak_realloc(p, size);
        REQUIRE(p);
    }
    for (size_t i = 0; i < filled; i += i < 4096 ? 1 : 4093)
        if (p[i] != test_byte(3, i)) {
            AT("position", i);
            CHECK(!"contents kept");
            break;
        }
    while (size > 1) {
        size /= 3;
        p = hak_realloc(p, size ? size : 1);
        REQUIRE(p);
        CHECK_EQ(p[0], test_byte(3, 0));
    }
    hak_free(p);
    CHECK_EQ(bytes_live(), live);
    CHECK_EQ(hak_validate(), 0);
}
