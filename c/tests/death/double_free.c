/* double_free.c - a block is freed twice.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -Wno-use-after-free
#include "death.h"

static void twice(size_t size) {
    void *p = malloc(size);
    test_tell(p);
    free(p);
    free(HIDE(p));
}

static void twice_small(void) { twice(100); }
static void twice_pool(void) { twice(40 * 1024); }
static void twice_last_class(void) { twice(256 * 1024); }
static void twice_large(void) { twice(1024 * 1024); }
static void twice_huge(void) { twice(64 * 1024 * 1024); }

TEST(of_a_small_block) { check_mistake(twice_small, "free", TWICE, AT_ONCE); }
TEST(of_a_pool_block) { check_mistake(twice_pool, "free", TWICE, AT_ONCE); }
TEST(of_a_block_of_the_last_class) { check_mistake(twice_last_class, "free", TWICE, AT_ONCE); }
TEST(of_a_large_block) { check_mistake(twice_large, "free", NOT_OURS, AT_ONCE); }

TEST(of_a_huge_block) { check_mistake(twice_huge, "free", NOT_OURS, AT_ONCE); }

/* Frees one other block in between, for each size. */
static size_t between_size;

static void twice_around_another(void) {
    void *p = malloc(between_size), *other = malloc(between_size);
    test_tell(p);
    free(p);
    free(other);
    free(HIDE(p));
}

static void dealloc_around_another(void) {
    void *p = hak_alloc(between_size, 8), *other = hak_alloc(between_size, 8);
    test_tell(p);
    hak_dealloc(p, between_size, 8);
    hak_dealloc(other, between_size, 8);
    hak_dealloc(HIDE(p), between_size, 8);
}

static const size_t between_sizes[] = {1,     8,     40,    1000,   2500,   8192,
                                       20000, 52000, 65536, 100000, 200000, 262144};

TEST(with_one_other_free_between_at_every_size) {
    for (size_t i = 0; i < TEST_COUNT(between_sizes); i++) {
        between_size = between_sizes[i];
        AT("size", between_size);
        check_mistake(twice_around_another, "free", TWICE, AT_ONCE);
    }
}

/* The other block keeps the slab. The end does not flush the bin, so the call itself reports. */
static void twice_around_trim(void *unused) {
    (void)unused;
    void *other = malloc(between_size), *p = malloc(between_size);
    free(p);
    hak_trim();
    free(HIDE(p));
    _exit(HIDE(other) == NULL);
}

TEST(with_a_trim_between) {
    for (size_t size = 1; size <= 20000; size = size * 3 + 1) {
        between_size = size;
        AT("size", between_size);
        struct test_child child = test_in_child(twice_around_trim, NULL);
        CHECK(WIFSIGNALED(child.status) && WTERMSIG(child.status) == SIGABRT);
        CHECK_CONTAINS(child.errors, TWICE);
    }
}

static void realloc_in_place(void) {
    void *p = malloc(between_size);
    test_tell(p);
    free(p);
    CHECK(!realloc(HIDE(p), between_size));
}

static void realloc_after_another(void) {
    void *p = malloc(between_size), *other = malloc(between_size);
    test_tell(p);
    free(p);
    free(other);
    CHECK(!realloc(HIDE(p), between_size));
}

TEST(by_realloc_to_the_same_size) {
    for (size_t size = 1; size <= 200000; size = size * 3 + 1) {
        between_size = size;
        AT("size", between_size);
        check_mistake(realloc_in_place, "realloc", TWICE, AT_ONCE);
        check_mistake(realloc_after_another, "realloc", TWICE, AT_ONCE);
    }
}

TEST(with_one_other_sized_free_between_at_every_size) {
    for (size_t i = 0; i < TEST_COUNT(between_sizes); i++) {
        between_size = between_sizes[i];
        AT("size", between_size);
        check_mistake(dealloc_around_another, "hak_dealloc", TWICE, AT_ONCE);
    }
}

static void twice_large_around_another(void) {
    void *p = malloc(1024 * 1024), *other = malloc(1024 * 1024);
    test_tell(p);
    free(p);
    free(other);
    free(HIDE(p));
}

TEST(of_a_large_block_with_one_other_free_between) {
    check_mistake(twice_large_around_another, "free", NOT_OURS, AT_ONCE);
}

/* Frees others in between, so that the block is not at the top of the cache. */
static void twice_with_others_between(void) {
    void *p = malloc(100), *others[5];
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        others[i] = malloc(100);
    test_tell(p);
    free(p);
    for (size_t i = 0; i < TEST_COUNT(others); i++)
        free(others[i]);
    free(HIDE(p));
}

TEST(with_other_frees_between) {
    check_mistake(twice_with_others_between, "free", TWICE, AT_FLUSH);
}

/* The first free has returned the block to its slab, where its bit is set. */
static void twice_after_flush(void) {
    enum { COUNT = 5000 };
    static void *others[COUNT];
    void *p = malloc(100);
    for (size_t i = 0; i < COUNT; i++)
        others[i] = malloc(100);
    test_tell(p);
    free(p);
    for (size_t i = 0; i < COUNT; i++)
        free(others[i]);
    hak_trim();
    /* One live block keeps the slab alive. */
    void *kept = malloc(100);
    void *again = HIDE(p) == kept ? others[0] : p;
    test_tell(again);
    free(HIDE(again));
}

TEST(after_the_first_free_went_home) {
    struct mistake mistake = {twice_after_flush, "free", TWICE, AT_FLUSH};
    struct test_child child = test_in_child(mistake_abort, &mistake);
    CHECK_ABORTED(child);
    char pointer[32];
    snprintf(pointer, sizeof pointer, "%p", child.pointer);
    CHECK_CONTAINS(child.errors, pointer);
}

static void *free_it(void *p) {
    free(p);
    return NULL;
}

static void twice_from_two_threads(void) {
    void *p = malloc(100);
    test_tell(p);
    pthread_join(test_thread(free_it, p), NULL);
    free(HIDE(p));
}

TEST(from_two_threads) { check_mistake(twice_from_two_threads, "free", TWICE, AT_FLUSH); }

static void dealloc_twice(void) {
    void *p = hak_alloc(100, 8);
    test_tell(p);
    hak_dealloc(p, 100, 8);
    hak_dealloc(HIDE(p), 100, 8);
}

TEST(by_hak_dealloc) { check_mistake(dealloc_twice, "hak_dealloc", TWICE, AT_ONCE); }

static void free_sized_twice(void) {
    void *p = hak_malloc(100);
    test_tell(p);
    hak_free_sized(p, 100);
    hak_free_sized(HIDE(p), 100);
}

TEST(by_hak_free_sized) { check_mistake(free_sized_twice, "free_sized", TWICE, AT_ONCE); }

static void realloc_freed_large(void) {
    void *p = malloc(1024 * 1024);
    test_tell(p);
    free(p);
    free(realloc(HIDE(p), 5000));
}

TEST(by_realloc_of_a_freed_large_block) {
    check_mistake(realloc_freed_large, "realloc", NOT_OURS, AT_ONCE);
}
