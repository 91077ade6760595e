/* sized_free.c - sized frees return the block to its class.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 120
// variant: HAKMEM_CHECKS=1
#include "blocks.h"

void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t alignment, size_t size);

static size_t sizes[GRID_SIZES_MAX];
static uint64_t live_before[GRID_SIZES_MAX];

static void remember_live(void) {
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++)
        live_before[index] = class_live(index);
}

static void check_live_as_before(void) {
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        AT("class", class_bytes(index));
        CHECK_EQ(class_live(index), live_before[index]);
    }
    test_place.names = NULL;
    CHECK_EQ(hak_validate(), 0);
}

/* Many rounds, so that blocks return to their slabs and are reused. A block in the wrong bin would
 * be reused with the wrong size, and overlap another block. */
enum { ROUNDS = 3, BLOCKS = 64 };

static size_t blocks_of(size_t size) { return size <= 64 * KIB ? BLOCKS : size <= MIB ? 4 : 1; }

TEST(free_sized_returns_blocks_to_their_class) {
    size_t count = grid_sizes(sizes);
    remember_live();
    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < count; i++) {
            void *blocks[BLOCKS];
            size_t n = blocks_of(sizes[i]);
            AT("size", sizes[i]);
            for (size_t b = 0; b < n; b++) {
                blocks[b] = b % 2 ? malloc(sizes[i]) : hak_calloc(1, sizes[i]);
                REQUIRE(blocks[b]);
                CHECK_GE(hak_usable_size(blocks[b]), sizes[i]);
            }
            for (size_t b = 0; b < n; b++) {
                if (b % 2)
                    hak_free_sized(blocks[b], sizes[i]);
                else
                    free_sized(blocks[b], sizes[i]);
            }
        }
    check_live_as_before();
}

TEST(free_aligned_sized_returns_blocks_to_their_class) {
    size_t count = grid_sizes(sizes);
    remember_live();
    for (size_t align = 1; align <= 2 * MIB; align *= 2)
        for (size_t i = 0; i < count; i++) {
            AT("size align", sizes[i], align);
            void *a = aligned_alloc(align, sizes[i]), *b = hak_aligned_alloc(align, sizes[i]);
            REQUIRE(a && b);
            free_aligned_sized(b, align, sizes[i]);
            hak_free_aligned_sized(a, align, sizes[i]);
        }
    check_live_as_before();
}

TEST(hak_dealloc_returns_blocks_to_their_class) {
    size_t count = grid_sizes(sizes);
    remember_live();
    for (size_t align = 1; align <= 2 * MIB; align *= 2)
        for (size_t i = 0; i < count; i++) {
            void *blocks[BLOCKS];
            size_t n = align > 4096 ? 1 : blocks_of(sizes[i]);
            AT("size align", sizes[i], align);
            for (size_t b = 0; b < n; b++) {
                blocks[b] = hak_alloc(sizes[i], align);
                REQUIRE(blocks[b]);
            }
            for (size_t b = 0; b < n; b++)
                hak_dealloc(blocks[b], sizes[i], align);
        }
    check_live_as_before();
}

TEST(hak_dealloc_after_hak_realloc_layout_finds_the_class_of_the_new_size) {
    static const size_t spread[] = {0,       1,        8,         24,        40,     1000,
                                    9 * KIB, 60 * KIB, 256 * KIB, 257 * KIB, 5 * MIB};
    remember_live();
    for (size_t align = 1; align <= 64 * KIB; align *= 2)
        for (size_t i = 0; i < TEST_COUNT(spread); i++)
            for (size_t j = 1; j < TEST_COUNT(spread); j++) {
                AT("from to align", spread[i], spread[j], align);
                void *p = hak_alloc(spread[i], align);
                REQUIRE(p);
                p = hak_realloc_layout(p, spread[i], align, spread[j]);
                REQUIRE(p);
                hak_dealloc(p, spread[j], align);
            }
    check_live_as_before();
}

/* Rust passes the layout to a free, C only the pointer. Both must find the same class. */
TEST(layout_blocks_may_be_freed_without_their_layout) {
    size_t count = grid_sizes(sizes);
    remember_live();
    for (size_t align = 1; align <= 64 * KIB; align *= 4)
        for (size_t i = 0; i < count; i++) {
            void *p = hak_alloc(sizes[i], align), *q = hak_alloc_zeroed(sizes[i], align);
            AT("size align", sizes[i], align);
            REQUIRE(p && q);
            hak_free(p);
            free(q);
        }
    check_live_as_before();
}

TEST(freeing_null_with_a_size_does_nothing) {
    remember_live();
    free_sized(NULL, 100);
    hak_free_sized(NULL, 0);
    free_aligned_sized(NULL, 64, 100);
    hak_free_aligned_sized(NULL, 64, 0);
    check_live_as_before();
}
