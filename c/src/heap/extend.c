/* heap/extend.c - blocks that grow in place. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/large.h"
#include "../core/pagemap.h"
#include "../os/check.h"
#include "../os/os.h"
#include "slabs.h"

/* Removes a slab with a single, allocated block from its class. Returns false if the block is not
 * allocated. */
static bool extend_withdraw(struct hk_span *slab) {
    struct hk_heap *heap = hk_span_owner(slab);
    struct hk_heap_class *hc = &heap->classes[slab->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    bool out = hk_slab_is_exhausted(slab); /* exhausted slabs are in no list */
    hk_sub_locked(&hc->slabs, out);
    hc->blocks_allocated -= out;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return out;
}

/* In a forked child, the repair of a class counts all slabs in the pagemap, so it must not run
 * after we enter a slab and before we count it. */
static void extend_repair_if_orphaned(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

/* Adds a slab with a single, allocated block to its class. */
static void extend_adopt(struct hk_span *slab) {
    struct hk_heap *heap = hk_span_owner(slab);
    struct hk_heap_class *hc = &heap->classes[slab->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_add_locked(&hc->slabs, 1);
    hc->blocks_allocated++;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

/* The granules that the extended block of a slab needs, or 0 if it cannot be extended. */
static uint32_t extend_granules(size_t class, size_t new_class, size_t size) {
    const struct hk_class *row = &hk_classes[new_class];
    if (hk_classes[class].blocks != 1 || (new_class != HK_CLASS_NONE && row->blocks != 1) ||
        size > HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES)
        return 0;
    size_t granules = new_class != HK_CLASS_NONE
                          ? row->granules
                          : hk_round_up(size, HK_GRANULE_BYTES) >> HK_GRANULE_SHIFT;
    return granules > hk_classes[class].granules ? (uint32_t)granules : 0;
}

/* A descriptor like that of `slab`, for `granules` granules. */
static struct hk_span *extend_span(const struct hk_span *slab, size_t new_class, uint32_t granules,
                                   size_t size) {
    struct hk_span *span = hk_span_create(new_class, HK_SPAN_PLAIN);
    if (span == NULL)
        return NULL;

    span->base = slab->base;
    span->owner = hk_span_owner(slab);
    span->chunk = slab->chunk;
    span->granules = granules;
    span->bytes = new_class != HK_CLASS_NONE ? hk_classes[new_class].block_bytes
                                             : hk_round_up(size, hk_os_page_bytes());
    span->bump = span->blocks;
    return span;
}

bool hk_heap_extend(void *block, size_t class, size_t new_class, size_t size) {
    uint32_t granules = extend_granules(class, new_class, size);
    struct hk_span *slab = granules != 0 ? hk_pagemap_find(block) : NULL;
    if (slab == NULL || slab->class != class || slab->base != (uintptr_t)block ||
        slab->kind != HK_SPAN_PLAIN)
        return false;

    uint32_t more = granules - slab->granules;
    struct hk_span *span = extend_span(slab, new_class, granules, size);
    if (span == NULL)
        return false;

    if (!hk_pagemap_reserve(span->base + (granules - 1) * HK_GRANULE_BYTES) ||
        !hk_arena_extend(slab->chunk, slab->base, slab->granules, more)) {
        hk_span_destroy(span);
        return false;
    }

    if (!extend_withdraw(slab)) {
        hk_arena_give(slab->chunk, slab->base + slab->granules * HK_GRANULE_BYTES, more);
        hk_span_destroy(span);
        return false;
    }

    extend_repair_if_orphaned(hk_span_owner(slab), new_class);
    hk_pagemap_remove(slab);
    bool entered = hk_pagemap_enter(span);
    hk_assert(entered);
    (void)entered;
    hk_span_destroy(slab);

    if (new_class != HK_CLASS_NONE)
        extend_adopt(span);
    else
        hk_large_begin(span);
    return true;
}
