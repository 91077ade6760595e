/* own/check.c - the invariants of private heaps, and their repair in a forked child.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "../base/string.h"
#include "../core/pagemap.h"
#include "../heap/heaps.h"
#include "slabs.h"

/* ---- Invariants ------------------------------------------------------------------------------ */

/* Cached blocks are neither free in their slab nor unused. */
static bool own_cells_fit(const struct hk_own_part *part, const struct hk_span *slab) {
    for (uint32_t index = 0; index < slab->blocks; index += HK_WORD_BITS) {
        uint64_t free = ~hk_own_used(slab, index) | slab->bits[index / HK_WORD_BITS];
        if ((hk_own_cached(part, slab, index) & free) != 0)
            return false;
    }
    return true;
}

static const char *own_validate_class(struct hk_own_part *part, size_t class) {
    bool exhausted = false;
    const struct hk_span *slab = part->slabs[class];
    for (; slab != NULL; slab = hk_own_next(part, slab)) {
        if (slab->next->prev != slab || slab->prev->next != slab)
            return "broken ring of slabs of a private heap";
        if (hk_own_part_of(slab) != part || hk_own_by_class[slab->class] != class ||
            hk_pagemap_find((const void *)slab->base) != slab)
            return "foreign slab in a private heap";
        if (!hk_slab_valid(slab))
            return "bits of a slab of a private heap differ from its counts";
        if (exhausted && !hk_slab_is_exhausted(slab))
            return "exhausted slab before others in a private heap";
        if (!own_cells_fit(part, slab))
            return "cached block of a private heap that is free in its slab";
        exhausted = hk_slab_is_exhausted(slab);
    }
    return NULL;
}

static const char *own_validate_empty(struct hk_own_part *part) {
    uint64_t bytes = 0;
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        const struct hk_span *slab = part->empty[class];
        for (; slab != NULL; slab = slab->next) {
            if (hk_own_part_of(slab) != part || !hk_slab_is_empty(slab) || !hk_slab_valid(slab))
                return "slab with blocks among the empty ones of a private heap";
            bytes += slab->granules * HK_GRANULE_BYTES;
        }
    }
    return bytes != part->empty_bytes ? "wrong bytes of the empty slabs of a private heap" : NULL;
}

static const char *own_validate_large(struct hak_heap *heap) {
    uint64_t blocks = 0;
    const struct hk_span *prev = NULL;
    for (const struct hk_span *span = heap->large; span != NULL; span = span->next) {
        if (span->prev != prev || hk_own_part_of(span) != &heap->main)
            return "broken list of the large blocks of a private heap";
        prev = span;
        blocks++;
    }
    return blocks != heap->large_blocks ? "wrong count of the large blocks of a private heap"
                                        : NULL;
}

static const char *own_validate_part(struct hak_heap *heap, struct hk_own_part *part) {
    const char *fault = NULL;
    hk_own_lock(part);
    for (size_t class = 1; class < HK_OWN_CLASSES && fault == NULL; ++class)
        fault = own_validate_class(part, class);
    if (fault == NULL)
        fault = own_validate_empty(part);
    if (fault == NULL && part == &heap->main)
        fault = own_validate_large(heap);
    hk_own_unlock(part);
    return fault;
}

const char *hk_own_validate(struct hak_heap *heap) {
    const char *fault = NULL;
    for (uint32_t i = 0; i < HK_OWN_PARTS && fault == NULL; i++) {
        struct hk_own_part *part = hk_own_part_at(heap, i);
        if (part != NULL)
            fault = own_validate_part(heap, part);
    }
    return fault;
}

/* ---- Repair ---------------------------------------------------------------------------------- */

/* Recounts a slab from its bits. Blocks that are also in a cell belong to the cell, because a
 * refill fills the cell first. */
static void own_recount(const struct hk_own_part *part, struct hk_span *slab) {
    uint32_t bump = slab->bump;
    uint32_t free = 0;
    for (uint32_t index = 0; index < slab->blocks; index += HK_WORD_BITS) {
        uint64_t cached = hk_own_cached(part, slab, index);
        uint64_t *word = &slab->bits[index / HK_WORD_BITS];
        if (cached != 0 && index + hk_log2(cached) >= bump)
            bump = index + hk_log2(cached) + 1;
        hk_store_relaxed(word, *word & ~cached); /* relaxed: under the lock; see hk_slab_guess */
    }

    struct hk_run unused = {bump, slab->blocks - bump};
    hk_bits_fill(slab->bits, unused, false);
    for (uint32_t i = 0; i < HK_WORDS(slab->blocks); i++)
        free += (uint32_t)__builtin_popcountll(slab->bits[i]);
    hk_store_relaxed(&slab->bump, (uint16_t)bump); /* relaxed: as above */
    slab->free = (uint16_t)free;
    slab->low = 0;
}

/* Whether all granules of a slab are in the pagemap. Otherwise a vanished thread was entering or
 * removing it, and it is lost. */
static bool own_is_entered(const struct hk_span *slab) {
    bool entered = true;
    for (uint32_t i = 0; entered && i < slab->granules; i++)
        entered = hk_pagemap_find((const void *)(slab->base + i * HK_GRANULE_BYTES)) == slab;
    return entered;
}

/* Links the slab at `base` if it belongs to the part. Returns the granules from there to its
 * end. */
static uint32_t own_repair_granule(void *arg, uintptr_t base) {
    struct hk_own_part *part = arg;
    struct hk_span *slab = hk_pagemap_find((const void *)base);
    if (slab == NULL || slab->class == HK_CLASS_NONE || slab->base != base)
        return 1;
    if (hk_span_owner(slab) != hk_own_tag(part) || !own_is_entered(slab))
        return slab->granules;

    own_recount(part, slab);
    hk_own_link(part, slab);
    part->slab_bytes += slab->granules * HK_GRANULE_BYTES;
    if (hk_slab_is_exhausted(slab))
        part->slabs[hk_own_by_class[slab->class]] = slab->next; /* behind those with free blocks */
    return slab->granules;
}

static void own_repair_heap(void *arg, struct hk_heap *heap) {
    hk_arena_visit(&heap->arena, own_repair_granule, arg);
}

static void own_repair_large(struct hak_heap *heap) {
    struct hk_span *prev = NULL;
    heap->large_bytes = heap->large_blocks = 0;
    for (struct hk_span *span = heap->large; span != NULL; span = span->next) {
        span->prev = prev;
        prev = span;
        heap->large_blocks++;
        heap->large_bytes += span->bytes;
    }
}

/* Rebuilds the rings from the granules in use. What counts at the limit stays as it was. A part of
 * a heap whose end was interrupted may still have live blocks. */
void hk_own_repair(struct hk_lock *lock) {
    struct hk_own_part *part = HK_HOLDER(struct hk_own_part, lock, lock);
    struct hak_heap *heap = hk_peek(&part->heap);
    hk_own_withdraw(part); /* the thread that forked may be inside */
    hk_own_settle(&part->cache);
    if (heap == NULL || (part == &heap->main && heap->id == 0))
        return;

    memset(part->slabs, 0, sizeof part->slabs);
    memset(part->empty, 0, sizeof part->empty);
    if (!heap->keeps)
        hk_sub_relaxed(&hk_own_empty_bytes, part->empty_bytes); /* relaxed: a count */
    hk_store_locked(&part->empty_bytes, 0);
    part->slab_bytes = 0;
    hk_heaps_each(own_repair_heap, part);
    if (part == &heap->main)
        own_repair_large(heap);
}

/* A refill of a cell may have been interrupted. Its slabs have to be repaired before a block of the
 * cell is allocated. */
void hk_own_repair_cache(struct hk_lock *lock) {
    struct hk_own_cache *cache = HK_HOLDER(struct hk_own_cache, lock, lock);
    struct hk_own_part *part = HK_HOLDER(struct hk_own_part, cache, cache);
    hk_own_lock(part);
    hk_own_settle(cache);
    hk_own_unlock(part);
}
