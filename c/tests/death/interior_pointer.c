/* interior_pointer.c - a pointer into a block is given instead of its start.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// flags: -Wno-free-nonheap-object
#include "death.h"

static void free_inside(size_t size, size_t offset) {
    char *p = HIDE((char *)malloc(size)) + offset;
    test_tell(p);
    free(HIDE(p));
}

static void inside_small(void) { free_inside(100, 16); }
static void inside_small_by_a_byte(void) { free_inside(1000, 1); }
static void inside_mid(void) { free_inside(3000, 1024); }
static void inside_pool(void) { free_inside(40 * 1024, 4096); }
static void inside_class_of_several_granules(void) { free_inside(256 * 1024, 128 * 1024); }
static void inside_large(void) { free_inside(1024 * 1024, 16); }
static void inside_large_at_a_granule(void) { free_inside(1024 * 1024, 512 * 1024); }
static void inside_huge(void) { free_inside(64 * 1024 * 1024, 1024 * 1024); }

TEST(into_a_small_block) { check_mistake(inside_small, "free", INSIDE, AT_FLUSH); }
TEST(into_a_small_block_by_a_byte) {
    check_mistake(inside_small_by_a_byte, "free", INSIDE, AT_FLUSH);
}
TEST(into_a_mid_block) { check_mistake(inside_mid, "free", INSIDE, AT_FLUSH); }
TEST(into_a_pool_block) { check_mistake(inside_pool, "free", INSIDE, AT_FLUSH); }
TEST(into_a_block_of_several_granules) {
    check_mistake(inside_class_of_several_granules, "free", INSIDE, AT_FLUSH);
}
TEST(into_a_large_block) { check_mistake(inside_large, "free", INSIDE, AT_ONCE); }
/* Of a large block only the beginning is registered. */
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
    check_mistake(realloc_inside_small, "realloc", INSIDE, AT_FLUSH);
}
