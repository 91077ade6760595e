/* heap/heap.c - heaps, and blocks taken from their slabs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "heap.h"

#include "../base/string.h"
#include "../core/meta.h"
#include "slabs.h"

struct hk_heap *hk_heap_create(void) {
    struct hk_heap *heap = hk_meta_alloc(sizeof(struct hk_heap));
    if (heap != NULL)
        memset(heap, 0, sizeof *heap);
    return heap;
}

static uint32_t take_from_slabs(struct hk_heap_class *hc, void **to, uint32_t count) {
    uint32_t taken = 0;
    while (taken < count && hc->first != NULL) {
        struct hk_span *slab = hc->first;
        hc->empty -= hk_slab_is_empty(slab);
        taken += hk_slab_take(slab, to + taken, count - taken);
        if (hk_slab_is_exhausted(slab))
            hk_slabs_remove(hc, slab);
    }

    hc->blocks_allocated += taken;
    return taken;
}

uint32_t hk_heap_take(struct hk_heap *heap, size_t class, void **to, uint32_t count) {
    struct hk_heap_class *hc = &heap->classes[class];
    do {
        hk_lock(&hc->lock, HK_RANK_CLASS);
        uint32_t taken = take_from_slabs(hc, to, count);
        hc->refills += taken > 0;
        hk_slabs_note_use(hc);
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        if (taken > 0)
            return taken;
    } while (hk_slabs_grow(heap, class));
    return 0;
}

struct hk_block hk_heap_take_one(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct hk_block block = {NULL, false};

    do {
        hk_lock(&hc->lock, HK_RANK_CLASS);
        hk_slabs_note_use(hc);

        if (hc->first != NULL) {
            struct hk_span *slab = hc->first;
            hc->empty -= hk_slab_is_empty(slab);
            block = hk_slab_take_one(slab);
            hc->blocks_allocated++;
            if (hk_slab_is_exhausted(slab))
                hk_slabs_remove(hc, slab);
        }

        hk_unlock(&hc->lock, HK_RANK_CLASS);
        if (block.start != NULL)
            return block;
    } while (hk_slabs_grow(heap, class));
    return block;
}
