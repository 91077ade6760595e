/* own/own.c - beginning and end of heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "own.h"

#include <string.h>

#include "../core/large.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../thread/hooks.h"
#include "../thread/threads.h"
#include "slabs.h"

static struct {
    struct hk_lock lock;     /* rank OWNS */
    struct hak_heap *newest; /* atomic, stored under OWNS; all records */
    struct hak_heap *first;  /* lock:OWNS; free records, the one that is free for longest first */
    struct hak_heap *last;   /* lock:OWNS */
    uint64_t ids;            /* atomic; given out so far */
} owns;

/* ---- Records --------------------------------------------------------------------------------- */

/* A record is reused as late as possible, so that a use of a heap after its end is noticed. */
static void own_queue_locked(struct hak_heap *heap) {
    heap->is_free = true;
    heap->next = NULL;
    if (owns.first == NULL)
        owns.first = heap;
    else
        owns.last->next = heap;
    owns.last = heap;
}

static struct hak_heap *own_unqueue_locked(void) {
    struct hak_heap *heap = owns.first;
    if (heap == NULL)
        return NULL;
    owns.first = heap->next;
    heap->is_free = false;
    return heap;
}

/* Rebuilds the queue from the list of all records. */
void hk_own_repair_queue(struct hk_lock *lock) {
    (void)lock;
    owns.first = owns.last = NULL;
    for (struct hak_heap *heap = owns.newest; heap != NULL; heap = heap->older) {
        if (heap->is_free)
            own_queue_locked(heap);
    }
}

/* A record that is not in use, with the old contents of its fields. Returns NULL if out of
 * memory. */
static struct hak_heap *own_take_record(void) {
    hk_lock(&owns.lock, HK_RANK_OWNS);
    struct hak_heap *heap = own_unqueue_locked();
    hk_unlock(&owns.lock, HK_RANK_OWNS);
    if (heap != NULL)
        return heap;

    heap = hk_meta_alloc(sizeof *heap);
    if (heap == NULL)
        return NULL;
    memset(heap, 0, sizeof *heap);

    hk_lock(&owns.lock, HK_RANK_OWNS);
    heap->older = owns.newest;
    /* release: publishes the record. It pairs with the acquire in hk_own_each. */
    hk_store_release(&owns.newest, heap);
    hk_unlock(&owns.lock, HK_RANK_OWNS);
    return heap;
}

void hk_own_each(void (*visit)(void *arg, struct hak_heap *heap), void *arg) {
    /* acquire: pairs with the release in own_take_record */
    for (struct hak_heap *heap = hk_load_acquire(&owns.newest); heap != NULL; heap = heap->older)
        visit(arg, heap);
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void own_set_name(struct hak_heap *heap, const char *name) {
    memset(heap->name, 0, sizeof heap->name);
    if (name != NULL)
        memcpy(heap->name, name, strnlen(name, sizeof heap->name - 1));
}

/* Under OWN, because a thread that comes late with a block of an earlier heap may look. */
static void own_begin_locked(struct hak_heap *heap, const struct hak_heap_options *options) {
    hk_own_begin_cache(&heap->cache);
    heap->sharing = 0;
    heap->alone = heap->needed = 0;
    heap->used = heap->slab_bytes = heap->large_bytes = heap->large_blocks = heap->refused = 0;
    heap->limit = options->limit;
    heap->keeps = options->purge == HAK_HEAP_PURGE_NEVER;
    heap->on_limit = options->on_limit;
    heap->on_limit_arg = options->on_limit_arg;
    own_set_name(heap, options->name);

    hk_store_locked(&heap->id, hk_add_relaxed(&owns.ids, 1)); /* relaxed: a unique number */
    hk_store_locked(&heap->owner, (uint32_t)HK_OWNER_NOBODY);
}

struct hak_heap *hk_own_new(const struct hak_heap_options *options) {
    struct hak_heap *heap = own_take_record();
    if (heap == NULL)
        return NULL;
    hk_own_lock(heap);
    own_begin_locked(heap, options);
    hk_own_unlock(heap);
    return heap;
}

/* ---- End ------------------------------------------------------------------------------------- */

/* What is left of a heap that has ended. */
struct own_rest {
    struct hk_span *spans; /* slabs and large blocks to release */
    struct hk_own_cache *shared[HK_OWN_SHARED];
};

/* Adds the slabs of all rings and the large blocks to those to release. */
static void own_take_all_locked(struct hak_heap *heap, struct own_rest *rest) {
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_span *first = heap->slabs[class];
        if (first == NULL)
            continue;
        first->prev->next = rest->spans;
        rest->spans = first;
        heap->slabs[class] = NULL;
    }
    rest->spans = hk_own_take_empty(heap, rest->spans, true);

    for (struct hk_span *span; (span = heap->large) != NULL;) {
        hk_own_unlink_large(heap, span);
        span->next = rest->spans;
        rest->spans = span;
    }
}

static void own_end_locked(struct hak_heap *heap, struct own_rest *rest) {
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        rest->shared[i] = hk_peek(&heap->shared[i]);
        hk_store_locked(&heap->shared[i], NULL);
    }
    hk_store_locked(&heap->id, 0);
    hk_store_locked(&heap->owner, (uint32_t)HK_OWNER_NOBODY);
    hk_store_locked(&heap->bias, (uint32_t)HK_OWNER_NOBODY);
}

/* Releases what is left of a heap, and its record. */
static void own_finish(struct hak_heap *heap, const struct own_rest *rest) {
    hk_own_release(rest->spans);
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        if (rest->shared[i] != NULL)
            hk_meta_free(rest->shared[i], sizeof *rest->shared[i]);
    }
    hk_lock(&owns.lock, HK_RANK_OWNS);
    own_queue_locked(heap);
    hk_unlock(&owns.lock, HK_RANK_OWNS);
    hk_thread_hooks.freed(HK_FREED_LARGE);
}

bool hk_own_destroy(struct hak_heap *heap) {
    struct own_rest rest = {0};
    hk_own_lock(heap);
    bool exists = heap->id != 0;
    if (exists) {
        own_take_all_locked(heap, &rest);
        own_end_locked(heap, &rest);
    }
    hk_own_unlock(heap);
    if (exists)
        own_finish(heap, &rest);
    return exists;
}

/* Gives the slabs of a class to the heaps of their granules. Returns the empty ones. */
static struct hk_span *own_merge_class(struct hak_heap *heap, size_t class,
                                       struct hk_span *released) {
    struct hk_span *slab;
    while ((slab = heap->slabs[class]) != NULL) {
        hk_own_unlink(heap, slab);
        if (!hk_slab_is_empty(slab)) {
            hk_heap_adopt(slab);
            continue;
        }
        hk_pagemap_remove(slab);
        slab->next = released;
        released = slab;
    }
    return released;
}

/* Other threads may free blocks meanwhile. They wait for the lock and then find another owner. */
static struct hk_span *own_merge_locked(struct hak_heap *heap, struct hk_heap *for_large) {
    struct hk_span *released = NULL;
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        struct hk_own_cache *cache = hk_own_cache_at(heap, i);
        if (cache != NULL)
            hk_own_flush(heap, cache);
    }
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class)
        released = own_merge_class(heap, class, released);
    released = hk_own_take_empty(heap, released, true);

    for (struct hk_span *span; (span = heap->large) != NULL;) {
        hk_own_unlink_large(heap, span);
        struct hk_chunk *chunk = span->chunk;
        hk_span_set_owner(span, chunk != NULL ? HK_HOLDER(struct hk_heap, arena, chunk->arena)
                                              : for_large);
    }
    return released;
}

bool hk_own_merge(struct hak_heap *heap) {
    struct own_rest rest = {0};
    struct hk_heap *for_large = hk_thread_any_heap();
    hk_own_lock(heap);
    bool exists = heap->id != 0;
    if (exists) {
        rest.spans = own_merge_locked(heap, for_large);
        own_end_locked(heap, &rest);
    }
    hk_own_unlock(heap);
    if (exists)
        own_finish(heap, &rest);
    return exists;
}

/* ---- Memory that is given back --------------------------------------------------------------- */

struct own_purge {
    bool all;
    bool waits;
};

static void own_purge_heap(void *arg, struct hak_heap *heap) {
    struct own_purge *purge = arg;
    struct hk_span *released = NULL;
    if (hk_peek(&heap->empty_bytes) == 0)
        return;
    hk_own_lock(heap);
    if (!heap->keeps) {
        released = hk_own_take_empty(heap, NULL, purge->all);
        purge->waits |= heap->empty_bytes > 0;
    }
    hk_own_unlock(heap);
    hk_own_release(released);
}

bool hk_own_purge(bool all) {
    struct own_purge purge = {all, false};
    if (hk_peek(&hk_own_empty_bytes) > 0)
        hk_own_each(own_purge_heap, &purge);
    return purge.waits;
}
