/* heap/slabs.c - the slabs of a class. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "slabs.h"

#include "../core/pagemap.h"

enum {
    /* Empty slabs that a class keeps, so that a program that hovers around a slab boundary does not
     * create and release a slab over and over. */
    SLABS_EMPTY_KEPT = 1,
    /* We assume that blocks above the first size and up to the second are buffers. With huge pages,
     * 1000 buffers of 64 KiB with 4 KiB in use each take 64 MB instead of 4. */
    SLABS_BUFFER_MIN = 8192,
    SLABS_BUFFER_MAX = 65536,
};

const char *const hk_slab_causes[] = {
    [HK_SLAB_NOT_A_BLOCK] = HK_CAUSE_ALIEN,
    [HK_SLAB_INSIDE_BLOCK] = HK_CAUSE_INSIDE,
    [HK_SLAB_ALREADY_FREE] = HK_CAUSE_FREE,
};

/* ---- The list -------------------------------------------------------------------------------- */

void hk_slabs_push_first(struct hk_heap_class *hc, struct hk_span *slab) {
    slab->prev = NULL;
    slab->next = hc->first;
    if (hc->first != NULL)
        hc->first->prev = slab;
    else
        hc->last = slab;
    hc->first = slab;
    hc->listed++;
}

void hk_slabs_push_last(struct hk_heap_class *hc, struct hk_span *slab) {
    slab->next = NULL;
    slab->prev = hc->last;
    if (hc->last != NULL)
        hc->last->next = slab;
    else
        hc->first = slab;
    hc->last = slab;
    hc->listed++;
}

void hk_slabs_remove(struct hk_heap_class *hc, struct hk_span *slab) {
    if (hk_unlikely(hc->scan == slab))
        hc->scan = slab->next;

    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        hc->first = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    else
        hc->last = slab->prev;

    hc->listed--;
}

void hk_slabs_place(struct hk_heap_class *hc, struct hk_span *slab, bool was_exhausted,
                    struct hk_span **released) {
    if (was_exhausted)
        hk_slabs_push_last(hc, slab);
    if (!hk_slab_is_empty(slab))
        return;

    if (hc->empty < SLABS_EMPTY_KEPT) {
        hc->empty++;
        return;
    }

    hk_slabs_remove(hc, slab);
    hk_sub_locked(&hc->slabs, 1);
    slab->next = *released;
    *released = slab;
}

bool hk_slabs_stays_private(const struct hk_span *slab) {
    hk_pagemap_settle();
    return hk_span_is_private(slab);
}

void hk_heap_adopt(struct hk_span *slab) {
    struct hk_heap *heap = HK_HOLDER(struct hk_heap, arena, slab->chunk->arena);
    struct hk_heap_class *hc = &heap->classes[slab->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_span_set_owner(slab, heap);
    if (!hk_slab_is_exhausted(slab))
        hk_slabs_push_last(hc, slab);
    hk_add_locked(&hc->slabs, 1);
    hc->empty += hk_slab_is_empty(slab);
    hc->blocks_allocated += (uint64_t)slab->bump - slab->free;
    hk_slabs_note_use(hc);
    hk_pagemap_publish(slab); /* last, so that a thread that sees its class finds the slab here */
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

/* ---- Creation and release -------------------------------------------------------------------- */

/* Decides between sparse and dense granules. The first slab of a class may serve only a few blocks,
 * and programs often fill only the beginning of a buffer. */
static enum hk_granules_use slabs_use(const struct hk_heap_class *hc, size_t class) {
    size_t bytes = hk_classes[class].block_bytes;
    bool buffers = bytes > SLABS_BUFFER_MIN && bytes <= SLABS_BUFFER_MAX;
    return hk_peek(&hc->slabs) == 0 || buffers ? HK_GRANULES_SPARSE : HK_GRANULES_DENSE;
}

static struct hk_span *slabs_create(struct hk_heap *heap, size_t class) {
    struct hk_span *slab = hk_span_create(class, heap->sampled ? HK_SPAN_SAMPLED : HK_SPAN_PLAIN);
    if (slab == NULL)
        return NULL;

    uint32_t granules = hk_classes[class].granules;
    struct hk_granules run =
        hk_arena_take(&heap->arena, granules, slabs_use(&heap->classes[class], class));
    if (run.chunk == NULL) {
        hk_span_destroy(slab);
        return NULL;
    }

    slab->base = run.base;
    slab->owner = heap;
    slab->chunk = run.chunk;
    slab->granules = granules;
    slab->bytes = (size_t)slab->blocks * hk_classes[class].block_bytes;
    slab->fresh = run.zero;

    if (!hk_pagemap_enter(slab)) {
        hk_arena_give(slab->chunk, slab->base, slab->granules);
        hk_span_destroy(slab);
        return NULL;
    }

    return slab;
}

void hk_slabs_release(struct hk_span *slab) {
    while (slab != NULL) {
        struct hk_span *next = slab->next;
        hk_pagemap_remove(slab);
        hk_arena_give(slab->chunk, slab->base, slab->granules);
        hk_span_destroy(slab);
        slab = next;
    }
}

bool hk_slabs_grow(struct hk_heap *heap, size_t class) {
    struct hk_span *slab = slabs_create(heap, class);
    if (slab == NULL)
        return false;
    struct hk_heap_class *hc = &heap->classes[class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_slabs_push_first(hc, slab);
    hk_add_locked(&hc->slabs, 1);
    hc->empty++;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return true;
}
