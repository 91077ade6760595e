/* unit/validate.c - each invariant that a test violates is reported.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "debug/validate.h"

#include "core/pagemap.h"
#include "fresh.h"
#include "thread/bins.h"
#include "thread/thread.h"

enum { CLASS = HK_CLASS_64 };

static void *blocks[9000];

/* Some slabs of one class (exhausted, partly free, empty), and a large block. */
static struct hk_heap_class *make_state(void) {
    struct hk_thread *thread = hk_thread_get();
    REQUIRE(thread != NULL);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(64);
    for (size_t i = 0; i < TEST_COUNT(blocks); i += 3)
        hak_free(blocks[i]);
    hk_bins_empty(thread);
    CHECK(hak_malloc(1000000) != NULL);
    CHECK_EQ(hk_validate(), 0);
    return &thread->heap->classes[CLASS];
}

/* A slab of the list with both free and allocated blocks. */
static struct hk_span *some_slab(const struct hk_heap_class *hc) {
    struct hk_span *slab = hc->first;
    while (slab != NULL && (hk_slab_is_empty(slab) || slab->free == 0 || slab->bits[0] == 0))
        slab = slab->next;
    REQUIRE(slab != NULL);
    return slab;
}

static void check_fault(const char *words) {
    CHECK_EQ(hak_validate(), 1);
    const char *line = fake_os_take_errors();
    char expected[200];
    snprintf(expected, sizeof expected, "hakmem: fault: %s at 0x", words);
    CHECK_CONTAINS(line, expected);
    CHECK_EQ(line[strlen(line) - 1], '\n');
}

/* Changes a field during one validation. */
#define CHECK_FAULT_WITH(field, value, words)                                                      \
    do {                                                                                           \
        __typeof__(field) before = (field);                                                        \
        (field) = (value);                                                                         \
        check_fault(words);                                                                        \
        (field) = before;                                                                          \
        CHECK_EQ(hak_validate(), 0);                                                               \
    } while (0)

TEST_FRESH(a_sound_heap_has_no_faults) {
    CHECK_EQ(hak_validate(), 0);
    make_state();
    CHECK_EQ(hak_validate(), 0);
    hak_trim();
    CHECK_EQ(hak_validate(), 0);
}

TEST_FRESH(bits_that_differ_from_the_counts_of_a_slab_are_reported) {
    struct hk_span *slab = some_slab(make_state());
    const char *words = "bits of a slab differ from its counts";
    CHECK_FAULT_WITH(slab->free, (uint16_t)(slab->free + 1), words);
    CHECK_FAULT_WITH(slab->bits[0], slab->bits[0] & (slab->bits[0] - 1), words);
    CHECK_FAULT_WITH(slab->low, (uint16_t)1, words);
    CHECK_FAULT_WITH(slab->bump, (uint16_t)(slab->blocks + 1), words);
}

TEST_FRESH(wrong_counts_of_a_class_are_reported) {
    struct hk_heap_class *hc = make_state();
    CHECK_FAULT_WITH(hc->blocks_allocated, hc->blocks_allocated + 1, "wrong count of blocks");
    CHECK_FAULT_WITH(hc->slabs, hc->slabs + 1, "wrong count of blocks");
    CHECK_FAULT_WITH(hc->slabs, 0, "wrong count of slabs");
    CHECK_FAULT_WITH(hc->listed, hc->listed + 1, "wrong count of slabs");
    CHECK_FAULT_WITH(hc->empty, hc->empty + 1, "wrong count of slabs");
}

TEST_FRESH(a_broken_list_of_slabs_is_reported) {
    struct hk_heap_class *hc = make_state();
    CHECK_FAULT_WITH(hc->first->prev, hc->first, "broken list of slabs");
    CHECK_FAULT_WITH(hc->last, (struct hk_span *)NULL, "wrong end of the list of slabs");
    CHECK_FAULT_WITH(hc->first->class, (uint8_t)HK_CLASS_128, "slab in a foreign list");
}

TEST_FRESH(an_exhausted_slab_in_the_list_is_reported) {
    struct hk_heap_class *hc = make_state();
    struct hk_span exhausted = {.class = CLASS, .owner = hk_thread_get()->heap};
    CHECK(hk_slab_is_exhausted(&exhausted));
    exhausted.prev = hc->last;
    struct hk_span *last = hc->last;
    last->next = &exhausted;
    hc->last = &exhausted;
    check_fault("exhausted slab in the list");
    last->next = NULL;
    hc->last = last;
    CHECK_EQ(hak_validate(), 0);
}

TEST_FRESH(a_chunk_whose_bits_contradict_each_other_is_reported) {
    make_state();
    struct hk_chunk *chunk = hk_thread_get()->heap->arena.chunks;
    const char *words = "bits of a chunk contradict each other";
    CHECK_FAULT_WITH(chunk->committed[0], 0, words);
    CHECK_FAULT_WITH(chunk->longest, chunk->longest + 1, words);
}

TEST_FRESH(granules_of_another_heap_are_reported) {
    make_state();
    struct hk_span *large = hk_pagemap_find(hak_malloc(1000000));
    CHECK_FAULT_WITH(large->owner, (void *)blocks, "granules in use without their span");
}

TEST_FRESH(a_cached_block_that_is_in_its_slab_too_is_reported) {
    make_state();
    void *freed = hak_malloc(64);
    hak_free(freed);
    void **newest = &hk_thread_get()->cache.bins[CLASS].top[-1];
    REQUIRE(*newest == freed);
    struct hk_span *slab = hk_pagemap_find(freed);
    hk_slab_give(slab, (uint32_t)(((uintptr_t)freed - slab->base) / 64));
    CHECK(hak_validate() > 0);
    CHECK_CONTAINS(fake_os_take_errors(), "cached block that is no block");
}

TEST_FRESH(a_cached_pointer_that_is_no_block_is_reported) {
    make_state();
    hak_free(hak_malloc(64));
    void **newest = &hk_thread_get()->cache.bins[CLASS].top[-1];
    void *good = *newest;
    static char alien[64];
    CHECK_FAULT_WITH(*newest, (void *)alien, "cached block that is no block");
    CHECK_FAULT_WITH(*newest, (void *)((char *)good + 8), "cached block that is no block");
}
