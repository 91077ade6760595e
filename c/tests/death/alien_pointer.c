/* alien_pointer.c - a pointer to memory that hakmem did not allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// flags: -Wno-free-nonheap-object
#include "death.h"

#include <malloc.h>

static char global[64] __attribute__((aligned(16)));

static void free_alien(void *p) {
    test_tell(p);
    free(HIDE(p));
}

static void free_stack(void) {
    char local[64] __attribute__((aligned(16)));
    free_alien(HIDE(&local[0]));
}

static void free_global(void) { free_alien(global); }
static void free_mapped(void) { free_alien(test_map(65536)); }
static void free_code(void) { free_alien((void *)(uintptr_t)free_code); }
static void free_low(void) { free_alien((void *)16); }
static void free_kernel_half(void) { free_alien((void *)0xffff800000000000u); }
static void free_no_address(void) { free_alien((void *)0x123456789abcdef0u); }

TEST(on_the_stack) { check_mistake(free_stack, "free", NOT_OURS, AT_ONCE); }
TEST(to_a_global) { check_mistake(free_global, "free", NOT_OURS, AT_ONCE); }
TEST(to_a_mapping_of_the_program) { check_mistake(free_mapped, "free", NOT_OURS, AT_ONCE); }
TEST(to_code) { check_mistake(free_code, "free", NOT_OURS, AT_ONCE); }
TEST(to_the_first_page) { check_mistake(free_low, "free", NOT_OURS, AT_ONCE); }
TEST(to_the_kernel_half) { check_mistake(free_kernel_half, "free", NOT_OURS, AT_ONCE); }
TEST(to_no_canonical_address) { check_mistake(free_no_address, "free", NOT_OURS, AT_ONCE); }

static void realloc_alien(void) {
    void *p = test_map(65536);
    test_tell(p);
    CHECK(!realloc(HIDE(p), 100));
}

static void usable_size_alien(void) {
    test_tell(global);
    CHECK_EQ(malloc_usable_size(HIDE(&global[0])), 0);
}

static void hak_free_alien(void) {
    test_tell(global);
    hak_free(HIDE(&global[0]));
}

static void hak_usable_size_alien(void) {
    test_tell(global);
    CHECK_EQ(hak_usable_size(HIDE(&global[0])), 0);
}

static void hak_realloc_alien(void) {
    test_tell(global);
    CHECK(!hak_realloc(HIDE(&global[0]), 100));
}

static void free_sized_alien(void) {
    test_tell(global);
    hak_free_sized(HIDE(&global[0]), 64);
}

static void dealloc_alien(void) {
    test_tell(global);
    hak_dealloc(HIDE(&global[0]), 64, 16);
}

TEST(given_to_realloc) { check_mistake(realloc_alien, "realloc", NOT_OURS, AT_ONCE); }
TEST(given_to_malloc_usable_size) {
    check_mistake(usable_size_alien, "malloc_usable_size", NOT_OURS, AT_ONCE);
}
TEST(given_to_hak_free) { check_mistake(hak_free_alien, "free", NOT_OURS, AT_ONCE); }
TEST(given_to_hak_usable_size) {
    check_mistake(hak_usable_size_alien, "malloc_usable_size", NOT_OURS, AT_ONCE);
}
TEST(given_to_hak_realloc) { check_mistake(hak_realloc_alien, "realloc", NOT_OURS, AT_ONCE); }
TEST(given_to_hak_free_sized) { check_mistake(free_sized_alien, "free_sized", NOT_OURS, AT_FLUSH); }
TEST(given_to_hak_dealloc) { check_mistake(dealloc_alien, "hak_dealloc", NOT_OURS, AT_FLUSH); }
