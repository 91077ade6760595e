/* own/slabs.c - the slabs and large blocks of a private heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "slabs.h"

#include "../core/large.h"
#include "../core/pagemap.h"
#include "../thread/hooks.h"
#include "../thread/thread.h"
#include "../thread/threads.h"

/* ---- Rings and lists ------------------------------------------------------------------------- */

void hk_own_link(struct hak_heap *heap, struct hk_span *slab) {
    struct hk_span **ring = &heap->slabs[slab->class];
    slab->next = *ring != NULL ? *ring : slab;
    slab->prev = *ring != NULL ? (*ring)->prev : slab;
    slab->next->prev = slab;
    slab->prev->next = slab;
    *ring = slab;
}

void hk_own_unlink(struct hak_heap *heap, struct hk_span *slab) {
    struct hk_span **ring = &heap->slabs[slab->class];
    if (*ring == slab)
        *ring = slab->next != slab ? slab->next : NULL;
    slab->prev->next = slab->next;
    slab->next->prev = slab->prev;
}

/* The `next` links are intact after each store, so that a forked child can follow them. */
void hk_own_link_large(struct hak_heap *heap, struct hk_span *span) {
    span->prev = NULL;
    span->next = heap->large;
    if (heap->large != NULL)
        heap->large->prev = span;
    hk_fence_stores();
    heap->large = span;
    heap->large_blocks++;
    heap->large_bytes += span->bytes;
}

void hk_own_unlink_large(struct hak_heap *heap, struct hk_span *span) {
    if (span->prev != NULL)
        span->prev->next = span->next;
    else
        heap->large = span->next;
    if (span->next != NULL)
        span->next->prev = span->prev;
    heap->large_blocks--;
    heap->large_bytes -= span->bytes;
}

/* ---- Cached blocks --------------------------------------------------------------------------- */

uint64_t hk_own_cached(const struct hak_heap *heap, const struct hk_span *slab, uint32_t index) {
    uintptr_t first = hk_own_word_at(slab, index);
    uint64_t bits = 0;
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        const struct hk_own_cache *cache = hk_peek(&heap->caches[i]);
        if (cache == NULL)
            continue;
        const struct hk_own_cell *cell = &cache->cells[slab->class];
        if ((cell->first & ~(uintptr_t)HK_OWN_ZERO) == first)
            bits |= hk_load_relaxed(&cell->bits); /* relaxed: see hk_own_take_fast */
    }
    return bits;
}

static void own_flush_cell(struct hk_own_cell *cell) {
    uintptr_t first = cell->first & ~(uintptr_t)HK_OWN_ZERO;
    uint64_t bits = hk_load_relaxed(&cell->bits); /* relaxed: no thread allocates */
    if (bits == 0)
        return;

    struct hk_span *slab = hk_pagemap_find((const void *)first);
    struct hk_slab_word word = {bits, 0, false};
    word.first = hk_class_index(&hk_classes[slab->class], (uint32_t)(first - slab->base));
    hk_store_relaxed(&cell->bits, 0); /* relaxed: as above */
    hk_slab_give_word(slab, &word);
}

void hk_own_flush(struct hak_heap *heap) {
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        struct hk_own_cache *cache = hk_peek(&heap->caches[i]);
        for (size_t class = 1; cache != NULL && class < HK_CLASS_COUNT; ++class)
            own_flush_cell(&cache->cells[class]);
    }
}

/* ---- Creation and release -------------------------------------------------------------------- */

struct hk_arena *hk_own_arena(void) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    if (thread != NULL)
        hk_thread_hooks.allocated(thread);
    return heap != NULL ? &heap->arena : NULL;
}

static struct hk_span *own_create(struct hak_heap *heap, size_t class, enum hk_granules_use use) {
    struct hk_arena *arena = hk_own_arena();
    struct hk_span *slab = arena != NULL ? hk_span_create(class, HK_SPAN_PLAIN) : NULL;
    if (slab == NULL)
        return NULL;

    uint32_t granules = hk_classes[class].granules;
    struct hk_granules run = hk_arena_take(arena, granules, use);
    if (run.chunk == NULL) {
        hk_span_destroy(slab);
        return NULL;
    }

    slab->base = run.base;
    slab->owner = hk_own_tag(heap);
    slab->chunk = run.chunk;
    slab->granules = granules;
    slab->bytes = (size_t)slab->blocks * hk_classes[class].block_bytes;
    slab->fresh = run.zero;
    slab->coarse = true;

    if (!hk_pagemap_enter(slab)) {
        hk_arena_give(slab->chunk, slab->base, slab->granules);
        hk_span_destroy(slab);
        return NULL;
    }

    return slab;
}

/* The first slab of a class may serve only a few blocks. */
static enum hk_granules_use own_use(struct hak_heap *heap, const struct hk_own_ref *ref,
                                    size_t class) {
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool dense = heap->id == ref->id && heap->slabs[class] != NULL;
    hk_unlock(&heap->lock, HK_RANK_OWN);
    return dense ? HK_GRANULES_DENSE : HK_GRANULES_SPARSE;
}

bool hk_own_grow(const struct hk_own_ref *ref, size_t class) {
    struct hak_heap *heap = ref->heap;
    struct hk_span *slab = own_create(heap, class, own_use(heap, ref, class));
    if (slab == NULL)
        return false;

    hk_lock(&heap->lock, HK_RANK_OWN);
    bool exists = heap->id == ref->id;
    if (exists) {
        hk_own_link(heap, slab);
        heap->slab_bytes += slab->granules * HK_GRANULE_BYTES;
    }
    hk_unlock(&heap->lock, HK_RANK_OWN);

    if (!exists) {
        slab->next = NULL;
        hk_own_release(slab);
    }
    return exists;
}

void hk_own_release(struct hk_span *span) {
    while (span != NULL) {
        struct hk_span *next = span->next;
        if (span->class == HK_CLASS_NONE) {
            hk_large_free(span);
        } else {
            hk_pagemap_remove(span);
            hk_arena_give(span->chunk, span->base, span->granules);
            hk_span_destroy(span);
        }
        span = next;
    }
}
