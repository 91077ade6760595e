/* unit/own_failures.c - private heaps that ended meanwhile, and without memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include <hakmem.h>

#include "core/meta.h"
#include "core/usage.h"
#include "debug/validate.h"
#include "fresh.h"
#include "own/own.h"
#include "own/slabs.h"

static size_t class_of(size_t size) {
    for (size_t class = 0; class < HK_OWN_CLASSES; class ++) {
        if (hk_own_classes[class].block_bytes >= size)
            return class;
    }
    REQUIRE(!"the size has a class");
    return 0;
}

/* Takes all free metadata. The OS maps no more from then on. */
static void exhaust_metadata(void) {
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t bytes = 1 << 20; bytes >= 64; bytes /= 2) {
        while (hk_meta_alloc(bytes) != NULL)
            ;
    }
}

/* ---- Heaps that ended ------------------------------------------------------------------------ */

TEST_FRESH(a_heap_that_ended_meanwhile_gives_no_block_and_keeps_no_slab) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    struct hk_own_ref ref = {heap, hk_own_id(heap)};
    struct hk_own_failure failure;
    hak_heap_destroy(heap);
    CHECK(hak_heap_new(NULL, 0) == heap); /* the record of another heap now */
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    uint64_t slab_bytes = heap->main.slab_bytes;
    hak_trim();
    uint64_t usage = hk_usage_bytes();

    CHECK(hk_own_take_once(&ref, class_of(100), &failure).start == NULL);
    CHECK_EQ(failure.fault, HK_OWN_GONE);
    CHECK(hk_own_take_large(&ref, 1 << 20, 16, &failure).start == NULL);
    CHECK_EQ(failure.fault, HK_OWN_GONE);

    CHECK(!hk_own_grow(&ref, &heap->main, class_of(100)));
    CHECK_EQ(heap->main.slab_bytes, slab_bytes);
    CHECK_EQ(hak_validate(), 0);
    hak_trim();
    CHECK_EQ(hk_usage_bytes(), usage);
}

TEST_FRESH(a_repair_puts_each_record_of_an_ended_heap_into_the_queue) {
    enum { HEAPS = 5 };
    struct hak_heap *heaps[HEAPS];
    for (int i = 0; i < HEAPS; i++)
        heaps[i] = hak_heap_new(NULL, 0);
    hak_heap_destroy(heaps[1]);
    hak_heap_destroy(heaps[3]);
    hk_own_repair_queue(NULL);

    for (int i = 0; i < 2; i++) {
        struct hak_heap *again = hak_heap_new(NULL, 0);
        CHECK(again == heaps[1] || again == heaps[3]);
    }
    struct hak_heap *fresh = hak_heap_new(NULL, 0);
    for (int i = 0; i < HEAPS; i++)
        CHECK(fresh != heaps[i]);
}

/* ---- Exhausted memory ------------------------------------------------------------------------ */

static void *take_without_memory(void *heap) {
    struct hk_own_failure failure;
    struct hk_own_ref ref = {heap, hk_own_id(heap)};
    hak_free(hak_malloc(100)); /* a cache of the thread */
    exhaust_metadata();

    CHECK(hk_own_take(heap, class_of(100), &failure).start == NULL);
    CHECK_EQ(failure.fault, HK_OWN_NO_MEMORY);
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++)
        CHECK(hk_own_part_at(heap, i) == NULL);
    CHECK(hk_own_take_once(&ref, class_of(3000), &failure).start == NULL);
    CHECK_EQ(failure.fault, HK_OWN_NO_MEMORY);
    CHECK(hk_own_take_large(&ref, 1 << 20, 16, &failure).start == NULL);
    CHECK_EQ(failure.fault, HK_OWN_NO_MEMORY);
    return NULL;
}

TEST_FRESH(a_thread_that_does_not_own_the_heap_gets_no_block_without_memory_for_a_cache) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 100); /* this thread is the owner */
    CHECK(block != NULL);
    pthread_join(test_thread(take_without_memory, heap), NULL);
    CHECK_EQ(hak_validate(), 0);

    fake_os_fail_maps(0, 0);
    hak_free(block);
    CHECK(hak_heap_malloc(heap, 3000) != NULL);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

static int count_block(void *count, void *block, size_t bytes) {
    CHECK(block != NULL && bytes >= 100);
    ++*(size_t *)count;
    return 1;
}

TEST_FRESH(a_visit_without_memory_says_so_and_visits_nothing) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    for (int i = 0; i < 100; i++)
        CHECK(hak_heap_malloc(heap, 100) != NULL);

    size_t count = 0;
    exhaust_metadata();
    CHECK_EQ(hk_own_visit(heap, count_block, &count), ENOMEM);
    CHECK_EQ(count, 0);
    fake_os_fail_maps(0, 0);
    CHECK_EQ(hk_own_visit(heap, count_block, &count), 0);
    CHECK_EQ(count, 100);
}

/* Each span takes a place in a page of the visit. */
TEST_FRESH(a_visit_reaches_the_blocks_of_more_spans_than_a_page_holds) {
    enum { LARGE = 700 };
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    for (int i = 0; i < LARGE; i++)
        CHECK(hak_heap_malloc(heap, 300 << 10) != NULL);
    size_t count = 0;
    CHECK_EQ(hk_own_visit(heap, count_block, &count), 0);
    CHECK_EQ(count, LARGE);
    hak_heap_destroy(heap);
}

/* ---- Broken invariants ----------------------------------------------------------------------- */

/* A heap with two large blocks, and with slabs of one class. The first slab has free blocks. */
static struct hak_heap *heap_with_slabs(size_t size) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *first = hak_heap_malloc(heap, size);
    for (int i = 0; i < 300; i++)
        CHECK(hak_heap_malloc(heap, size) != NULL);
    hak_free(first);
    CHECK(!hk_slab_is_exhausted(heap->main.slabs[class_of(size)]));
    for (int i = 0; i < 2; i++)
        CHECK(hak_heap_malloc(heap, 1 << 20) != NULL);
    CHECK(hk_own_validate(heap) == NULL);
    return heap;
}

TEST_FRESH(a_broken_list_of_a_heap_is_found) {
    struct hak_heap *heap = heap_with_slabs(3000);
    struct hk_span **first = &heap->main.slabs[class_of(3000)], *slab = *first;
    struct hk_span *prev = slab->prev;
    slab->prev = slab;
    CHECK_STR(hk_own_validate(heap), "broken ring of slabs of a private heap");
    slab->prev = prev;

    *first = slab->next; /* an exhausted slab */
    CHECK(hk_slab_is_exhausted(*first));
    CHECK_STR(hk_own_validate(heap), "exhausted slab before others in a private heap");
    *first = slab;

    CHECK(heap->large->next->prev == heap->large);
    heap->large->next->prev = NULL;
    CHECK_STR(hk_own_validate(heap), "broken list of the large blocks of a private heap");
    heap->large->next->prev = heap->large;
    CHECK(hk_own_validate(heap) == NULL);
}

TEST_FRESH(a_slab_of_another_heap_or_class_is_found) {
    struct hak_heap *heap = heap_with_slabs(3000), *other = heap_with_slabs(3000);
    struct hk_span **first = &heap->main.slabs[class_of(3000)], *slab = *first;
    *first = other->main.slabs[class_of(3000)];
    CHECK_STR(hk_own_validate(heap), "foreign slab in a private heap");
    *first = slab;
    CHECK(hk_own_validate(heap) == NULL);

    first = &heap->main.slabs[class_of(300)];
    *first = slab;
    CHECK_STR(hk_own_validate(heap), "foreign slab in a private heap");
    *first = NULL;
    CHECK(hk_own_validate(heap) == NULL);
}
