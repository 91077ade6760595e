/* interior_pointer.c - a pointer into a block is passed instead of its start.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -Wno-free-nonheap-object
#include "death.h"

static void free_inside(size_t size, size_t offset) {
    char *p = HIDE((char *)malloc(size)) + offset;
    test_tell(p);
    free(HIDE(p));
}

static void inside_small(void) { free_inside(100, 16); }
static void inside_mid(void) { free_inside(3000, 1024); }
static void inside_pool(void) { free_inside(40 * 1024, 4096); }
static void inside_class_of_several_granules(void) { free_inside(256 * 1024, 128 * 1024); }
static void inside_large(void) { free_inside(1024 * 1024, 16); }
static void inside_large_at_a_granule(void) { free_inside(1024 * 1024, 512 * 1024); }
static void inside_huge(void) { free_inside(64 * 1024 * 1024, 1024 * 1024); }

TEST(into_a_small_block) { check_mistake(inside_small, "free", INSIDE, AT_FLUSH); }

static size_t misaligned_size;
static void inside_by_a_byte(void) { free_inside(misaligned_size, 1); }
static void inside_by_8_bytes(void) { free_inside(misaligned_size, 8); }

TEST(misaligned_at_every_size) {
    static const size_t sizes[] = {16, 40, 640, 1024, 5000, 40000, 65536, 100000, 262144};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        misaligned_size = sizes[i];
        AT("size", sizes[i]);
        check_mistake(inside_by_a_byte, "free", INSIDE, AT_ONCE);
        check_mistake(inside_by_8_bytes, "free", INSIDE, AT_ONCE);
    }
}

/* As by delete of an array that begins with the count of its elements. */
static void inside_sized(void) {
    char *p = HIDE((char *)malloc(misaligned_size)) + 8;
    test_tell(p);
    hak_free_sized(HIDE(p), 16);
}

TEST(misaligned_at_every_size_by_a_sized_free) {
    static const size_t sizes[] = {40, 64, 408, 640, 5000, 40000, 65536, 262144};
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        misaligned_size = sizes[i];
        AT("size", sizes[i]);
        check_mistake(inside_sized, "free_sized", INSIDE, AT_ONCE);
    }
}

TEST(into_a_mid_block) { check_mistake(inside_mid, "free", INSIDE, AT_FLUSH); }
TEST(into_a_pool_block) { check_mistake(inside_pool, "free", INSIDE, AT_FLUSH); }
TEST(into_a_block_of_several_granules) {
    check_mistake(inside_class_of_several_granules, "free", INSIDE, AT_FLUSH);
}
TEST(into_a_large_block) { check_mistake(inside_large, "free", INSIDE, AT_ONCE); }
/* The pagemap has an entry only for the start of a large block. */
TEST(far_into_a_large_block) {
    check_mistake(inside_large_at_a_granule, "free", NOT_OURS, AT_ONCE);
}
TEST(far_into_a_huge_block) { check_mistake(inside_huge, "free", NOT_OURS, AT_ONCE); }

static void realloc_inside_large(void) {
    char *p = HIDE((char *)malloc(1024 * 1024)) + 64;
    test_tell(p);
    free(realloc(HIDE(p), 100));
}

TEST(into_a_large_block_by_realloc) {
    check_mistake(realloc_inside_large, "realloc", INSIDE, AT_ONCE);
}

static void realloc_inside_small(void) {
    char *p = HIDE((char *)malloc(100)) + 16;
    test_tell(p);
    free(realloc(HIDE(p), 5000));
}

TEST(into_a_small_block_by_realloc) {
    check_mistake(realloc_inside_small, "realloc", INSIDE, AT_ONCE);
}

static void usable_size_inside(void) {
    char *p = HIDE((char *)malloc(3000)) + 1024;
    test_tell(p);
    CHECK_EQ(hak_usable_size(HIDE(p)), 0);
}

static void realloc_layout_inside(void) {
    char *p = HIDE((char *)hak_alloc(100, 8)) + 16;
    test_tell(p);
    CHECK(!hak_realloc_layout(HIDE(p), 100, 8, 3000));
}

static void dealloc_inside(void) {
    char *p = HIDE((char *)hak_alloc(100, 8)) + 4;
    test_tell(p);
    hak_dealloc(HIDE(p), 100, 8);
}

TEST(by_usable_size) { check_mistake(usable_size_inside, "malloc_usable_size", INSIDE, AT_ONCE); }
TEST(by_hak_realloc_layout) {
    check_mistake(realloc_layout_inside, "hak_realloc_layout", INSIDE, AT_ONCE);
}
TEST(by_hak_dealloc_misaligned) { check_mistake(dealloc_inside, "hak_dealloc", INSIDE, AT_ONCE); }

/* Blocks of 8 bytes may start at odd multiples of 8. Blocks from malloc never do. */
TEST(a_free_of_a_block_of_8_bytes_is_no_mistake) {
    enum { COUNT = 3000 };
    static void *blocks[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = hak_alloc(8, 8);
    for (size_t i = 0; i < COUNT; i++) {
        CHECK_EQ(hak_usable_size(blocks[i]), 8);
        hak_free(blocks[i]);
    }
    hak_trim();
    CHECK_EQ(errors_reported(), 0);
    CHECK_EQ(hak_validate(), 0);
}
