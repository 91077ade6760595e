/* private_counters.c - threads that count their bytes and use private heaps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -Wno-use-after-free
#include <stdbool.h>

#include "counters.h"

#define MIB ((size_t)1 << 20)

static const size_t sizes[] = {0,    1,     9,      100,    128,    129,    1000,    1025,
                               5000, 33000, 140000, 262144, 262145, 500000, 3 * MIB, 5 * MIB};

static struct hak_heap *new_heap(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    if (heap == NULL)
        test_leave();
    return heap;
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

enum { WAYS = 4 };

static void *allocate(struct hak_heap *heap, unsigned way, size_t size) {
    switch (way) {
    case 0:
        return hak_heap_malloc(heap, size);
    case 1:
        return hak_heap_calloc(heap, 1, size);
    case 2:
        return hak_heap_aligned_alloc(heap, 64, size);
    default:
        return hak_heap_realloc(heap, NULL, size);
    }
}

static void release(struct hak_heap *heap, unsigned way, void *block, size_t size) {
    switch (way) {
    case 0:
        hak_free_sized(block, size);
        return;
    case 1:
        free(block);
        return;
    case 2:
        hak_free_aligned_sized(block, 64, size);
        return;
    default:
        CHECK(hak_heap_realloc(heap, block, 0) == NULL);
    }
}

/* Repeated, so that blocks come from new slabs, cells and slabs. */
static void *count_each_function(void *heap) {
    hak_thread_count_start();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned way = 0; way < WAYS; way++) {
            for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
                AT("round way size", round, way, sizes[i]);
                struct hak_thread_counters before = counters();
                void *block = HIDE(allocate(heap, way, sizes[i]));
                REQUIRE(block != NULL);
                CHECK(hak_heap_of(block) == heap);
                size_t bytes = hak_usable_size(block);
                CHECK_COUNTED(before, bytes, 0, 1, 0);
                release(heap, way, block, sizes[i]);
                CHECK_COUNTED(before, bytes, bytes, 1, 1);
            }
        }
    }
    hak_thread_count_stop();
    return NULL;
}

TEST(each_function_of_a_private_heap_counts_the_usable_bytes) {
    struct hak_heap *heap = new_heap();
    count_each_function(heap); /* the owner of the heap */
    pthread_join(test_thread(count_each_function, heap), NULL);
    hak_heap_destroy(heap);
}

TEST(a_private_block_counts_after_the_heap_served_threads_that_do_not_count) {
    struct hak_heap *heap = new_heap();
    void *blocks[100];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_heap_malloc(heap, 100);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK(hak_heap_malloc(heap, 100) != NULL);
    CHECK_COUNTED(before, 100 * 112, 0, 100, 0);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        free(blocks[i]);
    CHECK_COUNTED(before, 100 * 112, 100 * 112, 100, 100);
    hak_thread_count_stop();
    hak_heap_destroy(heap);
}

TEST(an_allocation_beyond_the_limit_of_its_heap_counts_nothing) {
    struct hak_heap_options options = {.limit = 1000};
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    REQUIRE(heap != NULL);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    CHECK(hak_heap_malloc(heap, 2000) == NULL);
    CHECK(hak_heap_calloc(heap, 1, MIB) == NULL);
    hak_heap_set_default(heap);
    CHECK(HIDE(malloc(2000)) == NULL);
    CHECK(HIDE(calloc(1, 2000)) == NULL);
    hak_heap_set_default(NULL);
    CHECK_COUNTED(before, 0, 0, 0, 0);
    hak_thread_count_stop();
    hak_heap_destroy(heap);
}

/* ---- Resizing -------------------------------------------------------------------------------- */

/* Resizes a block of `from` so that it is in `to`, and checks the counts. */
static void count_resize(struct hak_heap *from, struct hak_heap *to, size_t size, size_t new_size) {
    AT("from to", size, new_size);
    void *block = HIDE(hak_heap_malloc(from, size));
    REQUIRE(block != NULL);
    size_t old_bytes = hak_usable_size(block);

    struct hak_thread_counters before = counters();
    block = HIDE(hak_heap_realloc(to, block, new_size));
    REQUIRE(block != NULL);
    CHECK(hak_heap_of(block) == to);
    size_t bytes = hak_usable_size(block);
    struct hak_thread_counters counted = since(before);
    if (counted.blocks_allocated == 0 && from == to) {
        CHECK_EQ(counted.bytes_allocated, bytes > old_bytes ? bytes - old_bytes : 0);
        CHECK_EQ(counted.bytes_freed, bytes < old_bytes ? old_bytes - bytes : 0);
        CHECK_EQ(counted.blocks_freed, 0);
    } else {
        CHECK_COUNTED(before, bytes, old_bytes, 1, 1);
    }
    free(block);
}

TEST(a_reallocation_counts_the_difference_in_place_and_two_blocks_as_it_moves) {
    struct hak_heap *heap = new_heap(), *other = new_heap();
    struct hak_heap *const ways[][2] = {{heap, heap}, {heap, other}, {NULL, heap}, {heap, NULL}};
    hak_thread_count_start();
    for (size_t way = 0; way < TEST_COUNT(ways); way++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            for (size_t k = 0; k < TEST_COUNT(sizes); k++)
                count_resize(ways[way][0], ways[way][1], sizes[i], sizes[k] + 1);
        }
    }
    hak_thread_count_stop();
    hak_heap_destroy(heap);
    hak_heap_destroy(other);
}

TEST(a_private_block_that_grows_in_place_counts_its_growth) {
    struct hak_heap *heap = new_heap();
    void *block = HIDE(hak_heap_malloc(heap, 6 * MIB));
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    size_t old_bytes = hak_usable_size(block);
    block = HIDE(realloc(block, 6 * MIB + 1)); /* a mapping grows without a second block */
    CHECK_COUNTED(before, hak_usable_size(block) - old_bytes, 0, 0, 0);
    hak_thread_count_stop();
    hak_heap_destroy(heap);
}

/* ---- The end of a heap ----------------------------------------------------------------------- */

TEST(destroy_counts_no_frees) {
    struct hak_heap *heap = new_heap();
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    uint64_t bytes = 0;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        bytes += hak_usable_size(HIDE(hak_heap_malloc(heap, sizes[i])));
    hak_heap_destroy(heap);
    CHECK_COUNTED(before, bytes, 0, TEST_COUNT(sizes), 0);
    hak_thread_count_stop();
}

TEST(merge_counts_nothing_and_the_later_frees_count) {
    struct hak_heap *heap = new_heap();
    void *blocks[TEST_COUNT(sizes)];
    uint64_t bytes = 0;
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        blocks[i] = HIDE(hak_heap_malloc(heap, sizes[i]));
        bytes += hak_usable_size(blocks[i]);
    }
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    hak_heap_merge(heap);
    CHECK_COUNTED(before, 0, 0, 0, 0);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++)
        free(blocks[i]);
    CHECK_COUNTED(before, 0, bytes, 0, TEST_COUNT(sizes));
    hak_thread_count_stop();
    CHECK_EQ(hak_validate(), 0);
}

/* ---- The default heap ------------------------------------------------------------------------ */

/* Checks that a malloc and a calloc count or not, and that they come from a heap. */
static void check_next(struct hak_heap *heap, bool counts) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (int zeroed = 0; zeroed < 2; zeroed++) {
            AT("size zeroed", sizes[i], zeroed);
            struct hak_thread_counters before = counters();
            void *block = HIDE(zeroed ? calloc(1, sizes[i]) : malloc(sizes[i]));
            REQUIRE(block != NULL);
            CHECK(hak_heap_of(block) == heap);
            size_t bytes = hak_usable_size(block);
            free(block);
            if (counts)
                CHECK_COUNTED(before, bytes, bytes, 1, 1);
            else
                CHECK_COUNTED(before, 0, 0, 0, 0);
        }
    }
}

static void *leave_in_both_orders(void *arg) {
    struct hak_heap *heap = arg;
    hak_thread_count_start();
    hak_heap_set_default(heap);
    check_next(heap, true);
    CHECK(hak_heap_set_default(NULL) == heap);
    check_next(NULL, true);
    hak_heap_set_default(heap);
    check_next(heap, true);
    hak_thread_count_stop();
    check_next(heap, false);
    hak_heap_set_default(NULL);
    check_next(NULL, false);
    return NULL;
}

TEST(the_default_heap_and_the_counting_end_independently_in_both_orders) {
    struct hak_heap *heap = new_heap();
    leave_in_both_orders(heap);
    pthread_join(test_thread(leave_in_both_orders, heap), NULL);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

TEST(the_end_of_the_default_heap_does_not_end_the_counting) {
    hak_thread_count_start();
    for (int merges = 0; merges < 2; merges++) {
        struct hak_heap *heap = new_heap();
        hak_heap_set_default(heap);
        check_next(heap, true);
        if (merges)
            hak_heap_merge(heap);
        else
            hak_heap_destroy(heap);
        check_next(NULL, true);
    }
    hak_thread_count_stop();
    check_next(NULL, false);
}

static void *destroy(void *heap) {
    hak_heap_destroy(heap);
    return NULL;
}

TEST(a_default_heap_that_another_thread_ended_leaves_the_counting) {
    struct hak_heap *heap = new_heap();
    hak_thread_count_start();
    hak_heap_set_default(heap);
    check_next(heap, true);
    pthread_join(test_thread(destroy, heap), NULL);
    check_next(NULL, true);
    hak_thread_count_stop();
    check_next(NULL, false);
}

static void *trim_and_profile(void *stop) {
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
        hak_trim();
        hak_profile_start(NULL, 0);
        hak_guard_start(1000, 0);
        hak_trim();
        hak_profile_stop();
        hak_guard_stop();
    }
    return NULL;
}

TEST(another_thread_that_trims_profiles_and_guards_ends_neither) {
    struct hak_heap *heap = new_heap();
    int stop = 0;
    hak_thread_count_start();
    hak_heap_set_default(heap);
    pthread_t thread = test_thread(trim_and_profile, &stop);
    for (int round = 0; round < 50; round++)
        check_next(heap, true);
    hak_thread_count_stop();
    for (int round = 0; round < 50; round++)
        check_next(heap, false);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    check_next(heap, false);
    hak_heap_set_default(NULL);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

/* ---- Threads and forks ----------------------------------------------------------------------- */

static void *free_and_count(void *block) {
    size_t bytes = hak_usable_size(block);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    free(block);
    CHECK_COUNTED(before, 0, bytes, 0, 1);
    return NULL;
}

TEST(a_private_block_counts_as_freed_in_the_thread_that_frees_it) {
    struct hak_heap *heap = new_heap();
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("size", sizes[i]);
        pthread_join(test_thread(free_and_count, hak_heap_malloc(heap, sizes[i])), NULL);
    }
    hak_heap_destroy(heap);
}

static void *end_with_both(void *heap) {
    hak_thread_count_start();
    hak_heap_set_default(heap);
    check_next(heap, true);
    return NULL;
}

static void *starts_with_neither(void *arg) {
    CHECK_EQ(hak_thread_counters(&(struct hak_thread_counters){0}, 0), 0);
    check_next(NULL, false);
    return arg;
}

/* It adopts the cache of the ended one. */
TEST(a_new_thread_has_neither) {
    struct hak_heap *heap = new_heap();
    pthread_join(test_thread(end_with_both, heap), NULL);
    pthread_join(test_thread(starts_with_neither, NULL), NULL);
    hak_heap_destroy(heap);
}

static void leave_in_child(void *heap) {
    check_next(heap, true);
    hak_heap_set_default(NULL);
    check_next(NULL, true);
    hak_thread_count_stop();
    check_next(NULL, false);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_forked_child_has_both_and_can_end_them) {
    struct hak_heap *heap = new_heap();
    hak_thread_count_start();
    hak_heap_set_default(heap);
    check_next(heap, true);
    struct test_child child = test_in_child(leave_in_child, heap);
    CHECK_EXITED(child);
    hak_heap_set_default(NULL);
    hak_thread_count_stop();
    hak_heap_destroy(heap);
}
