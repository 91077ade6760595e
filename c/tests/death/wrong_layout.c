/* wrong_layout.c - a block is freed with the wrong size or alignment.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
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

static void larger_for_small(void) { free_sized_wrong(100, 500); }
static void larger_for_mid(void) { free_sized_wrong(5000, 6000); }

TEST(free_sized_of_a_larger_class) {
    check_mistake(larger_for_small, "free_sized", OTHER_LAYOUT, AT_ONCE);
    check_mistake(larger_for_mid, "free_sized", OTHER_LAYOUT, AT_ONCE);
}

/* Without checks, most calls accept a smaller size, because it does no harm. */
TEST(free_sized_of_a_smaller_class) {
    if (!with_checks())
        SKIP("seen with checks only");
    check_mistake(small_for_small, "free_sized", OTHER_LAYOUT, AT_ONCE);
}

static void all_sizes_wrong(void *arg) {
    (void)arg;
    enum { COUNT = 400 };
    static unsigned char *blocks[COUNT];
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    for (size_t i = 0; i < COUNT; i++)
        test_fill(blocks[i] = hak_malloc(16 + i), 16 + i, i);
    for (size_t i = 0; i < COUNT; i += 2)
        hak_free_sized(blocks[i], i % 4 == 0 ? 4 : 3000);
    for (size_t i = 0; i < COUNT; i += 2)
        test_fill(blocks[i] = hak_malloc(3000), 3000, i);
    for (size_t i = 0; i < COUNT; i++) {
        size_t bytes = i % 2 == 0 ? 3000 : 16 + i;
        CHECK_EQ(test_intact(blocks[i], bytes, i), bytes);
        hak_free(blocks[i]);
    }
    CHECK(errors_reported() >= COUNT / 4);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_wrong_size_never_puts_a_block_over_another) {
    struct test_child child = test_in_child(all_sizes_wrong, NULL);
    CHECK_EXITED(child);
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

/* The class of a smaller alignment is smaller, too. */
TEST(free_aligned_sized_with_another_alignment) {
    if (!with_checks())
        SKIP("seen with checks only");
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
    if (!with_checks())
        SKIP("seen with checks only");
    check_mistake(dealloc_wrong_align, "hak_dealloc", OTHER_LAYOUT, AT_ONCE);
}
TEST(hak_realloc_layout_with_another_size) {
    check_mistake(realloc_layout_wrong_size, "hak_realloc_layout", OTHER_LAYOUT, AT_ONCE);
}
