/* own/take.c - allocation from private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/large.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../os/os.h"
#include "slabs.h"

enum {
    OWN_ADVANCE_PART = 8, /* a cell gets at most 1/8 of the bytes below the limit */
    OWN_RUN_MOST = 256,   /* blocks of the longest run of a cell, */
    OWN_RUN_LEAST = 32,   /* and of the shortest one that is better than a word */
};

#define SIZE_CLASS(bytes, granules, depth, prewarm)                                                \
    [HK_CLASS_##bytes] =                                                                           \
        offsetof(struct hak_heap, cache.cells) + sizeof(struct hk_own_cell) * HK_OWN_INDEX(bytes),
const uint16_t hk_own_cell_at[HK_CLASS_COUNT] = {
    [HK_CLASS_NONE] = offsetof(struct hak_heap, cache.cells), /* always empty */
#include "../core/size_class.def"
};
#undef SIZE_CLASS

/* ---- The limit ------------------------------------------------------------------------------- */

/* The bytes below the limit. Under OWN. */
static uint64_t own_rest(const struct hak_heap *heap) {
    if (heap->limit == 0)
        return UINT64_MAX;
    return heap->used < heap->limit ? heap->limit - heap->used : 0;
}

/* Whether a heap may have `bytes` more. Notes the failure otherwise. Blocks in cells count, so the
 * owner gives those in its cells back first. Under OWN. */
static bool own_allows(struct hak_heap *heap, uint64_t bytes, struct hk_own_failure *failure) {
    if (hk_likely(own_rest(heap) >= bytes))
        return true;
    if (hk_load_relaxed(&heap->owner) == hk_owner_self) /* relaxed: as in hk_own_take_fast */
        hk_own_flush(heap, &heap->cache);
    if (own_rest(heap) >= bytes)
        return true;
    heap->refused++;
    *failure = (struct hk_own_failure){HK_OWN_AT_LIMIT, heap->on_limit, heap->on_limit_arg};
    return false;
}

/* The number of blocks, of at most `count`, that a cell may take in advance, at least 1. Counts
 * them. Under OWN. */
static uint32_t own_charge(struct hak_heap *heap, uint64_t bytes, uint32_t count) {
    uint64_t most = own_rest(heap) / OWN_ADVANCE_PART / bytes;
    if (most < count)
        count = most > 0 ? (uint32_t)most : 1;
    if (heap->limit != 0)
        heap->used += count * bytes;
    return count;
}

/* ---- Caches ---------------------------------------------------------------------------------- */

/* Adds a shared cache. Returns NULL if out of memory. */
static HK_SLOW struct hk_own_cache *own_add_cache(struct hak_heap *heap, uint32_t number) {
    struct hk_own_cache *fresh = hk_meta_alloc(sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    hk_own_begin_cache(fresh);

    hk_own_lock(heap);
    struct hk_own_cache *cache = hk_peek(&heap->shared[number]);
    if (cache == NULL) {
        /* release: publishes the zeroes. It pairs with the acquire in own_enter. */
        hk_store_release(&heap->shared[number], fresh);
        heap->sharing++;
        cache = fresh;
        fresh = NULL;
    }
    hk_own_unlock(heap);

    if (fresh != NULL)
        hk_meta_free(fresh, sizeof *fresh);
    return cache;
}

/* Makes the calling thread the owner of a heap, unless another thread was faster. */
static HK_SLOW bool own_claim_slow(struct hak_heap *heap, uint32_t self) {
    hk_own_lock(heap);
    bool claimed = !hk_owner_exists(hk_peek(&heap->owner)); /* acquires the cache */
    if (claimed) {
        hk_store_locked(&heap->owner, self);
        heap->alone = heap->needed = 0;
    }
    hk_own_unlock(heap);
    return claimed;
}

/* Whether the calling thread owns a heap. If nobody does, or the owner has ended, it becomes the
 * owner. */
static bool own_claim(struct hak_heap *heap) {
    uint32_t self = hk_owner_get();
    uint32_t owner = hk_peek(&heap->owner);
    if (self == HK_OWNER_NEVER)
        return false;
    return owner == self || (!hk_owner_exists(owner) && own_claim_slow(heap, self));
}

/* The cache of the calling thread, which nobody else uses until own_leave. Returns NULL if out of
 * memory. */
static struct hk_own_cache *own_enter(struct hak_heap *heap) {
    if (own_claim(heap))
        return &heap->cache;

    uint32_t number = hk_lock_self() % HK_OWN_SHARED;
    /* acquire: pairs with the release in own_add_cache */
    struct hk_own_cache *cache = hk_load_acquire(&heap->shared[number]);
    if (hk_unlikely(cache == NULL))
        cache = own_add_cache(heap, number);
    if (cache != NULL)
        hk_lock(&cache->lock, HK_RANK_OWN_CACHE);
    return cache;
}

static void own_leave(const struct hak_heap *heap, struct hk_own_cache *cache) {
    if (cache != &heap->cache)
        hk_unlock(&cache->lock, HK_RANK_OWN_CACHE);
}

/* ---- Small blocks ---------------------------------------------------------------------------- */

/* Moves the empty run of a cell to an address. Meanwhile it ends before it starts, so that a forked
 * child never sees a run from the new start to the old end. Under OWN. */
static void own_move_run(struct hk_own_cell *cell, char *to) {
    hk_store_relaxed(&cell->end, NULL); /* relaxed: under the lock */
    hk_fence_stores();
    hk_store_relaxed(&cell->next, to); /* relaxed: as above */
    hk_fence_stores();
}

/* Fills an empty cell with a run. The stores are ordered for a forked child, which takes blocks
 * that are both in the cell and in the slab out of the slab. Under OWN. */
static void own_refill_run(struct hak_heap *heap, struct hk_own_cache *cache, size_t class,
                           struct hk_run run) {
    struct hk_own_cell *cell = &cache->cells[class];
    struct hk_span *slab = heap->slabs[class];
    char *first = hk_slab_block(slab, run.start);
    run.count = own_charge(heap, cell->bytes, run.count);

    cache->words[class] = first; /* without bits */
    own_move_run(cell, first);
    hk_store_relaxed(&cell->end, first + run.count * cell->bytes); /* relaxed: under the lock */
    hk_fence_stores();
    hk_slab_take_run(slab, run);
}

/* Fills an empty cell with the free blocks of a word, or the lowest ones of them. Stores as above.
 * Under OWN. */
static void own_refill_word(struct hak_heap *heap, struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    struct hk_span *slab = heap->slabs[class];
    struct hk_slab_word word = hk_slab_find_word(slab);
    uint32_t count = own_charge(heap, cell->bytes, (uint32_t)__builtin_popcountll(word.bits));
    uint64_t rest = word.bits;
    for (; count > 0; count--)
        rest &= rest - 1;
    word.bits &= ~rest;

    cache->words[class] = hk_own_word_at(slab, word.first);
    own_move_run(cell, cache->words[class]);
    hk_store_relaxed(&cell->end, cache->words[class]); /* relaxed: under the lock */
    hk_fence_stores();
    hk_store_relaxed(&cell->bits, word.bits); /* relaxed: as above */
    hk_fence_stores();
    hk_slab_take_word(slab, &word);
}

/* Fills an empty cell from the first slab, which has free blocks. Under OWN. */
static void own_refill_from(struct hak_heap *heap, struct hk_own_cache *cache, size_t class) {
    struct hk_span *slab = heap->slabs[class];
    struct hk_run run = hk_slab_find_run(slab, OWN_RUN_MOST);
    bool zero = slab->fresh && run.start >= slab->bump;
    cache->zero &= ~(UINT64_C(1) << class);
    cache->zero |= (uint64_t)zero << class;
    if (run.count >= OWN_RUN_LEAST || slab->free == 0)
        own_refill_run(heap, cache, class, run);
    else
        own_refill_word(heap, cache, class);
    if (hk_slab_is_exhausted(slab))
        heap->slabs[class] = slab->next;
}

/* Makes sure that the first slab of a class has free blocks. An empty slab is used again. Returns
 * false if there is none. Under OWN. */
static bool own_has_free(struct hak_heap *heap, size_t class) {
    if (hk_likely(heap->slabs[class] != NULL) && !hk_slab_is_exhausted(heap->slabs[class]))
        return true;
    return hk_own_reuse(heap, class);
}

/* Fills an empty cell from the first slab of its class. At the limit, the blocks in the other cells
 * of a shared cache are given back first, too. Under OWN. */
static bool own_refill_locked(struct hak_heap *heap, struct hk_own_cache *cache, size_t class,
                              struct hk_own_failure *failure) {
    uint64_t bytes = hk_own_classes[class].block_bytes;
    if (!own_has_free(heap, class))
        return false;
    if (hk_unlikely(own_rest(heap) < bytes))
        hk_own_flush(heap, cache);
    if (!own_allows(heap, bytes, failure))
        return false;
    own_refill_from(heap, cache, class);
    return true;
}

static bool own_refill(struct hak_heap *heap, struct hk_own_cache *cache, size_t class,
                       struct hk_own_failure *failure) {
    hk_own_lock(heap);
    bool filled = own_refill_locked(heap, cache, class, failure);
    hk_own_unlock(heap);
    return filled;
}

/* Takes a block out of a cell. */
static struct hk_block own_take_cell(struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    struct hk_block block = {NULL, (cache->zero >> class & 1) != 0};
    if (cell->next == cell->end && !hk_own_cell_run(cache, class))
        return block;
    block.start = cell->next;
    hk_store_relaxed(&cell->next, cell->next + cell->bytes); /* relaxed: see hk_own_take_fast */
    return block;
}

void *hk_own_take_near(struct hak_heap *heap, size_t class) {
    struct hk_own_cache *cache = &heap->cache;
    if (hk_count_is_on() || !hk_own_enter(heap))
        return NULL;
    void *block = own_take_cell(cache, class).start;
    if (block == NULL && heap->limit == 0 && own_has_free(heap, class)) {
        own_refill_from(heap, cache, class);
        block = own_take_cell(cache, class).start;
    }
    hk_own_leave();
    return block;
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

    block = own_take_cell(cache, class);
    if (block.start == NULL && own_refill(heap, cache, class, failure))
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
    uint32_t bytes = hk_own_classes[class].block_bytes;
    if (!own_has_free(heap, class) || !own_allows(heap, bytes, failure))
        return block;
    struct hk_span *slab = heap->slabs[class];
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
        hk_own_lock(heap);
        if (heap->id == ref->id)
            block = own_take_locked(heap, class, failure);
        else
            failure->fault = HK_OWN_GONE;
        hk_own_unlock(heap);
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
    hk_own_lock(heap);
    bool charged = false;
    if (heap->id != ref->id || ref->id == 0)
        failure->fault = HK_OWN_GONE;
    else
        charged = own_allows(heap, bytes, failure);
    if (charged)
        heap->used += bytes;
    hk_own_unlock(heap);
    return charged;
}

/* Adds a block to the heap, or subtracts the bytes if there is none. A heap that was merged
 * meanwhile gives the block to the heap of the arena. */
static void own_add_large(const struct hk_own_ref *ref, struct hk_arena *arena, size_t bytes,
                          const void *block) {
    struct hak_heap *heap = ref->heap;
    struct hk_span *span = block != NULL ? hk_pagemap_find(block) : NULL;
    hk_own_lock(heap);
    bool exists = heap->id == ref->id;
    if (exists)
        heap->used += (span != NULL ? span->bytes : 0) - bytes;
    if (exists && span != NULL)
        hk_own_link_large(heap, span);
    if (!exists && span != NULL)
        hk_span_set_owner(span, HK_HOLDER(struct hk_heap, arena, arena));
    hk_own_unlock(heap);
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
