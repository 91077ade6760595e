/* use_after_free.c - a freed block is passed to functions other than free.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_CHECKS=1
// flags: -Wno-use-after-free
#include "death.h"

#include <malloc.h>

static void *freed(size_t size) {
    void *p = malloc(size);
    test_tell(p);
    free(p);
    return HIDE(p);
}

static void realloc_freed(void) { CHECK(!realloc(freed(100), 5000)); }
static void realloc_layout_freed(void) { CHECK(!hak_realloc_layout(freed(100), 100, 16, 5000)); }
static void usable_size_freed(void) { CHECK_EQ(malloc_usable_size(freed(100)), 0); }

TEST(by_realloc) { check_mistake(realloc_freed, "realloc", TWICE, AT_ONCE); }
TEST(by_hak_realloc_layout) {
    check_mistake(realloc_layout_freed, "hak_realloc_layout", TWICE, AT_ONCE);
}
TEST(by_malloc_usable_size) {
    check_mistake(usable_size_freed, "malloc_usable_size", TWICE, AT_ONCE);
}
