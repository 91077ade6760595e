/* heap/repair.c - heaps in a forked child. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../base/string.h"
#include "../core/pagemap.h"
#include "scan.h"
#include "slabs.h"

struct repair {
    struct hk_heap *heap;
    size_t class;
};

/* Whether a span is a slab of the class and all its granules are in the pagemap. If a vanished
 * thread was entering or removing it, the slab is lost. */
static bool repair_is_ours(const struct repair *repair, const struct hk_span *span) {
    bool ours = span->class == repair->class && hk_span_owner(span) == repair->heap;
    for (uint32_t i = 0; ours && i < span->granules; i++)
        ours = hk_pagemap_find((const void *)(span->base + i * HK_GRANULE_BYTES)) == span;
    return ours;
}

/* Recounts a slab from its bits, which threads change word by word, and links it. Returns the
 * granules from `base` to its end. */
static uint32_t repair_slab(void *arg, uintptr_t base) {
    const struct repair *repair = arg;
    struct hk_heap_class *hc = &repair->heap->classes[repair->class];
    struct hk_span *slab = hk_pagemap_find((const void *)base);
    if (slab == NULL)
        return 1;

    uint32_t left = slab->granules - (uint32_t)((base - slab->base) >> HK_GRANULE_SHIFT);
    if (!repair_is_ours(repair, slab))
        return left;

    struct hk_run unused = {slab->bump, (uint32_t)(slab->blocks - slab->bump)};
    hk_bits_fill(slab->bits, unused, false);

    slab->low = 0;
    slab->free = 0;
    for (uint32_t i = 0; i < HK_WORDS(slab->blocks); i++)
        slab->free = (uint16_t)(slab->free + __builtin_popcountll(slab->bits[i]));

    hk_add_locked(&hc->slabs, 1);
    hc->empty += hk_slab_is_empty(slab);
    hc->blocks_allocated += (uint64_t)slab->bump - slab->free;
    if (!hk_slab_is_exhausted(slab))
        hk_slabs_push_last(hc, slab);
    return left;
}

/* Completes a purge of the class if the bits of its slab show that its end had begun. The repair of
 * the purge may run much later. By then some of its blocks may be allocated again, and it would
 * free them. */
static void repair_end_of_purge(struct hk_heap *heap, size_t class) {
    struct hk_span *purging = hk_heap_purging(heap);
    if (purging == NULL || purging->class != class)
        return;

    bool begun = false;
    for (uint32_t i = 0; i < HK_WORDS(purging->blocks); i++)
        begun |= (purging->bits[i] & heap->purging_bits[i]) != 0;
    if (!begun)
        return;

    hk_slab_give_all(purging, heap->purging_bits);
    hk_fence_stores();                      /* as in hk_heap_end_purge */
    hk_store_relaxed(&heap->purging, NULL); /* relaxed: the fence orders it */
}

void hk_heap_repair_class(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct repair repair = {heap, class};

    repair_end_of_purge(heap, class);
    hc->first = hc->last = hc->scan = NULL;
    hc->slabs = hc->listed = hc->empty = 0;
    hc->blocks_allocated = hc->blocks_purging = 0;
    hk_arena_visit(&heap->arena, repair_slab, &repair);

    const struct hk_span *purging = hk_heap_purging(heap);
    if (purging == NULL || purging->class != class)
        return;

    for (uint32_t i = 0; i < HK_WORDS(purging->blocks); i++)
        hc->blocks_purging += (unsigned)__builtin_popcountll(heap->purging_bits[i]);
    hc->blocks_allocated -= hc->blocks_purging;
}

void hk_heap_repair_purge(void *unused, struct hk_heap *heap) {
    (void)unused;
    struct hk_span *released = NULL;
    hk_arena_repair_purge(&heap->arena);

    const struct hk_span *purging = hk_heap_purging(heap);
    if (purging == NULL)
        return;

    struct hk_heap_class *hc = &heap->classes[purging->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    if (hk_heap_purging(heap) != NULL) /* the repair of the class may have ended it */
        hk_heap_end_purge(heap, &released);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    hk_slabs_release(released);
}
