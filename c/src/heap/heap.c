/* heap/heap.c - slabs. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "heap.h"

#include <string.h>

#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/meta.h"
#include "../core/options.h"
#include "../core/pagemap.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../transfer/transfer.h"

enum {
    HEAP_EMPTY_KEPT = 1, /* empty slabs a class keeps, so that a program at the edge of one does not
                            make and release it over and over */
    HEAP_DENSE_BYTES = 4096, /* blocks to this size are taken to be touched in every page */
    HEAP_SPARSE_PART = 4,    /* a slab with 1/4 free breaks up a huge page */
};

struct hk_heap *hk_heap_create(void) {
    struct hk_heap *heap = hk_meta_alloc(sizeof(struct hk_heap));
    if (heap != NULL)
        memset(heap, 0, sizeof *heap);
    return heap;
}

/* ---- The list of slabs that are not exhausted (under the class lock) ---------------------------- */

static void class_push_first(struct hk_heap_class *hc, struct hk_span *slab) {
    slab->prev = NULL;
    slab->next = hc->first;
    if (hc->first != NULL)
        hc->first->prev = slab;
    else
        hc->last = slab;
    hc->first = slab;
    hc->listed++;
}

static void class_push_last(struct hk_heap_class *hc, struct hk_span *slab) {
    slab->next = NULL;
    slab->prev = hc->last;
    if (hc->last != NULL)
        hc->last->next = slab;
    else
        hc->first = slab;
    hc->last = slab;
    hc->listed++;
}

static void class_remove(struct hk_heap_class *hc, struct hk_span *slab) {
    if (slab->prev != NULL)
        slab->prev->next = slab->next;
    else
        hc->first = slab->next;
    if (slab->next != NULL)
        slab->next->prev = slab->prev;
    else
        hc->last = slab->prev;
    hc->listed--;
}

/* ---- Slabs come and go (no lock held) ----------------------------------------------------------- */

static struct hk_span *slab_create(struct hk_heap *heap, size_t class) {
    struct hk_span *slab = hk_span_create(class);
    if (slab == NULL)
        return NULL;
    uint32_t granules = hk_classes[class].granules;
    enum hk_granules_use use =
        hk_classes[class].block_bytes <= HEAP_DENSE_BYTES ? HK_GRANULES_DENSE : HK_GRANULES_SPARSE;
    struct hk_granules run = hk_arena_take(&heap->arena, granules, use);
    if (run.chunk == NULL) {
        hk_span_destroy(slab);
        return NULL;
    }
    slab->base = run.base;
    slab->owner = heap;
    slab->chunk = run.chunk;
    slab->granules = granules;
    slab->bytes = (size_t)slab->blocks * hk_classes[class].block_bytes;
    slab->fresh = run.zero;
    if (!hk_pagemap_enter(slab)) {
        hk_arena_give(slab->chunk, slab->base, slab->granules);
        hk_span_destroy(slab);
        return NULL;
    }
    return slab;
}

/* Releases a list of empty slabs, linked by `next`. */
static void slabs_release(struct hk_span *slab) {
    while (slab != NULL) {
        struct hk_span *next = slab->next;
        hk_pagemap_remove(slab);
        hk_arena_give(slab->chunk, slab->base, slab->granules);
        hk_span_destroy(slab);
        slab = next;
    }
}

/* Adds a slab to the heap; false without memory. */
static bool class_grow(struct hk_heap *heap, size_t class) {
    struct hk_span *slab = slab_create(heap, class);
    if (slab == NULL)
        return false;
    struct hk_heap_class *hc = &heap->classes[class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    class_push_first(hc, slab);
    hc->slabs++;
    hc->empty++;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return true;
}

/* Under the lock. */
static void class_note_use(struct hk_heap_class *hc) {
    hk_store_relaxed(&hc->uses, hc->uses + 1); /* relaxed: stored under the lock */
}

/* ---- Taking ------------------------------------------------------------------------------------- */

static uint32_t class_take_from_slabs(struct hk_heap_class *hc, void **to, uint32_t count) {
    uint32_t taken = 0;
    while (taken < count && hc->first != NULL) {
        struct hk_span *slab = hc->first;
        hc->empty -= hk_slab_is_empty(slab);
        taken += hk_slab_take(slab, to + taken, count - taken);
        if (hk_slab_is_exhausted(slab))
            class_remove(hc, slab);
    }
    hc->blocks_allocated += taken;
    return taken;
}

uint32_t hk_heap_take(struct hk_heap *heap, size_t class, void **to, uint32_t count) {
    struct hk_heap_class *hc = &heap->classes[class];
    do {
        hk_lock(&hc->lock, HK_RANK_CLASS);
        uint32_t taken = class_take_from_slabs(hc, to, count);
        hc->refills += taken > 0;
        class_note_use(hc);
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        if (taken > 0)
            return taken;
    } while (class_grow(heap, class));
    return 0;
}

struct hk_block hk_heap_take_one(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct hk_block block = {NULL, false};
    do {
        hk_lock(&hc->lock, HK_RANK_CLASS);
        class_note_use(hc);
        if (hc->first != NULL) {
            struct hk_span *slab = hc->first;
            hc->empty -= hk_slab_is_empty(slab);
            block = hk_slab_take_one(slab);
            hc->blocks_allocated++;
            if (hk_slab_is_exhausted(slab))
                class_remove(hc, slab);
        }
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        if (block.start != NULL)
            return block;
    } while (class_grow(heap, class));
    return block;
}

/* ---- Giving ------------------------------------------------------------------------------------- */

static const char *const give_causes[] = {
    [HK_SLAB_NOT_A_BLOCK] = HK_CAUSE_ALIEN,
    [HK_SLAB_INSIDE_BLOCK] = HK_CAUSE_INSIDE,
    [HK_SLAB_ALREADY_FREE] = HK_CAUSE_FREE,
};

/* Puts a slab that got free blocks where it belongs: into the list if it was exhausted, to
 * *released if it is empty and one empty slab is kept already. */
static void class_place(struct hk_heap_class *hc, struct hk_span *slab, bool was_exhausted,
                        struct hk_span **released) {
    if (was_exhausted)
        class_push_last(hc, slab);
    if (!hk_slab_is_empty(slab))
        return;
    if (hc->empty < HEAP_EMPTY_KEPT) {
        hc->empty++;
        return;
    }
    class_remove(hc, slab);
    hc->slabs--;
    slab->next = *released;
    *released = slab;
}

/* Puts the block at `index` into its slab; the caller counts it in `blocks_allocated`. */
HK_FAST enum hk_slab_result class_give(struct hk_heap_class *hc, struct hk_span *slab,
                                       uint32_t index, struct hk_span **released) {
    enum hk_slab_result result = hk_slab_look_at(slab, index);
    if (hk_unlikely(result != HK_SLAB_DONE))
        return result;
    bool was_exhausted = hk_slab_is_exhausted(slab);
    hk_slab_give(slab, index);
    if (hk_unlikely(was_exhausted || hk_slab_is_empty(slab)))
        class_place(hc, slab, was_exhausted, released);
    return HK_SLAB_DONE;
}

/* The place of `block` in `slab`, which the pagemap names. A wrong class means that the pointer
 * lies in somebody else's slab by now. */
HK_FAST enum hk_slab_result class_locate(size_t class, const struct hk_span *slab,
                                         const void *block, uint32_t *index) {
    if (hk_unlikely(slab == NULL || slab->class != class))
        return HK_SLAB_NOT_A_BLOCK;
    return hk_slab_locate(slab, &hk_classes[class], block, index);
}

/* One batch on its way to the owner heaps. It lies on the stack, which may be small. */
struct give_batch {
    size_t class;
    uint32_t count;                      /* blocks that are not delivered yet */
    struct hk_span *slabs[HK_BATCH_MAX]; /* their slabs */
    uint16_t indexes[HK_BATCH_MAX];      /* their places in the slabs */
    bool idle;                           /* see hk_heap_give_idle */
    struct hk_mistakes *mistakes;
};

static inline void batch_put(struct give_batch *batch, uint32_t at, struct hk_span *slab,
                             uint32_t index) {
    batch->slabs[at] = slab;
    batch->indexes[at] = (uint16_t)index;
}

/* Finds the place of each block, before any lock is taken, and lets the processor fetch its bit. */
static void batch_resolve(struct give_batch *batch, void *const *blocks, uint32_t count) {
    struct hk_span *slab = NULL;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        uint32_t index;
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes)
            slab = hk_pagemap_find(block);
        enum hk_slab_result result = class_locate(batch->class, slab, block, &index);
        if (hk_unlikely(result != HK_SLAB_DONE)) {
            hk_mistakes_add(batch->mistakes, block, give_causes[result]);
            continue;
        }
        hk_prefetch_for_write(&slab->bits[index / HK_WORD_BITS]);
        batch_put(batch, found++, slab, index);
    }
    batch->count = found;
}

/* Delivers the blocks of one heap under one lock; the others stay in the batch. */
static struct hk_span *batch_deliver(struct give_batch *batch, struct hk_heap *heap) {
    struct hk_heap_class *hc = &heap->classes[batch->class];
    struct hk_span *released = NULL;
    uint32_t left = 0;
    uint32_t given = 0;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hc->flushes++;
    class_note_use(hc);
    hc->uses_seen += batch->idle; /* so the class rests as before, but is scanned */
    for (uint32_t i = 0; i < batch->count; i++) {
        struct hk_span *slab = batch->slabs[i];
        uint32_t index = batch->indexes[i];
        if (hk_unlikely(slab->owner != heap)) {
            batch_put(batch, left++, slab, index);
            continue;
        }
        enum hk_slab_result result = class_give(hc, slab, index, &released);
        given += result == HK_SLAB_DONE;
        if (hk_unlikely(result != HK_SLAB_DONE))
            hk_mistakes_add(batch->mistakes, hk_slab_block(slab, index), give_causes[result]);
    }
    hc->blocks_allocated -= given;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    batch->count = left;
    return released;
}

static void heap_give(size_t class, void *const *blocks, uint32_t count,
                      struct hk_mistakes *mistakes, bool idle) {
    struct give_batch batch;
    batch.class = class;
    batch.idle = idle;
    batch.mistakes = mistakes;
    while (count > 0) {
        uint32_t n = count < HK_BATCH_MAX ? count : HK_BATCH_MAX;
        batch_resolve(&batch, blocks, n);
        while (batch.count > 0)
            slabs_release(batch_deliver(&batch, batch.slabs[0]->owner));
        blocks += n;
        count -= n;
    }
    hk_dirty_signal(); /* pages between blocks that live on */
}

void hk_heap_give(size_t class, void *const *blocks, uint32_t count, struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, false);
}

void hk_heap_give_idle(size_t class, void *const *blocks, uint32_t count,
                       struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, true);
}

uint32_t hk_heap_check_batch(size_t class, void **blocks, uint32_t count,
                             struct hk_mistakes *mistakes) {
    struct hk_span *slab = NULL;
    uint32_t good = 0;
    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        uint32_t index;
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes)
            slab = hk_pagemap_find(block);
        enum hk_slab_result result = class_locate(class, slab, block, &index);
        if (hk_likely(result == HK_SLAB_DONE))
            result = hk_slab_guess(slab, index);
        if (hk_likely(result == HK_SLAB_DONE))
            blocks[good++] = block;
        else
            hk_mistakes_add(mistakes, block, give_causes[result]);
    }
    return good;
}

void hk_heap_give_one(const char *function, size_t class, void *block) {
    struct hk_span *slab = hk_pagemap_find(block);
    struct hk_span *released = NULL;
    uint32_t index;
    enum hk_slab_result result = class_locate(class, slab, block, &index);
    if (hk_likely(result == HK_SLAB_DONE)) {
        struct hk_heap *heap = slab->owner;
        struct hk_heap_class *hc = &heap->classes[class];
        hk_lock(&hc->lock, HK_RANK_CLASS);
        class_note_use(hc);
        result = class_give(hc, slab, index, &released);
        hc->blocks_allocated -= result == HK_SLAB_DONE;
        hk_unlock(&hc->lock, HK_RANK_CLASS);
    }
    slabs_release(released);
    hk_dirty_signal(); /* as in hk_heap_give */
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_bad_pointer(function, block, give_causes[result]);
}

struct search {
    const void *block;
    bool found;
};

static void search_visit(void *arg, void *const *blocks, uint32_t count) {
    struct search *search = arg;
    for (uint32_t i = 0; i < count; i++)
        search->found |= blocks[i] == search->block;
}

bool hk_heap_check(const char *function, const void *block) {
    struct hk_span *span = hk_pagemap_find(block);
    enum hk_slab_result result = HK_SLAB_NOT_A_BLOCK;
    if (span != NULL && span->class == HK_CLASS_NONE) {
        result = (uintptr_t)block == span->base ? HK_SLAB_DONE : HK_SLAB_INSIDE_BLOCK;
    } else if (span != NULL) {
        struct hk_heap *heap = span->owner;
        struct hk_heap_class *hc = &heap->classes[span->class];
        hk_lock(&hc->lock, HK_RANK_CLASS);
        result = hk_slab_look(span, block);
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        struct search search = {block, false};
        hk_transfer_each(span->class, search_visit, &search);
        if (result == HK_SLAB_DONE && search.found)
            result = HK_SLAB_ALREADY_FREE;
    }
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_bad_pointer(function, block, give_causes[result]);
    return result == HK_SLAB_DONE;
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
        hk_bad_pointer(function, block, give_causes[result]);
    return result == HK_SLAB_DONE;
}

/* ---- Extending ---------------------------------------------------------------------------------- */

/* Takes a slab whose only block is out from its class; false if the block is not out. */
static bool class_withdraw(struct hk_span *slab) {
    struct hk_heap *heap = slab->owner;
    struct hk_heap_class *hc = &heap->classes[slab->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    bool out = hk_slab_is_exhausted(slab); /* so it is in no list */
    hc->slabs -= out;
    hc->blocks_allocated -= out;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return out;
}

/* In a forked child, the repair of a class counts all slabs that are entered, so it must not come
 * between entering a slab and counting it. */
static void class_repair_if_orphaned(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

/* Adds a slab whose only block is out to its class. */
static void class_adopt(struct hk_span *slab) {
    struct hk_heap *heap = slab->owner;
    struct hk_heap_class *hc = &heap->classes[slab->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hc->slabs++;
    hc->blocks_allocated++;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

/* The granules that the block of a slab would have; 0 if it cannot be extended to that. */
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

/* A descriptor like that of `slab`, for so many granules. */
static struct hk_span *extend_span(const struct hk_span *slab, size_t new_class, uint32_t granules,
                                   size_t size) {
    struct hk_span *span = hk_span_create(new_class);
    if (span == NULL)
        return NULL;
    span->base = slab->base;
    span->owner = slab->owner;
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
    if (slab == NULL || slab->class != class || slab->base != (uintptr_t)block)
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
    if (!class_withdraw(slab)) {
        hk_arena_give(slab->chunk, slab->base + slab->granules * HK_GRANULE_BYTES, more);
        hk_span_destroy(span);
        return false;
    }
    class_repair_if_orphaned(slab->owner, new_class);
    hk_pagemap_remove(slab);
    bool entered = hk_pagemap_enter(span);
    hk_assert(entered);
    (void)entered;
    hk_span_destroy(slab);
    if (new_class != HK_CLASS_NONE)
        class_adopt(span);
    else
        hk_large_begin(span);
    return true;
}

/* ---- Scans --------------------------------------------------------------------------------------- */

enum { SCAN_SLABS_PER_CALL = 64 }; /* visits of slabs that count as one system call of the budget */

/* Takes the empty slabs out of the list. Under the lock. */
static struct hk_span *class_detach_empty(struct hk_heap_class *hc, struct hk_span *released) {
    for (struct hk_span *slab = hc->first; slab != NULL && hc->empty > 0;) {
        struct hk_span *next = slab->next;
        if (hk_slab_is_empty(slab)) {
            class_remove(hc, slab);
            hc->slabs--;
            hc->empty--;
            slab->next = released;
            released = slab;
        }
        slab = next;
    }
    return released;
}

/* Releases the empty slabs of a class that rests. */
static void class_rest(struct hk_heap_class *hc, struct hk_scan *scan) {
    struct hk_span *released = NULL;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    bool rests = scan->which == HK_PURGE_ALL || hc->uses == hc->uses_seen;
    hc->uses_seen = hc->uses;
    scan->waiting_before = scan->waiting;
    if (rests && hc->empty > 0)
        released = class_detach_empty(hc, released);
    scan->waiting += hc->empty;
    scan->left = hc->listed;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    slabs_release(released);
}

/* A slab that is mostly in use in a chunk with huge pages: its few free pages are not worth one. */
static bool slab_keeps_pages(const struct hk_span *slab, enum hk_purge which) {
    /* relaxed: stored under PURGE, which is held */
    return which == HK_PURGE_DECAYED && hk_load_relaxed(&slab->chunk->huge) &&
           slab->free < slab->blocks / HEAP_SPARSE_PART;
}

/* Gives back the OS pages that lie wholly in the blocks `bits` of a slab. */
static void slab_purge_pages(const struct hk_span *slab, const uint64_t *bits,
                             struct hk_scan *scan) {
    size_t block_bytes = hk_classes[slab->class].block_bytes;
    size_t page = hk_os_page_bytes();
    for (uint32_t at = 0; at < slab->blocks;) {
        struct hk_run run = hk_bits_run(bits, slab->blocks, at, true);
        at = run.start + run.count;
        uintptr_t start = hk_round_up(slab->base + run.start * block_bytes, page);
        uintptr_t end = (slab->base + at * block_bytes) & ~(page - 1);
        if (run.count == 0 || start >= end)
            continue;
        hk_arena_stop_huge(slab->chunk);
        bool done = hk_os_purge((void *)start, end - start);
        scan->purged_bytes += done ? end - start : 0;
        hk_purge_spend(&scan->budget, 1, done ? end - start : 0);
    }
}

/* The slab of which a purge has taken the free blocks. */
static struct hk_span *heap_purging(const struct hk_heap *heap) {
    /* relaxed: its bits are read under its class lock, or in a forked child without a purge */
    return hk_load_relaxed(&heap->purging);
}

/* Puts the blocks back that were taken while their pages were given back. Under the lock. */
static void class_end_purge(struct hk_heap *heap, struct hk_span **released) {
    struct hk_span *slab = heap_purging(heap);
    struct hk_heap_class *hc = &heap->classes[slab->class];
    bool was_exhausted = hk_slab_is_exhausted(slab);
    uint32_t free_before = slab->free;
    hk_slab_give_all(slab, heap->purging_bits);
    hk_fence_stores();                      /* a forked child undoes a purge or finds it undone */
    hk_store_relaxed(&heap->purging, NULL); /* relaxed: the fence orders it */
    hc->blocks_purging -= slab->free - free_before;
    class_place(hc, slab, was_exhausted, released);
}

/* Purges the free pages of a slab. Its free blocks are taken meanwhile, so that no thread gets one
 * while the lock is not held. The slab cannot become empty either, and stays. Called and returns
 * under the lock. */
static void class_purge_slab(struct hk_heap *heap, struct hk_span *slab, struct hk_scan *scan,
                             struct hk_span **released) {
    struct hk_heap_class *hc = &heap->classes[slab->class];
    uint32_t taken = hk_slab_take_all(slab, heap->purging_bits);
    if (taken == 0)
        return;
    hk_fence_stores();                      /* as in class_end_purge */
    hk_store_relaxed(&heap->purging, slab); /* relaxed: the fence orders it */
    hc->blocks_purging += taken;
    if (hk_slab_is_exhausted(slab))
        class_remove(hc, slab);
    hk_unlock(&hc->lock, HK_RANK_CLASS);

    slab_purge_pages(slab, heap->purging_bits, scan);

    hk_lock(&hc->lock, HK_RANK_CLASS);
    class_end_purge(heap, released);
}

/* Whether the free pages of a slab are to be given back in this scan. */
static bool slab_wants_purge(struct hk_span *slab, struct hk_scan *scan) {
    if (hk_slab_is_empty(slab) || slab->scans == HK_SLAB_PURGED ||
        slab_keeps_pages(slab, scan->which))
        return false;
    slab->scans++;
    if (slab->scans < HK_SLAB_DECAYED && scan->which != HK_PURGE_ALL) {
        scan->waiting++;
        return false;
    }
    slab->scans = HK_SLAB_PURGED;
    return true;
}

/* Visits each slab in the list once. Each goes to the end of the list, so the order stays and the
 * scan can go on later where it stopped. */
static void class_scan_slabs(struct hk_heap *heap, size_t class, struct hk_scan *scan) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct hk_span *released = NULL;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    while (scan->left > 0 && hc->first != NULL && !hk_purge_is_spent(&scan->budget)) {
        struct hk_span *slab = hc->first;
        class_remove(hc, slab);
        class_push_last(hc, slab);
        if (slab_wants_purge(slab, scan))
            class_purge_slab(heap, slab, scan, &released);
        scan->left--;
        hk_purge_spend(&scan->budget, scan->left % SCAN_SLABS_PER_CALL == 0, 0);

        /* Let other threads in between. */
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        hk_lock(&hc->lock, HK_RANK_CLASS);
    }
    if (hc->first == NULL)
        scan->left = 0;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    slabs_release(released);
}

/* Whether nothing happened in a class since a scan found nothing in it to give back, then or later.
 * Such a class is passed over without its lock: a scan should not write to memory that rests, which
 * a forked child may share. */
static bool class_is_idle(const struct hk_heap_class *hc, const struct hk_scan *scan) {
    /* relaxed: a scan that misses a use now sees it the next time */
    return scan->which == HK_PURGE_DECAYED && hk_load_relaxed(&hc->uses) == hc->uses_idle;
}

/* Scans the slabs of a class, or goes on with them. */
static void class_scan(struct hk_heap *heap, struct hk_scan *scan) {
    struct hk_heap_class *hc = &heap->classes[scan->class];
    if (scan->left > 0)
        class_scan_slabs(heap, scan->class, scan);
    if (scan->left == 0 && scan->waiting == scan->waiting_before)
        hc->uses_idle = hc->uses_seen;
}

bool hk_heap_scan(struct hk_heap *heap, struct hk_scan *scan) {
    if (scan->class == 0)
        hk_arena_obey_huge_mode(&heap->arena);
    while (scan->class < HK_CLASS_COUNT) {
        if (scan->left == 0) {
            if (++scan->class == HK_CLASS_COUNT)
                break;
            if (class_is_idle(&heap->classes[scan->class], scan))
                continue;
            class_rest(&heap->classes[scan->class], scan);
        }
        class_scan(heap, scan);
        if (hk_purge_is_spent(&scan->budget))
            return false;
    }

    scan->purged_bytes += hk_arena_purge(&heap->arena, scan->which, &scan->budget);
    if (hk_purge_is_spent(&scan->budget))
        return false;
    scan->class = 0;
    return true;
}

/* ---- Repairs in a forked child ------------------------------------------------------------------- */

struct repair {
    struct hk_heap *heap;
    size_t class;
};

/* Whether a span is that of a slab of the class that is entered in the pagemap as a whole. A
 * vanished thread may have been entering or removing it; then it is lost. */
static bool repair_is_ours(const struct repair *repair, const struct hk_span *span) {
    bool ours = span->class == repair->class && span->owner == repair->heap;
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

    hc->slabs++;
    hc->empty += hk_slab_is_empty(slab);
    hc->blocks_allocated += (uint64_t)slab->bump - slab->free;
    if (!hk_slab_is_exhausted(slab))
        class_push_last(hc, slab);
    return left;
}

/* Ends a purge of the class whose end had begun: the bits of the slab show it. Left for the repair
 * of the purge, which may come much later, it would free blocks that are allocated again by then.
 */
static void repair_end_of_purge(struct hk_heap *heap, size_t class) {
    struct hk_span *purging = heap_purging(heap);
    if (purging == NULL || purging->class != class)
        return;
    bool begun = false;
    for (uint32_t i = 0; i < HK_WORDS(purging->blocks); i++)
        begun |= (purging->bits[i] & heap->purging_bits[i]) != 0;
    if (!begun)
        return;
    hk_slab_give_all(purging, heap->purging_bits);
    hk_fence_stores();                      /* as in class_end_purge */
    hk_store_relaxed(&heap->purging, NULL); /* relaxed: the fence orders it */
}

void hk_heap_repair_class(struct hk_heap *heap, size_t class) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct repair repair = {heap, class};
    repair_end_of_purge(heap, class);
    hc->first = hc->last = NULL;
    hc->slabs = hc->listed = hc->empty = 0;
    hc->blocks_allocated = hc->blocks_purging = 0;
    hk_arena_visit(&heap->arena, repair_slab, &repair);

    const struct hk_span *purging = heap_purging(heap);
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
    const struct hk_span *purging = heap_purging(heap);
    if (purging == NULL)
        return;
    struct hk_heap_class *hc = &heap->classes[purging->class];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    if (heap_purging(heap) != NULL) /* the repair of the class may have ended it */
        class_end_purge(heap, &released);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    slabs_release(released);
}
