/* wrong_layout.c - a block is freed with a size or an alignment that it was not allocated with.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_CHECKS=1
#include "death.h"

void free_sized(void *ptr, size_t size);
void free_aligned_sized(void *ptr, size_t alignment, size_t size);

static void free_sized_wrong(size_t size, size_t wrong) {
    void *p = malloc(size);
    test_tell(p);
    free_sized(p, wrong);
}

static void small_for_small(void) { free_sized_wrong(100, 10); }
static void large_for_small(void) { free_sized_wrong(100, 1024 * 1024); }
static void small_for_large(void) { free_sized_wrong(1024 * 1024, 100); }

TEST(free_sized_of_another_class) {
    check_mistake(small_for_small, "free_sized", OTHER_LAYOUT, AT_ONCE);
}
TEST(free_sized_of_a_small_block_as_large) {
    check_mistake(large_for_small, "free_sized", OTHER_LAYOUT, AT_ONCE);
}
TEST(free_sized_of_a_large_block_as_small) {
    check_mistake(small_for_large, "free_sized", OTHER_LAYOUT, AT_ONCE);
}

static void aligned_wrong(void) {
    void *p = aligned_alloc(1024, 100);
    test_tell(p);
    free_aligned_sized(p, 64, 100);
}

TEST(free_aligned_sized_with_another_alignment) {
    check_mistake(aligned_wrong, "free_aligned_sized", OTHER_LAYOUT, AT_ONCE);
}

static void dealloc_wrong_size(void) {
    void *p = hak_alloc(1000, 8);
    test_tell(p);
    hak_dealloc(p, 2000, 8);
}

static void dealloc_wrong_align(void) {
    void *p = hak_alloc(100, 8);
    test_tell(p);
    hak_dealloc(p, 100, 4096);
}

static void realloc_layout_wrong_size(void) {
    void *p = hak_alloc(1000, 8);
    test_tell(p);
    void *q = hak_realloc_layout(p, 100, 8, 3000);
    hak_free(q);
}

TEST(hak_dealloc_with_another_size) {
    check_mistake(dealloc_wrong_size, "hak_dealloc", OTHER_LAYOUT, AT_ONCE);
}
TEST(hak_dealloc_with_another_alignment) {
    check_mistake(dealloc_wrong_align, "hak_dealloc", OTHER_LAYOUT, AT_ONCE);
}
TEST(hak_realloc_layout_with_another_size) {
    check_mistake(realloc_layout_wrong_size, "hak_realloc_layout", OTHER_LAYOUT, AT_ONCE);
}
