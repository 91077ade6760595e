/* guard/guard.h - guarded blocks in tests.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef TEST_GUARD_H
#define TEST_GUARD_H

#include <hakmem.h>

#include "../test.h"

/* Not the size of a class, so that the usable size shows whether a block is guarded. */
enum { SIZE = 100, SLOTS = 128 };

static TEST_UNUSED size_t page(void) { return (size_t)sysconf(_SC_PAGESIZE); }

static TEST_UNUSED struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

/* Guards every allocation, as long as there are slots. */
static TEST_UNUSED void guard_all(void) { CHECK_EQ(hak_guard_start(1, SLOTS), 0); }

static TEST_UNUSED int is_guarded(const void *block, size_t size) {
    return hak_usable_size(block) == size;
}

/* A guarded block that ends, or begins, with its pages. */
enum place { AT_END, AT_START };
static TEST_UNUSED char *guarded_at(enum place place, size_t size) {
    for (int i = 0; i < 1000; i++) {
        char *block = (char *)hak_alloc(size, 1);
        REQUIRE(block != TEST_NULL);
        REQUIRE(is_guarded(block, size));
        uintptr_t edge = (uintptr_t)block + (place == AT_END ? size : 0);
        if (edge % page() == 0)
            return (char *)HIDE(block);
        hak_free(block);
    }
    REQUIRE(!"both places occur");
    return TEST_NULL;
}

/* Sites of allocations and of frees, with exported names. */
__attribute__((noinline)) void *site_of_malloc(size_t size);
TEST_UNUSED __attribute__((noinline)) void *site_of_malloc(size_t size) {
    void *block = hak_malloc(size);
    CHECK(block != TEST_NULL);
    return HIDE(block);
}

__attribute__((noinline)) void site_of_free(void *block);
TEST_UNUSED __attribute__((noinline)) void site_of_free(void *block) {
    hak_free(block);
    __asm__ volatile("" : : : "memory");
}

#endif
