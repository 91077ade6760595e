/* own/own.c - beginning and end of heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "own.h"

#include "../base/string.h"
#include "../core/large.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../thread/hooks.h"
#include "../thread/threads.h"
#include "slabs.h"

static struct {
    struct hk_lock lock;       /* rank OWNS */
    struct hak_heap *newest;   /* atomic, stored under OWNS; all records */
    struct hak_heap *first;    /* lock:OWNS; free records, the one that is free for longest first */
    struct hak_heap *last;     /* lock:OWNS */
    struct hk_own_part *parts; /* lock:OWNS; parts that no heap has */
    uint64_t ids;              /* atomic; given out so far */
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
    heap->self = heap;

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

/* ---- Parts ----------------------------------------------------------------------------------- */

/* The list is intact after each store, so that a forked child can follow it. */
static struct hk_own_part *own_take_part(void) {
    hk_lock(&owns.lock, HK_RANK_OWNS);
    struct hk_own_part *part = owns.parts;
    if (part != NULL)
        owns.parts = part->next;
    hk_unlock(&owns.lock, HK_RANK_OWNS);
    if (part != NULL)
        return part;

    part = hk_meta_alloc(sizeof *part);
    if (part != NULL)
        memset(part, 0, sizeof *part);
    return part;
}

/* Under OWN, because a thread that comes late with a block of an earlier heap may look. */
static void own_begin_part_locked(struct hk_own_part *part, struct hak_heap *heap, uint32_t owner) {
    hk_own_begin_cache(&part->cache);
    part->limited = hk_own_limit(heap) != 0;
    part->alone = part->needed = 0;
    part->slab_bytes = 0;
    /* release: the spans of the last heap have other owners. It pairs with the acquire in
     * hk_own_of. */
    hk_store_release(&part->heap, heap);
    hk_store_locked(&part->owner, owner);
}

/* A part without slabs. A thread that found it in an earlier heap, which was merged meanwhile, may
 * still hold one of the locks. Returns NULL if out of memory. */
static struct hk_own_part *own_new_part(struct hak_heap *heap, uint32_t owner) {
    struct hk_own_part *part = own_take_part();
    if (part == NULL)
        return NULL;
    hk_lock(&part->cache.lock, HK_RANK_OWN_CACHE);
    hk_own_lock(part);
    own_begin_part_locked(part, heap, owner);
    hk_own_unlock(part);
    hk_unlock(&part->cache.lock, HK_RANK_OWN_CACHE);
    return part;
}

static void own_end_part_locked(struct hk_own_part *part) {
    part->next = owns.parts;
    hk_fence_stores();
    owns.parts = part;
}

void hk_own_abandon(struct hk_own_part *part) {
    hk_store_locked(&part->owner, (uint32_t)HK_OWNER_NOBODY);
    /* release: the cells, and the end of the part, by a thread that perhaps has no lock. It pairs
     * with the acquire in hk_own_withdraw. */
    hk_store_release(&part->bias, (uint32_t)HK_OWNER_NOBODY);
}

/* Makes a part that no heap got available again. */
static void own_drop_part(struct hk_own_part *part) {
    hk_own_lock(part);
    hk_own_abandon(part);
    hk_own_unlock(part);
    hk_lock(&owns.lock, HK_RANK_OWNS);
    own_end_part_locked(part);
    hk_unlock(&owns.lock, HK_RANK_OWNS);
}

/* The end of the heap takes the lock after it has taken the id away. So either it finds the part,
 * or there is no part. */
struct hk_own_part *hk_own_add_part(const struct hk_own_ref *ref, uint32_t number, uint32_t owner) {
    struct hak_heap *heap = ref->heap;
    struct hk_own_part *fresh = own_new_part(heap, owner);
    if (fresh == NULL)
        return NULL;

    hk_lock(&owns.lock, HK_RANK_OWNS);
    struct hk_own_part *part = NULL;
    bool exists = hk_own_id(heap) == ref->id;
    if (exists && (part = hk_peek(&heap->shared[number])) == NULL) {
        part = fresh;
        hk_add_relaxed(&heap->sharing, 1); /* relaxed: a hint */
        /* release: the empty part. It pairs with the acquire in hk_own_part_at. */
        hk_store_release(&heap->shared[number], part);
    }
    hk_unlock(&owns.lock, HK_RANK_OWNS);

    if (part != fresh)
        own_drop_part(fresh);
    return part;
}

/* ---- Beginning ------------------------------------------------------------------------------- */

static void own_set_name(struct hak_heap *heap, const char *name) {
    memset(heap->name, 0, sizeof heap->name);
    if (name != NULL)
        memcpy(heap->name, name, strnlen(name, sizeof heap->name - 1));
}

/* Under the lock of the main part, as above. */
static void own_begin_locked(struct hak_heap *heap, const struct hak_heap_options *options) {
    hk_store_relaxed(&heap->used, 0); /* relaxed: a count */
    hk_stat_set(&heap->refused, 0);
    hk_store_relaxed(&heap->sharing, 0); /* relaxed: as in hk_own_first_part */
    heap->large_bytes = heap->large_blocks = 0;
    hk_store_relaxed(&heap->limit, options->limit); /* relaxed: as in hk_own_limit */
    own_begin_part_locked(&heap->main, heap, HK_OWNER_NOBODY);
    heap->keeps = options->purge == HAK_HEAP_PURGE_NEVER;
    heap->on_limit = options->on_limit;
    heap->on_limit_arg = options->on_limit_arg;
    own_set_name(heap, options->name);

    hk_store_locked(&heap->id, hk_add_relaxed(&owns.ids, 1)); /* relaxed: a unique number */
}

struct hak_heap *hk_own_new(const struct hak_heap_options *options) {
    struct hak_heap *heap = own_take_record();
    if (heap == NULL)
        return NULL;
    hk_own_lock(&heap->main);
    own_begin_locked(heap, options);
    hk_own_unlock(&heap->main);
    return heap;
}

/* ---- End ------------------------------------------------------------------------------------- */

/* How the parts of a heap end. */
struct own_end {
    struct hk_span *(*end_part)(struct hk_own_part *part, struct hk_span *released);
    struct hk_heap *for_large; /* gets large blocks outside of arenas, or NULL */
};

/* Adds the slabs of all rings to those to release. */
static struct hk_span *own_destroy_part(struct hk_own_part *part, struct hk_span *released) {
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_span *first = part->slabs[class];
        if (first == NULL)
            continue;
        first->prev->next = released;
        released = first;
        part->slabs[class] = NULL;
    }
    return hk_own_take_empty(part, released, true);
}

/* Gives the slabs of a class to the heaps of their granules. Returns the empty ones. */
static struct hk_span *own_merge_class(struct hk_own_part *part, size_t class,
                                       struct hk_span *released) {
    struct hk_span *slab;
    while ((slab = part->slabs[class]) != NULL) {
        hk_own_unlink(part, slab);
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
static struct hk_span *own_merge_part(struct hk_own_part *part, struct hk_span *released) {
    hk_own_flush(part);
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class)
        released = own_merge_class(part, class, released);
    return hk_own_take_empty(part, released, true);
}

/* Releases the large blocks, or gives them to the heaps of their granules. */
static struct hk_span *own_end_large(struct hak_heap *heap, const struct own_end *end,
                                     struct hk_span *released) {
    for (struct hk_span *span; (span = heap->large) != NULL;) {
        struct hk_chunk *chunk = span->chunk;
        heap->large = span->next; /* its thread may resize it, so its bytes are unknown */
        if (end->for_large == NULL) {
            if (span->resizing)
                continue; /* by a thread of a parent process, so its memory is lost */
            span->next = released;
            released = span;
        } else {
            hk_span_set_owner(span, chunk != NULL ? HK_HOLDER(struct hk_heap, arena, chunk->arena)
                                                  : end->for_large);
        }
    }
    heap->large_bytes = heap->large_blocks = 0;
    return released;
}

/* Ends the main part and with it the heap. Returns the spans to release. */
static struct hk_span *own_end_main_locked(struct hak_heap *heap, const struct own_end *end) {
    struct hk_span *released = end->end_part(&heap->main, NULL);
    released = own_end_large(heap, end, released);
    hk_store_locked(&heap->id, 0);
    hk_own_abandon(&heap->main);
    return released;
}

/* Takes the other parts out of a heap that has no id any more. */
static void own_take_shared(struct hak_heap *heap, struct hk_own_part *parts[HK_OWN_SHARED]) {
    hk_lock(&owns.lock, HK_RANK_OWNS);
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        parts[i] = hk_peek(&heap->shared[i]);
        hk_store_locked(&heap->shared[i], NULL);
    }
    hk_unlock(&owns.lock, HK_RANK_OWNS);
}

/* Ends these parts. Adds the spans to release. */
static struct hk_span *own_end_shared(const struct own_end *end,
                                      struct hk_own_part *const parts[HK_OWN_SHARED],
                                      struct hk_span *released) {
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        struct hk_own_part *part = parts[i];
        if (part == NULL)
            continue;
        hk_own_lock(part);
        released = end->end_part(part, released);
        hk_own_abandon(part);
        hk_own_unlock(part);
    }
    return released;
}

/* Parts and records are reused after their spans are no longer in the pagemap. */
static void own_finish(struct hak_heap *heap, struct hk_own_part *const parts[HK_OWN_SHARED],
                       struct hk_span *released) {
    hk_own_release(released);
    hk_lock(&owns.lock, HK_RANK_OWNS);
    for (uint32_t i = 0; i < HK_OWN_SHARED; i++) {
        if (parts[i] != NULL)
            own_end_part_locked(parts[i]);
    }
    own_queue_locked(heap);
    hk_unlock(&owns.lock, HK_RANK_OWNS);
    hk_thread_hooks.freed(HK_FREED_LARGE);
}

static bool own_end(struct hak_heap *heap, const struct own_end *end) {
    struct hk_own_part *parts[HK_OWN_SHARED];
    struct hk_span *released = NULL;
    hk_own_lock(&heap->main);
    bool exists = heap->id != 0;
    if (exists)
        released = own_end_main_locked(heap, end);
    hk_own_unlock(&heap->main);
    if (!exists)
        return false;

    own_take_shared(heap, parts);
    released = own_end_shared(end, parts, released);
    own_finish(heap, parts, released);
    return true;
}

bool hk_own_destroy(struct hak_heap *heap) {
    const struct own_end end = {own_destroy_part, NULL};
    return own_end(heap, &end);
}

bool hk_own_merge(struct hak_heap *heap) {
    const struct own_end end = {own_merge_part, hk_thread_any_heap()};
    return own_end(heap, &end);
}

/* ---- Memory that is given back --------------------------------------------------------------- */

struct own_purge {
    bool all;
    bool waits;
};

/* A part with slabs has a heap, so the heap has not changed its settings since. Without slabs, the
 * part may have lost its heap, whose record begins anew. */
static void own_purge_part(struct own_purge *purge, struct hk_own_part *part) {
    struct hk_span *released = NULL;
    if (hk_peek(&part->empty_bytes) == 0)
        return;
    hk_own_lock(part);
    if (part->empty_bytes > 0 && !hk_peek(&part->heap)->keeps) {
        released = hk_own_take_empty(part, NULL, purge->all);
        purge->waits |= part->empty_bytes > 0;
    }
    hk_own_unlock(part);
    hk_own_release(released);
}

static void own_purge_heap(void *arg, struct hak_heap *heap) {
    for (uint32_t i = 0; i < HK_OWN_PARTS; i++) {
        struct hk_own_part *part = hk_own_part_at(heap, i);
        if (part != NULL)
            own_purge_part(arg, part);
    }
}

bool hk_own_purge(bool all) {
    struct own_purge purge = {all, false};
    if (hk_peek(&hk_own_empty_bytes) > 0)
        hk_own_each(own_purge_heap, &purge);
    return purge.waits;
}
