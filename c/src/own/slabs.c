/* own/slabs.c - the slabs and large blocks of a private heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "slabs.h"

#include "../base/string.h"
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

void hk_own_link(struct hk_own_part *part, struct hk_span *slab) {
    struct hk_span **ring = &part->slabs[hk_own_by_class[slab->class]];
    slab->next = *ring != NULL ? *ring : slab;
    slab->prev = *ring != NULL ? (*ring)->prev : slab;
    slab->next->prev = slab;
    slab->prev->next = slab;
    *ring = slab;
}

void hk_own_unlink(struct hk_own_part *part, struct hk_span *slab) {
    struct hk_span **ring = &part->slabs[hk_own_by_class[slab->class]];
    if (*ring == slab)
        *ring = slab->next != slab ? slab->next : NULL;
    slab->prev->next = slab->next;
    slab->next->prev = slab->prev;
}

uint64_t hk_own_empty_bytes;

/* Counts an empty slab of a part, and of all heaps first, so that their sum is never too low in a
 * forked child. */
static void own_count_empty(struct hk_own_part *part, const struct hk_span *slab) {
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    if (!hk_peek(&part->heap)->keeps)
        hk_add_relaxed(&hk_own_empty_bytes, bytes); /* relaxed: a count */
    hk_fence_stores();
    hk_add_locked(&part->empty_bytes, bytes);
}

static void own_uncount_empty(struct hk_own_part *part, const struct hk_span *slab) {
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    hk_sub_locked(&part->empty_bytes, bytes);
    hk_fence_stores();
    if (!hk_peek(&part->heap)->keeps)
        hk_sub_relaxed(&hk_own_empty_bytes, bytes); /* relaxed: a count */
}

/* Whether a heap may keep so many bytes more of empty slabs. */
static bool own_may_keep(struct hak_heap *heap, uint64_t bytes) {
    uint64_t kept = 0;
    if (heap->keeps)
        return true;

    for (uint32_t i = hk_own_first_part(heap); i < HK_OWN_PARTS; i++) {
        const struct hk_own_part *part = hk_own_part_at(heap, i);
        kept += part != NULL ? hk_peek(&part->empty_bytes) : 0;
    }
    /* relaxed: a count */
    return kept + bytes <= OWN_EMPTY_BYTES &&
           hk_load_relaxed(&hk_own_empty_bytes) + bytes <= OWN_EMPTY_BYTES_ALL;
}

struct hk_span *hk_own_retire(struct hk_own_part *part, struct hk_span *slab) {
    struct hk_span **list = &part->empty[hk_own_by_class[slab->class]];
    uint64_t bytes = slab->granules * HK_GRANULE_BYTES;
    hk_own_unlink(part, slab);
    if (hk_unlikely(!own_may_keep(hk_peek(&part->heap), bytes))) {
        hk_pagemap_remove(slab);
        part->slab_bytes -= bytes;
        slab->next = NULL;
        return slab;
    }

    own_count_empty(part, slab);
    slab->next = *list;
    *list = slab;
    return NULL;
}

bool hk_own_reuse(struct hk_own_part *part, size_t class) {
    struct hk_span *slab = part->empty[class];
    if (slab == NULL)
        return false;
    part->empty[class] = slab->next;
    own_uncount_empty(part, slab);
    hk_own_link(part, slab);
    return true;
}

struct hk_span *hk_own_take_empty(struct hk_own_part *part, struct hk_span *spans, bool all) {
    for (size_t class = 1; part->empty_bytes > 0 && class < HK_OWN_CLASSES; ++class) {
        struct hk_span **link = &part->empty[class];
        while (*link != NULL) {
            struct hk_span *slab = *link;
            if (slab->scans++ == 0 && !all) {
                link = &slab->next;
                continue;
            }
            *link = slab->next;
            own_uncount_empty(part, slab);
            hk_pagemap_remove(slab);
            part->slab_bytes -= slab->granules * HK_GRANULE_BYTES;
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

/* ---- The limit ------------------------------------------------------------------------------- */

bool hk_own_reserve(struct hak_heap *heap, uint64_t bytes) {
    uint64_t used = hk_load_relaxed(&heap->used); /* relaxed: a count */
    uint64_t limit = hk_own_limit(heap);
    if (limit == 0)
        return true;
    do {
        if (used > limit || limit - used < bytes)
            return false;
    } while (!hk_cas_relaxed(&heap->used, &used, used + bytes)); /* relaxed: a count */
    return true;
}

/* ---- Cached blocks --------------------------------------------------------------------------- */

void hk_own_begin_cache(struct hk_own_cache *cache) {
    cache->user = cache->uses = 0;
    cache->zero = 0;
    memset(cache->cells, 0, sizeof cache->cells);
    memset(cache->words, 0, sizeof cache->words);
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
    if (bits != 0) {
        struct hk_run run = hk_word_run(bits);
        /* relaxed: the next store orders it */
        hk_store_relaxed(&cell->next, word + run.start * cell->bytes);
        /* release: the start, and then the run. They pair with the acquires in own_view. */
        hk_store_release(&cell->end, word + (run.start + run.count) * cell->bytes);
    }
    hk_store_release(&cell->bits, hk_word_after_run(bits));
    return bits != 0;
}

void hk_own_settle(struct hk_own_cache *cache) {
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_own_cell *cell = &cache->cells[class];
        char *next = hk_load_relaxed(&cell->next); /* relaxed: the thread has vanished */
        if (hk_load_relaxed(&cell->end) < next)    /* relaxed: as above */
            hk_store_relaxed(&cell->end, next);    /* relaxed: as above */
    }
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

uint64_t hk_own_cached(const struct hk_own_part *part, const struct hk_span *slab, uint32_t index) {
    size_t class = hk_own_by_class[slab->class];
    struct own_view view = own_view(&part->cache, class);
    uint64_t bits = part->cache.words[class] == hk_own_word_at(slab, index) ? view.bits : 0;
    own_add_run(&bits, &view, slab, index);
    return bits;
}

/* Gives the blocks of a cell back that are in one word of their slab. */
static void own_flush_word(struct hk_own_part *part, struct hk_span *slab, uint32_t first,
                           uint64_t bits) {
    struct hk_slab_word word = {bits, first};
    if (bits == 0)
        return;
    if (hk_slab_is_exhausted(slab)) {
        hk_own_unlink(part, slab);
        hk_own_link(part, slab);
    }
    hk_slab_give_word(slab, &word);
    hk_own_unreserve(hk_peek(&part->heap), (unsigned)__builtin_popcountll(bits) *
                                               (uint64_t)hk_classes[slab->class].block_bytes);
}

static void own_flush_cell(struct hk_own_part *part, size_t class) {
    struct hk_own_cache *cache = &part->cache;
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
        own_flush_word(part, slab, first, bits);
    }
}

bool hk_own_flush(struct hk_own_part *part) {
    bool flushed = false;
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        flushed |= hk_own_cell_count(&part->cache, class) > 0;
        own_flush_cell(part, class);
    }
    return flushed;
}

bool hk_own_flush_shared(const struct hk_own_ref *ref) {
    bool flushed = false;
    for (uint32_t i = HK_OWN_THREADS; i < HK_OWN_SHARED; i++) {
        struct hk_own_part *part = hk_own_part_at(ref->heap, i);
        if (part == NULL)
            continue;
        hk_lock(&part->cache.lock, HK_RANK_OWN_CACHE);
        hk_own_lock(part);
        flushed |= hk_own_is_of(part, ref) && hk_own_flush(part);
        hk_own_unlock(part);
        hk_unlock(&part->cache.lock, HK_RANK_OWN_CACHE);
    }
    return flushed;
}

bool hk_own_make_room(struct hk_own_part *part, uint64_t bytes) {
    struct hak_heap *heap = hk_peek(&part->heap);
    uint32_t owner = hk_peek(&part->owner);
    if (hk_likely(hk_own_reserve(heap, bytes)))
        return true;
    return (owner == hk_owner_self || !hk_owner_exists(owner)) && hk_own_flush(part) &&
           hk_own_reserve(heap, bytes);
}

/* ---- Creation and release -------------------------------------------------------------------- */

struct hk_arena *hk_own_arena(void) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    if (thread != NULL)
        hk_slow_tick(thread);
    return heap != NULL ? &heap->arena : NULL;
}

static struct hk_span *own_create(struct hk_own_part *part, size_t own_class,
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
    slab->owner = hk_own_tag(part);
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
static enum hk_granules_use own_use(struct hk_own_part *part, size_t class) {
    hk_own_lock(part);
    bool dense = part->slabs[class] != NULL;
    hk_own_unlock(part);
    return dense ? HK_GRANULES_DENSE : HK_GRANULES_SPARSE;
}

/* Takes an empty slab out of another part, unless that has a thread which needs no lock. To take
 * the bias away would cost more. A thread that frees a block of the slab twice finds the new part.
 * Returns NULL if there is none. */
static struct hk_span *own_take_over(const struct hk_own_ref *ref, struct hk_own_part *from,
                                     struct hk_own_part *part, size_t class) {
    if (from == NULL || from == part || hk_peek(&from->empty_bytes) == 0 ||
        hk_peek(&from->bias) != HK_OWNER_NOBODY)
        return NULL;

    hk_own_lock(from);
    struct hk_span *slab = hk_own_is_of(from, ref) ? from->empty[class] : NULL;
    if (slab != NULL) {
        from->empty[class] = slab->next;
        own_uncount_empty(from, slab);
        from->slab_bytes -= slab->granules * HK_GRANULE_BYTES;
        hk_span_set_owner(slab, hk_own_tag(part));
    }
    hk_own_unlock(from);
    return slab;
}

/* An empty slab of another part, or a new slab. Returns NULL if out of memory. */
static struct hk_span *own_get_slab(const struct hk_own_ref *ref, struct hk_own_part *part,
                                    size_t class) {
    struct hk_span *slab = NULL;
    for (uint32_t i = hk_own_first_part(ref->heap); slab == NULL && i < HK_OWN_PARTS; i++)
        slab = own_take_over(ref, hk_own_part_at(ref->heap, i), part, class);
    return slab != NULL ? slab : own_create(part, class, own_use(part, class));
}

bool hk_own_grow(const struct hk_own_ref *ref, struct hk_own_part *part, size_t class) {
    struct hk_span *slab = own_get_slab(ref, part, class);
    if (slab == NULL)
        return false;

    hk_own_lock(part);
    bool exists = hk_own_is_of(part, ref);
    if (exists) {
        hk_own_link(part, slab);
        part->slab_bytes += slab->granules * HK_GRANULE_BYTES;
    }
    hk_own_unlock(part);

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
