/* own/take.c - allocation from private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <string.h>

#include "../core/large.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../os/os.h"
#include "slabs.h"

enum {
    OWN_FINE_BYTES = 128,      /* up to here, all classes are used */
    OWN_CLASSES_SHIFT = 2,     /* 2^2 classes for each doubling above that */
    OWN_LEFT_PART = 8,         /* a cache gets 1/8 of the bytes below the limit in advance, */
    OWN_LEFT_MOST = 64 * 1024, /* at most this */
};

#define OWN_WITHOUT_LIMIT (INT64_MAX / 2)

size_t hk_own_class(size_t class) {
    size_t bytes = hk_classes[class].block_bytes; /* 0 for HK_CLASS_NONE */
    if (bytes <= OWN_FINE_BYTES)
        return class;
    return hk_class_of(hk_round_up(bytes, (size_t)1 << (hk_log2(bytes - 1) - OWN_CLASSES_SHIFT)));
}

/* ---- The limit ------------------------------------------------------------------------------- */

/* Whether a heap may have `bytes` more. Notes the failure otherwise. Under OWN. */
static bool own_allows(struct hak_heap *heap, uint64_t bytes, struct hk_own_failure *failure) {
    if (heap->limit == 0 || (heap->used <= heap->limit && heap->limit - heap->used >= bytes))
        return true;
    heap->refused++;
    *failure = (struct hk_own_failure){HK_OWN_AT_LIMIT, heap->on_limit, heap->on_limit_arg};
    return false;
}

/* Counts `bytes` that a cache needs, and some more in advance. Under OWN. */
static bool own_charge_locked(struct hak_heap *heap, struct hk_own_cache *cache, uint64_t bytes,
                              struct hk_own_failure *failure) {
    heap->used -= (uint64_t)cache->left;
    cache->left = 0;
    if (!own_allows(heap, bytes, failure))
        return false;
    uint64_t more = (heap->limit - heap->used) / OWN_LEFT_PART;
    more = more < OWN_LEFT_MOST ? more : OWN_LEFT_MOST;
    cache->left = (int64_t)(more > bytes ? more : bytes);
    heap->used += (uint64_t)cache->left;
    return true;
}

/* Makes sure that a cache may allocate `bytes`. Returns false at the limit. */
static bool own_charge(struct hak_heap *heap, struct hk_own_cache *cache, uint32_t bytes,
                       struct hk_own_failure *failure) {
    if (hk_likely(cache->left >= (int64_t)bytes))
        return true;
    if (heap->limit == 0) {
        cache->left = OWN_WITHOUT_LIMIT;
        return true;
    }
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool charged = own_charge_locked(heap, cache, bytes, failure);
    hk_unlock(&heap->lock, HK_RANK_OWN);
    return charged;
}

/* ---- Caches ---------------------------------------------------------------------------------- */

/* Adds a shared cache. Returns NULL if out of memory. */
static HK_SLOW struct hk_own_cache *own_add_cache(struct hak_heap *heap, uint32_t number) {
    struct hk_own_cache *fresh = hk_meta_alloc(sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    memset(fresh, 0, sizeof *fresh);

    hk_lock(&heap->lock, HK_RANK_OWN);
    struct hk_own_cache *cache = hk_peek(&heap->caches[number]);
    if (cache == NULL) {
        /* release: publishes the zeroes. It pairs with the acquire in own_enter. */
        hk_store_release(&heap->caches[number], fresh);
        cache = fresh;
        fresh = NULL;
    }
    hk_unlock(&heap->lock, HK_RANK_OWN);

    if (fresh != NULL)
        hk_meta_free(fresh, sizeof *fresh);
    return cache;
}

/* Makes the calling thread the owner of a heap without one. */
static bool own_claim(struct hak_heap *heap, uint32_t self) {
    uint32_t nobody = HK_OWN_NOBODY;
    /* acquire: the cache of a heap that was reused. It pairs with the release in hk_own_new. */
    return hk_load_relaxed(&heap->owner) == self || hk_cas_acquire(&heap->owner, &nobody, self);
}

/* The cache of the calling thread, which nobody else uses until own_leave. Returns NULL if out of
 * memory. */
static struct hk_own_cache *own_enter(struct hak_heap *heap) {
    uint32_t self = hk_lock_self();
    if (own_claim(heap, self))
        return heap->caches[0];

    uint32_t number = 1 + self % HK_OWN_SHARED;
    /* acquire: pairs with the release in own_add_cache */
    struct hk_own_cache *cache = hk_load_acquire(&heap->caches[number]);
    if (hk_unlikely(cache == NULL))
        cache = own_add_cache(heap, number);
    if (cache != NULL)
        hk_lock(&cache->lock, HK_RANK_OWN_CACHE);
    return cache;
}

static void own_leave(const struct hak_heap *heap, struct hk_own_cache *cache) {
    if (cache != heap->caches[0])
        hk_unlock(&cache->lock, HK_RANK_OWN_CACHE);
}

/* ---- Small blocks ---------------------------------------------------------------------------- */

/* Fills an empty cell from the first slab. The stores are ordered for a forked child, which takes
 * blocks that are both in the cell and in the slab out of the slab. */
static bool own_refill(struct hak_heap *heap, struct hk_own_cell *cell, size_t class) {
    hk_lock(&heap->lock, HK_RANK_OWN);
    struct hk_span *slab = heap->slabs[class];
    bool found = slab != NULL && !hk_slab_is_exhausted(slab);
    if (found) {
        struct hk_slab_word word = hk_slab_find_word(slab);
        cell->first = (uintptr_t)hk_slab_block(slab, word.first) + (word.zero ? HK_OWN_ZERO : 0);
        hk_fence_stores();
        hk_store_relaxed(&cell->bits, word.bits); /* relaxed: see hk_own_take_fast */
        hk_fence_stores();
        hk_slab_take_word(slab, &word);
        if (hk_slab_is_exhausted(slab))
            heap->slabs[class] = slab->next;
    }
    hk_unlock(&heap->lock, HK_RANK_OWN);
    return found;
}

static struct hk_block own_take_cell(struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    size_t bytes = hk_classes[class].block_bytes;
    uint64_t bits = cell->bits;
    char *first = (char *)(cell->first & ~(uintptr_t)HK_OWN_ZERO);
    cache->left -= (int64_t)bytes;
    hk_store_relaxed(&cell->bits, bits & (bits - 1)); /* relaxed: see hk_own_take_fast */
    return (struct hk_block){first + (size_t)__builtin_ctzll(bits) * bytes,
                             (cell->first & HK_OWN_ZERO) != 0};
}

/* Takes a block if a cell or a slab has one. */
static struct hk_block own_try(struct hak_heap *heap, size_t class,
                               struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    struct hk_own_cache *cache = own_enter(heap);
    if (cache == NULL) {
        failure->fault = HK_OWN_NO_MEMORY;
        return block;
    }

    struct hk_own_cell *cell = &cache->cells[class];
    if ((cell->bits != 0 || own_refill(heap, cell, class)) &&
        own_charge(heap, cache, hk_classes[class].block_bytes, failure))
        block = own_take_cell(cache, class);
    own_leave(heap, cache);
    return block;
}

struct hk_block hk_own_take(struct hak_heap *heap, size_t class, struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    struct hk_own_ref ref = {heap, hk_own_id(heap)};
    *failure = (struct hk_own_failure){HK_OWN_FINE, NULL, NULL};
    if (ref.id == 0) {
        failure->fault = HK_OWN_GONE;
        return block;
    }

    do
        block = own_try(heap, class, failure);
    while (block.start == NULL && failure->fault == HK_OWN_FINE && hk_own_grow(&ref, class));
    if (block.start == NULL && failure->fault == HK_OWN_FINE)
        failure->fault = HK_OWN_NO_MEMORY;
    return block;
}

/* ---- Without a cache ------------------------------------------------------------------------- */

/* Takes a block from the first slab if it has one. Under OWN. */
static struct hk_block own_take_locked(struct hak_heap *heap, size_t class,
                                       struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    struct hk_span *slab = heap->slabs[class];
    uint32_t bytes = hk_classes[class].block_bytes;
    if (slab == NULL || hk_slab_is_exhausted(slab) || !own_allows(heap, bytes, failure))
        return block;
    if (heap->limit != 0)
        heap->used += bytes;
    block = hk_slab_take_one(slab);
    if (hk_slab_is_exhausted(slab))
        heap->slabs[class] = slab->next;
    return block;
}

struct hk_block hk_own_take_once(const struct hk_own_ref *ref, size_t class,
                                 struct hk_own_failure *failure) {
    struct hak_heap *heap = ref->heap;
    struct hk_block block = {NULL, false};
    *failure = (struct hk_own_failure){HK_OWN_FINE, NULL, NULL};
    bool grown;

    do {
        hk_lock(&heap->lock, HK_RANK_OWN);
        if (heap->id == ref->id)
            block = own_take_locked(heap, class, failure);
        else
            failure->fault = HK_OWN_GONE;
        hk_unlock(&heap->lock, HK_RANK_OWN);
        if (block.start != NULL || failure->fault != HK_OWN_FINE)
            return block;
        grown = hk_own_grow(ref, class);
    } while (grown);

    failure->fault = hk_own_id(heap) == ref->id ? HK_OWN_NO_MEMORY : HK_OWN_GONE;
    return block;
}

/* ---- Large blocks ---------------------------------------------------------------------------- */

/* Counts a large block before it exists. Returns false if that would exceed the limit, or if there
 * is no such heap. */
static bool own_charge_large(const struct hk_own_ref *ref, size_t bytes,
                             struct hk_own_failure *failure) {
    struct hak_heap *heap = ref->heap;
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool charged = false;
    if (heap->id != ref->id || ref->id == 0)
        failure->fault = HK_OWN_GONE;
    else
        charged = own_allows(heap, bytes, failure);
    if (charged)
        heap->used += bytes;
    hk_unlock(&heap->lock, HK_RANK_OWN);
    return charged;
}

/* Adds a block to the heap, or subtracts the bytes if there is none. A heap that was merged
 * meanwhile gives the block to the heap of the arena. */
static void own_add_large(const struct hk_own_ref *ref, struct hk_arena *arena, size_t bytes,
                          const void *block) {
    struct hak_heap *heap = ref->heap;
    struct hk_span *span = block != NULL ? hk_pagemap_find(block) : NULL;
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool exists = heap->id == ref->id;
    if (exists)
        heap->used += (span != NULL ? span->bytes : 0) - bytes;
    if (exists && span != NULL)
        hk_own_link_large(heap, span);
    if (!exists && span != NULL)
        hk_span_set_owner(span, HK_HOLDER(struct hk_heap, arena, arena));
    hk_unlock(&heap->lock, HK_RANK_OWN);
}

struct hk_block hk_own_take_large(const struct hk_own_ref *ref, size_t size, size_t align,
                                  struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    struct hk_arena *arena = hk_own_arena();
    *failure = (struct hk_own_failure){HK_OWN_NO_MEMORY, NULL, NULL};
    if (size > PTRDIFF_MAX || arena == NULL)
        return block;

    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    if (!own_charge_large(ref, bytes, failure))
        return block;
    block = hk_large_alloc(arena, hk_own_tag(ref->heap), size, align);
    own_add_large(ref, arena, bytes, block.start);
    return block;
}
