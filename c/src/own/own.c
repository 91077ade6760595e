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

static void own_give_record(struct hak_heap *heap) {
    hk_lock(&owns.lock, HK_RANK_OWNS);
    own_queue_locked(heap);
    hk_unlock(&owns.lock, HK_RANK_OWNS);
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
    heap->owner = HK_OWN_NOBODY;

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

/* ---- Tables ---------------------------------------------------------------------------------- */

enum { OWN_RINGS_BYTES = HK_CLASS_COUNT * sizeof(struct hk_span *) };

/* What a heap has while it lives. */
struct own_tables {
    struct hk_own_cache *caches[HK_OWN_CACHES];
    struct hk_span **slabs;
};

static void own_free_tables(const struct own_tables *tables) {
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        if (tables->caches[i] != NULL)
            hk_meta_free(tables->caches[i], sizeof *tables->caches[i]);
    }
    if (tables->slabs != NULL)
        hk_meta_free(tables->slabs, OWN_RINGS_BYTES);
}

static bool own_make_tables(struct own_tables *tables) {
    memset(tables, 0, sizeof *tables);
    tables->caches[0] = hk_meta_alloc(sizeof *tables->caches[0]);
    tables->slabs = hk_meta_alloc(OWN_RINGS_BYTES);
    if (tables->caches[0] == NULL || tables->slabs == NULL) {
        own_free_tables(tables);
        return false;
    }
    memset(tables->caches[0], 0, sizeof *tables->caches[0]);
    memset(tables->slabs, 0, OWN_RINGS_BYTES);
    return true;
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void own_set_name(struct hak_heap *heap, const char *name) {
    size_t length = name != NULL ? strnlen(name, sizeof heap->name - 1) : 0;
    memset(heap->name, 0, sizeof heap->name);
    memcpy(heap->name, name, length);
}

/* Under OWN, because a thread that comes late with a block of an earlier heap may look. */
static void own_begin_locked(struct hak_heap *heap, const struct own_tables *tables,
                             const struct hak_heap_options *options) {
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++)
        hk_store_locked(&heap->caches[i], tables->caches[i]);
    heap->slabs = tables->slabs;
    heap->large = NULL;
    heap->used = heap->slab_bytes = heap->large_bytes = heap->large_blocks = heap->refused = 0;

    heap->limit = options->limit;
    heap->keeps = options->purge == HAK_HEAP_PURGE_NEVER;
    heap->on_limit = options->on_limit;
    heap->on_limit_arg = options->on_limit_arg;
    own_set_name(heap, options->name);

    hk_store_locked(&heap->id, hk_add_relaxed(&owns.ids, 1)); /* relaxed: a unique number */
    /* release: the caches. It pairs with the acquire in own_claim. */
    hk_store_release(&heap->owner, HK_OWN_NOBODY);
}

struct hak_heap *hk_own_new(const struct hak_heap_options *options) {
    struct own_tables tables;
    if (!own_make_tables(&tables))
        return NULL;

    struct hak_heap *heap = own_take_record();
    if (heap == NULL) {
        own_free_tables(&tables);
        return NULL;
    }

    hk_lock(&heap->lock, HK_RANK_OWN);
    own_begin_locked(heap, &tables, options);
    hk_unlock(&heap->lock, HK_RANK_OWN);
    return heap;
}

/* ---- End ------------------------------------------------------------------------------------- */

/* Ends a heap and takes its tables and its large blocks. Its slabs are in the rings. */
static void own_end_locked(struct hak_heap *heap, struct own_tables *tables,
                           struct hk_span **large) {
    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        tables->caches[i] = hk_peek(&heap->caches[i]);
        hk_store_locked(&heap->caches[i], NULL);
    }
    tables->slabs = heap->slabs;
    *large = heap->large;

    heap->slabs = NULL;
    heap->large = NULL;
    hk_store_locked(&heap->id, 0);
    hk_store_locked(&heap->owner, HK_OWN_NOBODY);
}

bool hk_own_destroy(struct hak_heap *heap) {
    struct own_tables tables;
    struct hk_span *large;
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool exists = heap->id != 0;
    if (exists)
        own_end_locked(heap, &tables, &large);
    hk_unlock(&heap->lock, HK_RANK_OWN);
    if (!exists)
        return false;

    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hk_span *slab = tables.slabs[class];
        if (slab != NULL) {
            slab->prev->next = NULL; /* opens the ring */
            hk_own_release(slab);
        }
    }

    hk_own_release(large);
    own_free_tables(&tables);
    own_give_record(heap);
    hk_thread_hooks.freed(HK_FREED_LARGE);
    return true;
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
    hk_own_flush(heap);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        released = own_merge_class(heap, class, released);

    struct hk_span *span;
    while ((span = heap->large) != NULL) {
        hk_own_unlink_large(heap, span);
        struct hk_chunk *chunk = span->chunk;
        hk_span_set_owner(span, chunk != NULL ? HK_HOLDER(struct hk_heap, arena, chunk->arena)
                                              : for_large);
    }
    return released;
}

bool hk_own_merge(struct hak_heap *heap) {
    struct own_tables tables;
    struct hk_span *released = NULL, *large;
    struct hk_heap *for_large = hk_thread_any_heap();
    hk_lock(&heap->lock, HK_RANK_OWN);
    bool exists = heap->id != 0;
    if (exists) {
        released = own_merge_locked(heap, for_large);
        own_end_locked(heap, &tables, &large);
    }
    hk_unlock(&heap->lock, HK_RANK_OWN);
    if (!exists)
        return false;

    hk_own_release(released);
    own_free_tables(&tables);
    own_give_record(heap);
    hk_thread_hooks.freed(HK_FREED_LARGE);
    return true;
}
