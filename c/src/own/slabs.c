/* own/slabs.c - the slabs and large blocks of a private heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "slabs.h"

#include <string.h>

#include "../core/large.h"
#include "../core/pagemap.h"
#include "../thread/slow.h"
#include "../thread/thread.h"
#include "../thread/threads.h"

/* Empty slabs that wait for the purge delay. */
enum {
    OWN_EMPTY_BYTES = 4 << 20,      /* of one heap */
    OWN_EMPTY_BYTES_ALL = 64 << 20, /* of all heaps */
};

/* ---- Rings and lists ------------------------------------------------------------------------- */

void hk_own_link(struct hak_heap *heap, struct hk_span *slab) {
    struct hk_span **ring = &heap->slabs[hk_own_by_class[slab->class]];
    slab->next = *ring != NULL ? *ring : slab;
    slab->prev = *ring != NULL ? (*ring)->prev : slab;
    slab->next->prev = slab;
    slab->prev->next = slab;
    *ring = slab;
}

void hk_own_unlink(struct hak_heap *heap, struct hk_span *slab) {
    struct hk_span **ring = &heap->slabs[hk_own_by_class[slab->class]];
    if (*ring == slab)
        *ring = slab->next != slab ? slab->next : NULL;
    slab->prev->next = slab->next;
    slab->next->prev = slab->prev;
}

uint64_t hk_own_empty_bytes;

/* Counts the empty slabs of a heap, and of all heaps first, so that their sum is never too low in a
 * forked child. */
static void own_count_empty(struct hak_heap *heap, const struct hk_span *slab) {
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    if (!heap->keeps)
        hk_add_relaxed(&hk_own_empty_bytes, bytes); /* relaxed: a count */
    hk_fence_stores();
    hk_add_locked(&heap->empty_bytes, bytes);
}

static void own_uncount_empty(struct hak_heap *heap, const struct hk_span *slab) {
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    hk_sub_locked(&heap->empty_bytes, bytes);
    hk_fence_stores();
    if (!heap->keeps)
        hk_sub_relaxed(&hk_own_empty_bytes, bytes); /* relaxed: a count */
}

/* Whether a heap may keep so many bytes more of empty slabs. */
static bool own_may_keep(const struct hak_heap *heap, uint64_t bytes) {
    /* relaxed: a count */
    return heap->keeps || (heap->empty_bytes + bytes <= OWN_EMPTY_BYTES &&
                           hk_load_relaxed(&hk_own_empty_bytes) + bytes <= OWN_EMPTY_BYTES_ALL);
}

struct hk_span *hk_own_retire(struct hak_heap *heap, struct hk_span *slab) {
    struct hk_span **list = &heap->empty[hk_own_by_class[slab->class]];
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    hk_own_unlink(heap, slab);
    if (hk_unlikely(!own_may_keep(heap, bytes))) {
        hk_pagemap_remove(slab);
        heap->slab_bytes -= bytes;
        slab->next = NULL;
        return slab;
    }

    own_count_empty(heap, slab);
    slab->next = *list;
    *list = slab;
    return NULL;
}

bool hk_own_reuse(struct hak_heap *heap, size_t class) {
    struct hk_span *slab = heap->empty[class];
    if (slab == NULL)
        return false;
    heap->empty[class] = slab->next;
    own_uncount_empty(heap, slab);
    hk_own_link(heap, slab);
    return true;
}

struct hk_span *hk_own_take_empty(struct hak_heap *heap, struct hk_span *spans, bool all) {
    for (size_t class = 1; heap->empty_bytes > 0 && class < HK_OWN_CLASSES; ++class) {
        struct hk_span **link = &heap->empty[class];
        while (*link != NULL) {
            struct hk_span *slab = *link;
            if (slab->scans++ == 0 && !all) {
                link = &slab->next;
                continue;
            }
            *link = slab->next;
            own_uncount_empty(heap, slab);
            hk_pagemap_remove(slab);
            heap->slab_bytes -= slab->granules * HK_GRANULE_BYTES;
            slab->next = spans;
            spans = slab;
        }
    }
    return spans;
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

void hk_own_begin_cache(struct hk_own_cache *cache) {
    memset(cache, 0, sizeof *cache);
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class)
        cache->cells[class].bytes = hk_own_classes[class].block_bytes;
}

/* The number of blocks of a class between two addresses. */
static uint32_t own_blocks(const char *from, const char *to, size_t class) {
    return hk_class_index(&hk_classes[hk_own_classes[class].class], (uint32_t)(to - from));
}

/* What a cell holds at one time. */
struct own_view {
    const char *next;
    const char *end; /* not before `next` */
    uint64_t bits;
};

/* The bits are loaded first and the end of the run before its start. So a block that moves to the
 * run is seen in one of them, and an old start never precedes a new end. */
static struct own_view own_view(const struct hk_own_cache *cache, size_t class) {
    const struct hk_own_cell *cell = &cache->cells[class];
    const char *word = cache->words[class];
    struct own_view view;
    /* acquire: pairs with the releases in hk_own_cell_run */
    view.bits = hk_load_acquire(&cell->bits);
    view.end = hk_load_acquire(&cell->end);
    view.next = hk_load_relaxed(&cell->next); /* relaxed: acquired with the end */
    if (view.end < view.next)
        view.end = view.next;

    if (view.bits != 0 && view.next > word) {
        uint32_t before = own_blocks(word, view.next, class);
        view.bits = before < HK_WORD_BITS ? view.bits & UINT64_MAX << before : 0;
    }
    return view;
}

uint32_t hk_own_cell_count(const struct hk_own_cache *cache, size_t class) {
    struct own_view view = own_view(cache, class);
    uint64_t bits = view.bits;
    if (bits != 0 && view.end > view.next) { /* blocks in both */
        uint32_t before = own_blocks(cache->words[class], view.end, class);
        bits = before < HK_WORD_BITS ? bits & UINT64_MAX << before : 0;
    }
    return (uint32_t)__builtin_popcountll(bits) + own_blocks(view.next, view.end, class);
}

bool hk_own_cell_run(struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    char *word = cache->words[class];
    if (cell->bits == 0)
        return false;

    uint64_t bits = own_view(cache, class).bits;
    struct hk_run run = hk_bits_run(&bits, HK_WORD_BITS, 0, true);
    if (run.count > 0) {
        /* relaxed: the next store orders it */
        hk_store_relaxed(&cell->next, word + run.start * cell->bytes);
        /* release: the start, and then the run. They pair with the acquires in own_view. */
        hk_store_release(&cell->end, word + (run.start + run.count) * cell->bytes);
    }
    hk_bits_fill(&bits, run, false);
    hk_store_release(&cell->bits, bits);
    return run.count > 0;
}

/* Adds the blocks of a run that lie in one word of a slab. */
static void own_add_run(uint64_t *bits, const struct own_view *view, const struct hk_span *slab,
                        uint32_t index) {
    size_t class = hk_own_by_class[slab->class];
    const char *word = hk_own_word_at(slab, index);
    uint32_t last = index / HK_WORD_BITS * HK_WORD_BITS + HK_WORD_BITS;
    const char *end = hk_slab_block(slab, last < slab->blocks ? last : slab->blocks);
    const char *from = view->next > word ? view->next : word;
    const char *to = view->end < end ? view->end : end;
    if (from >= to)
        return;
    struct hk_run run = {own_blocks(word, from, class), own_blocks(from, to, class)};
    hk_bits_fill(bits, run, true);
}

/* The same order of loads as in own_view. */
HK_FAST bool own_cell_has(const struct hk_own_cache *cache, size_t class, const char *block,
                          uint32_t bit) {
    const struct hk_own_cell *cell = &cache->cells[class];
    /* acquire: as in own_view */
    uint64_t bits = hk_load_acquire(&cell->bits);
    const char *end = hk_load_acquire(&cell->end);
    const char *next = hk_load_relaxed(&cell->next); /* relaxed: as in own_view */
    if (block < next)
        return false;
    return block < end ||
           (((bits >> bit) & 1) != 0 && block - bit * cell->bytes == cache->words[class]);
}

static HK_SLOW bool own_shared_has(struct hak_heap *heap, size_t class, const char *block,
                                   uint32_t bit) {
    bool cached = false;
    for (uint32_t i = 0; !cached && i < HK_OWN_SHARED; i++) {
        const struct hk_own_cache *cache = hk_own_cache_at(heap, i);
        cached = cache != NULL && own_cell_has(cache, class, block, bit);
    }
    return cached;
}

bool hk_own_is_cached(struct hak_heap *heap, const struct hk_span *slab, const char *block,
                      uint32_t index) {
    size_t class = hk_own_by_class[slab->class];
    uint32_t bit = index % HK_WORD_BITS;
    return own_cell_has(&heap->cache, class, block, bit) ||
           (hk_unlikely(heap->sharing > 0) && own_shared_has(heap, class, block, bit));
}

uint64_t hk_own_cached(struct hak_heap *heap, const struct hk_span *slab, uint32_t index) {
    size_t class = hk_own_by_class[slab->class];
    const char *word = hk_own_word_at(slab, index);
    uint64_t bits = 0;
    for (uint32_t i = heap->sharing > 0 ? 0 : HK_OWN_SHARED; i < HK_OWN_CACHES; i++) {
        const struct hk_own_cache *cache = hk_own_cache_at(heap, i);
        if (cache == NULL)
            continue;
        struct own_view view = own_view(cache, class);
        if (cache->words[class] == word)
            bits |= view.bits;
        own_add_run(&bits, &view, slab, index);
    }
    return bits;
}

/* Gives the blocks of a cell back that are in one word of their slab. */
static void own_flush_word(struct hak_heap *heap, struct hk_span *slab, uint32_t first,
                           uint64_t bits) {
    struct hk_slab_word word = {bits, first};
    if (bits == 0)
        return;
    if (hk_slab_is_exhausted(slab)) {
        hk_own_unlink(heap, slab);
        hk_own_link(heap, slab);
    }
    hk_slab_give_word(slab, &word);
    if (heap->limit != 0)
        heap->used -=
            (unsigned)__builtin_popcountll(bits) * (uint64_t)hk_classes[slab->class].block_bytes;
}

static void own_flush_cell(struct hak_heap *heap, struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    struct own_view view = own_view(cache, class);
    if (view.bits == 0 && view.next == view.end)
        return;

    /* relaxed: under the lock, and the caller uses the cache */
    hk_store_relaxed(&cell->bits, 0);
    hk_store_relaxed(&cell->end, (char *)(uintptr_t)view.next); /* relaxed: as above */
    hk_fence_stores();                                          /* as in own_refill_from */

    const char *at = view.bits != 0 ? cache->words[class] : view.next;
    struct hk_span *slab = hk_pagemap_find(at);
    for (uint32_t first = 0; first < slab->blocks; first += HK_WORD_BITS) {
        const char *word = hk_own_word_at(slab, first);
        uint64_t bits = word == cache->words[class] ? view.bits : 0;
        own_add_run(&bits, &view, slab, first);
        own_flush_word(heap, slab, first, bits);
    }
}

bool hk_own_flush(struct hak_heap *heap, struct hk_own_cache *cache) {
    bool flushed = false;
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        flushed |= hk_own_cell_count(cache, class) > 0;
        own_flush_cell(heap, cache, class);
    }
    return flushed;
}

bool hk_own_flush_shared(struct hak_heap *heap) {
    bool flushed = false;
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        /* acquire: pairs with the release in own_add_cache */
        struct hk_own_cache *cache = hk_load_acquire(&heap->shared[i]);
        if (cache == NULL)
            continue;
        hk_lock(&cache->lock, HK_RANK_OWN_CACHE);
        hk_own_lock(heap);
        flushed |= hk_own_flush(heap, cache);
        hk_own_unlock(heap);
        hk_unlock(&cache->lock, HK_RANK_OWN_CACHE);
    }
    return flushed;
}

/* ---- Creation and release -------------------------------------------------------------------- */

struct hk_arena *hk_own_arena(void) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    if (thread != NULL)
        hk_slow_tick(thread);
    return heap != NULL ? &heap->arena : NULL;
}

static struct hk_span *own_create(struct hak_heap *heap, size_t own_class,
                                  enum hk_granules_use use) {
    size_t class = hk_own_classes[own_class].class;
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
    hk_own_lock(heap);
    bool dense = heap->id == ref->id && heap->slabs[class] != NULL;
    hk_own_unlock(heap);
    return dense ? HK_GRANULES_DENSE : HK_GRANULES_SPARSE;
}

bool hk_own_grow(const struct hk_own_ref *ref, size_t class) {
    struct hak_heap *heap = ref->heap;
    struct hk_span *slab = own_create(heap, class, own_use(heap, ref, class));
    if (slab == NULL)
        return false;

    hk_own_lock(heap);
    bool exists = heap->id == ref->id;
    if (exists) {
        hk_own_link(heap, slab);
        heap->slab_bytes += slab->granules * HK_GRANULE_BYTES;
    }
    hk_own_unlock(heap);

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
