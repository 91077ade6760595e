/* heaps.c - mistakes with private heaps and their blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -Wno-use-after-free -Wno-free-nonheap-object
#include "death.h"

#define NO_HEAP "not a heap, or already destroyed or merged"

static size_t size_now;
static const size_t sizes[] = {1, 40, 300, 3000, 40000, 200000};

static void *block_of_a_heap(size_t size) {
    void *block = hak_heap_malloc(hak_heap_new(NULL, 0), size);
    test_tell(block);
    return block;
}

static void twice(void) {
    void *block = block_of_a_heap(size_now);
    free(block);
    free(HIDE(block));
}

/* The neighbours are in the cell of the owner and in use. */
static void twice_with_others_between(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *blocks[10];
    for (int i = 0; i < 10; i++)
        blocks[i] = hak_heap_malloc(heap, size_now);
    test_tell(blocks[5]);
    for (int i = 2; i < 8; i++)
        free(blocks[i]);
    free(HIDE(blocks[5]));
}

static void never_allocated(void) {
    char *block = hak_heap_malloc(hak_heap_new(NULL, 0), size_now);
    char *next = block + hak_usable_size(block); /* still in the cell */
    test_tell(next);
    free(HIDE(next));
}

static void inside(void) {
    char *block = (char *)block_of_a_heap(size_now) + 1;
    test_tell(block);
    free(HIDE(block));
}

static void sized_twice(void) {
    void *block = block_of_a_heap(size_now);
    hak_free_sized(block, size_now);
    hak_free_sized(HIDE(block), size_now);
}

TEST(a_second_free_at_every_size) {
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        size_now = sizes[i];
        AT("size", size_now);
        check_mistake(twice, "free", TWICE, AT_ONCE);
        check_mistake(twice_with_others_between, "free", TWICE, AT_ONCE);
        check_mistake(sized_twice, "free_sized", TWICE, AT_ONCE);
        check_mistake(inside, "free", INSIDE, AT_ONCE);
        if (size_now <= 300)
            check_mistake(never_allocated, "free", TWICE, AT_ONCE);
    }
}

static void large_twice(void) {
    void *block = block_of_a_heap(1 << 20);
    free(block);
    free(HIDE(block));
}

static void large_inside(void) {
    char *block = (char *)block_of_a_heap(1 << 20) + 16;
    test_tell(block);
    free(HIDE(block));
}

TEST(mistakes_with_large_blocks) {
    check_mistake(large_twice, "free", NOT_OURS, AT_ONCE);
    check_mistake(large_inside, "free", INSIDE, AT_ONCE);
}

static void *free_it(void *block) {
    free(block);
    return NULL;
}

static void twice_from_two_threads(void) {
    void *block = block_of_a_heap(100);
    pthread_join(test_thread(free_it, block), NULL);
    free(HIDE(block));
}

static void *block_of_a_thread(void *heap) { return hak_heap_malloc(heap, 100); }

/* The block is in the part of a thread that does not own the heap. */
static void twice_from_two_other_threads(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block;
    free(hak_heap_malloc(heap, 100));
    pthread_join(test_thread(block_of_a_thread, heap), &block);
    test_tell(block);
    pthread_join(test_thread(free_it, block), NULL);
    free(HIDE(block));
}

static void realloc_after_free(void) {
    void *block = block_of_a_heap(1 << 20);
    free(block);
    free(realloc(HIDE(block), 5000));
}

static void heap_realloc_of_a_freed_block(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 1 << 20);
    test_tell(block);
    free(block);
    errno = 0;
    CHECK(hak_heap_realloc(heap, HIDE(block), 5000) == NULL);
    CHECK_EQ(errno, EINVAL);
}

static void wrong_size(void) {
    void *block = block_of_a_heap(100);
    hak_free_sized(block, 200);
}

TEST(other_mistakes_with_a_block) {
    check_mistake(twice_from_two_threads, "free", TWICE, AT_ONCE);
    check_mistake(twice_from_two_other_threads, "free", TWICE, AT_ONCE);
    check_mistake(realloc_after_free, "realloc", NOT_OURS, AT_ONCE);
    check_mistake(heap_realloc_of_a_freed_block, "hak_heap_realloc", NOT_OURS, AT_ONCE);
    check_mistake(wrong_size, "free_sized", OTHER_LAYOUT, AT_ONCE);
}

/* The memory of the heap is free but not reused. */
static void free_after_destroy(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 100);
    test_tell(block);
    hak_heap_destroy(heap);
    free(HIDE(block));
}

TEST(a_free_after_the_heap_was_destroyed) {
    check_mistake(free_after_destroy, "free", NOT_OURS, AT_ONCE);
}

static struct hak_heap *ended_heap(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    test_tell(heap);
    hak_heap_destroy(heap);
    return HIDE(heap);
}

static int never(void *arg, void *block, size_t bytes) {
    (void)arg, (void)block, (void)bytes;
    return 0;
}

static void default_as(struct hak_heap *heap) { CHECK(hak_heap_set_default(heap) == NULL); }
static void visit(struct hak_heap *heap) { CHECK_EQ(hak_heap_visit(heap, never, NULL), EINVAL); }
static void stats_of(struct hak_heap *heap) {
    struct hak_heap_stats stats;
    hak_heap_stats(heap, &stats, sizeof stats);
    CHECK_EQ(stats.id, 0);
}
static void allocate(struct hak_heap *heap) {
    CHECK(hak_heap_malloc(heap, size_now) == NULL);
    CHECK_EQ(errno, EINVAL);
}

static const struct use {
    const char *function;
    void (*make)(struct hak_heap *heap);
} uses[] = {{"hak_heap_destroy", hak_heap_destroy},
            {"hak_heap_merge", hak_heap_merge},
            {"hak_heap_set_default", default_as},
            {"hak_heap_stats", stats_of},
            {"hak_heap_visit", visit},
            {"hak_heap_malloc", allocate}};
static const struct use *use_now;
static char *pointer_now;

static void use_ended_heap(void) { use_now->make(ended_heap()); }

TEST(a_use_of_a_heap_that_has_ended) {
    for (size_t i = 0; i < TEST_COUNT(uses); i++) {
        use_now = &uses[i];
        size_now = 10;
        AT("use", i);
        check_mistake(use_ended_heap, use_now->function, NO_HEAP, AT_ONCE);
    }
    size_now = 1 << 20; /* the last use is an allocation */
    check_mistake(use_ended_heap, "hak_heap_malloc", NO_HEAP, AT_ONCE);
}

static void use_what_is_not_a_heap(void) {
    struct hak_heap *heap = (struct hak_heap *)(void *)HIDE(pointer_now);
    test_tell(heap);
    use_now->make(heap);
}

TEST(a_use_of_what_was_never_a_heap) {
    static char in_static_memory[8192];
    char *small = malloc(16), *large = malloc(1 << 20);
    memset(large, 1, 1 << 20);
    char *const pointers[] = {in_static_memory, small, small + 1, large, large + 4096};
    for (size_t i = 0; i < TEST_COUNT(pointers) * TEST_COUNT(uses); i++) {
        pointer_now = pointers[i / TEST_COUNT(uses)];
        use_now = &uses[i % TEST_COUNT(uses)];
        size_now = sizes[i % TEST_COUNT(sizes)];
        AT("pointer use", i / TEST_COUNT(uses), i % TEST_COUNT(uses));
        check_mistake(use_what_is_not_a_heap, use_now->function, NO_HEAP, AT_ONCE);
    }
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) { /* the last use is an allocation */
        size_now = sizes[i];
        AT("size", size_now);
        check_mistake(use_what_is_not_a_heap, "hak_heap_malloc", NO_HEAP, AT_ONCE);
    }
    free(small);
    free(large);
}

static void twice_after_merge(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 300);
    test_tell(block);
    hak_heap_merge(heap);
    free(block);
    free(HIDE(block));
}

TEST(a_second_free_after_a_merge) { check_mistake(twice_after_merge, "free", TWICE, AT_ONCE); }
