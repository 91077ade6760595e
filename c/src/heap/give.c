/* heap/give.c - blocks returned to their slabs. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/dirty.h"
#include "../core/pagemap.h"
#include "slabs.h"

/* Puts the block at `index` into its slab; the caller counts it in `blocks_allocated`. */
HK_FAST enum hk_slab_result give_to_slab(struct hk_heap_class *hc, struct hk_span *slab,
                                         uint32_t index, struct hk_span **released) {
    enum hk_slab_result result = hk_slab_look_at(slab, index);
    if (hk_unlikely(result != HK_SLAB_DONE))
        return result;
    bool was_exhausted = hk_slab_is_exhausted(slab);
    hk_slab_give(slab, index);
    if (hk_unlikely(was_exhausted || hk_slab_is_empty(slab)))
        hk_slabs_place(hc, slab, was_exhausted, released);
    return HK_SLAB_DONE;
}

/* One batch on its way to the owner heaps. It lies on the stack, which may be small. */
struct give_batch {
    size_t class;
    uint32_t count;                      /* blocks that are not delivered yet */
    struct hk_span *slabs[HK_BATCH_MAX]; /* their slabs */
    uint16_t indexes[HK_BATCH_MAX];      /* their places in the slabs */
    bool idle;                           /* see hk_heap_give_idle */
    struct hk_mistakes *mistakes;
};

static inline void batch_put(struct give_batch *batch, uint32_t at, struct hk_span *slab,
                             uint32_t index) {
    batch->slabs[at] = slab;
    batch->indexes[at] = (uint16_t)index;
}

/* Finds the place of each block, before any lock is taken, and lets the processor fetch its bit. */
static void batch_resolve(struct give_batch *batch, void *const *blocks, uint32_t count) {
    struct hk_span *slab = NULL;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        uint32_t index;
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes)
            slab = hk_pagemap_find(block);
        enum hk_slab_result result = hk_slabs_locate(batch->class, slab, block, &index);
        if (hk_unlikely(result != HK_SLAB_DONE)) {
            hk_mistakes_add(batch->mistakes, block, hk_slab_causes[result]);
            continue;
        }
        hk_prefetch_for_write(&slab->bits[index / HK_WORD_BITS]);
        batch_put(batch, found++, slab, index);
    }
    batch->count = found;
}

/* Delivers the blocks of one heap under one lock; the others stay in the batch. */
static struct hk_span *batch_deliver(struct give_batch *batch, struct hk_heap *heap) {
    struct hk_heap_class *hc = &heap->classes[batch->class];
    struct hk_span *released = NULL;
    uint32_t left = 0;
    uint32_t given = 0;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hc->flushes++;
    hk_slabs_note_use(hc);
    if (batch->idle)
        hc->uses_seen++; /* so the class rests as before, but is scanned; under PURGE */
    for (uint32_t i = 0; i < batch->count; i++) {
        struct hk_span *slab = batch->slabs[i];
        uint32_t index = batch->indexes[i];
        if (hk_unlikely(slab->owner != heap)) {
            batch_put(batch, left++, slab, index);
            continue;
        }
        enum hk_slab_result result = give_to_slab(hc, slab, index, &released);
        given += result == HK_SLAB_DONE;
        if (hk_unlikely(result != HK_SLAB_DONE))
            hk_mistakes_add(batch->mistakes, hk_slab_block(slab, index), hk_slab_causes[result]);
    }
    hc->blocks_allocated -= given;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    batch->count = left;
    return released;
}

static void heap_give(size_t class, void *const *blocks, uint32_t count,
                      struct hk_mistakes *mistakes, bool idle) {
    struct give_batch batch;
    batch.class = class;
    batch.idle = idle;
    batch.mistakes = mistakes;
    while (count > 0) {
        uint32_t n = count < HK_BATCH_MAX ? count : HK_BATCH_MAX;
        batch_resolve(&batch, blocks, n);
        while (batch.count > 0)
            hk_slabs_release(batch_deliver(&batch, batch.slabs[0]->owner));
        blocks += n;
        count -= n;
    }
    hk_dirty_signal(); /* pages between blocks that live on */
}

void hk_heap_give(size_t class, void *const *blocks, uint32_t count, struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, false);
}

void hk_heap_give_idle(size_t class, void *const *blocks, uint32_t count,
                       struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, true);
}

void hk_heap_give_one(const char *function, size_t class, void *block) {
    struct hk_span *slab = hk_pagemap_find(block);
    struct hk_span *released = NULL;
    uint32_t index;
    enum hk_slab_result result = hk_slabs_locate(class, slab, block, &index);
    if (hk_likely(result == HK_SLAB_DONE)) {
        struct hk_heap *heap = slab->owner;
        struct hk_heap_class *hc = &heap->classes[class];
        hk_lock(&hc->lock, HK_RANK_CLASS);
        hk_slabs_note_use(hc);
        result = give_to_slab(hc, slab, index, &released);
        hc->blocks_allocated -= result == HK_SLAB_DONE;
        hk_unlock(&hc->lock, HK_RANK_CLASS);
    }
    hk_slabs_release(released);
    hk_dirty_signal(); /* as in hk_heap_give */
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_bad_pointer(function, block, hk_slab_causes[result]);
}
