/* heap/check.c - whether blocks are allocated. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/error.h"
#include "../core/pagemap.h"
#include "slabs.h"

uint32_t hk_heap_check_batch(size_t class, void **blocks, uint32_t count,
                             struct hk_mistakes *mistakes) {
    const struct hk_class *of = &hk_classes[class];
    struct hk_span *slab = NULL;
    uint32_t good = 0;

    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        enum hk_slab_result result = HK_SLAB_NOT_A_BLOCK;
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes)
            slab = hk_slabs_find(class, block);

        uint32_t index;
        if (hk_likely(slab != NULL))
            result = hk_slab_locate(slab, of, block, &index);
        if (hk_likely(result == HK_SLAB_DONE))
            result = hk_slab_guess(slab, index);

        if (hk_likely(result == HK_SLAB_DONE))
            blocks[good++] = block;
        else
            hk_mistakes_add(mistakes, block, hk_slab_causes[result]);
    }

    return good;
}

uint32_t hk_heap_local_first(size_t class, void **blocks, uint32_t count) {
    if (hk_likely(hk_nodes() == NULL))
        return count;

    uint32_t node = hk_nodes_of(hk_os_cpu());
    const struct hk_span *slab = NULL;
    uint32_t local = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes)
            slab = hk_slabs_find(class, block);
        /* A pointer without a slab counts as local, because the next step will report it. */
        if (slab != NULL && hk_heap_node(hk_span_owner(slab)) != node)
            continue;
        blocks[i] = blocks[local];
        blocks[local++] = block;
    }
    return local;
}

enum hk_slab_result hk_heap_look(const void *block) {
    struct hk_span *span = hk_pagemap_find(block);
    if (span == NULL)
        return HK_SLAB_NOT_A_BLOCK;
    if (span->kind == HK_SPAN_GUARDED || hk_span_is_private(span))
        return HK_SLAB_DONE; /* the guard and private heaps check their blocks exactly */
    if (span->class == HK_CLASS_NONE)
        return (uintptr_t)block == span->base ? HK_SLAB_DONE : HK_SLAB_INSIDE_BLOCK;

    struct hk_heap *heap = hk_span_owner(span);
    struct hk_heap_class *hc = &heap->classes[span->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    enum hk_slab_result result = hk_slab_look(span, block);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return result;
}

void hk_heap_report(const char *function, const void *block, enum hk_slab_result result) {
    hk_bad_pointer(function, block, hk_slab_causes[result]);
}

bool hk_heap_check_fast(const char *function, const void *block) {
    const struct hk_span *slab = hk_pagemap_find(block);
    uint32_t index;
    enum hk_slab_result result = HK_SLAB_NOT_A_BLOCK;
    if (slab != NULL && slab->class != HK_CLASS_NONE)
        result = hk_slab_locate(slab, &hk_classes[slab->class], block, &index);
    if (result == HK_SLAB_DONE)
        result = hk_slab_guess(slab, index);
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_heap_report(function, block, result);
    return result == HK_SLAB_DONE;
}
