/* own/own.h - heaps that the program creates and drops as a whole.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: private heaps. Their slabs and large blocks are granules of the arenas that all heaps
 * share. The owner of their spans is tagged (core/span.h), and the class map does not know them, so
 * each free of their blocks takes the slow path and comes here. The fast paths of other blocks have
 * no test for this.
 *
 * A heap consists of parts. Each part has slabs of its own, a cache of cells with free blocks of
 * these slabs, and a lock. The first thread that allocates becomes the owner of the heap and of its
 * main part, and needs no lock for the cells. The other threads share a part with a lock for the
 * cells. A thread that finds this lock taken, or that allocates much, becomes the owner of a part
 * of its own. A thread owns one part of a heap. It leaves the part to others when it changes to one
 * whose owner has ended. If a heap has a limit, its cells must be within reach of all threads, so
 * only the main part has an owner. Threads then use further parts with locks, and so do threads
 * that find no part to own.
 *
 * An allocation takes the first block of a cell. A free goes to the slab, under the lock of its
 * part, which also shows whether the block is free already. The lock is biased towards the owner of
 * the part, so threads that free their own blocks do not wait for each other.
 *
 * Owns: the records of the heaps and of the parts, which are reused but never given back. So a
 * thread that comes late finds a record with another id, or a part that its span does not belong
 * to. Threads: any. Takes OWN_CACHE, OWN and OWNS. No lock is held while memory comes from or
 * returns to an arena. Boundary: core/slab, core/large, core/arena, heap/heap, thread/thread,
 * thread/count; upwards thread/hooks.
 */
#ifndef HK_OWN_OWN_H
#define HK_OWN_OWN_H

#include <hakmem.h>

#include "../core/slab.h"
#include "../os/lock.h"
#include "../thread/count.h"
#include "classes.h"
#include "owners.h"

/* Parts for threads that do not own the heap. */
enum {
    HK_OWN_THREADS = 16, /* each has an owner, in a heap without a limit */
    HK_OWN_LOCKED = 8, /* for all threads, with a lock for the cells. The first one is preferred */
    HK_OWN_SHARED = HK_OWN_THREADS + HK_OWN_LOCKED,
};

/* Free blocks that were taken out of a slab: a run from which allocations are served, and blocks of
 * one word of the bits of the slab. Bits of blocks before `next` do not count, because a thread of
 * a parent process may have stopped between the stores. */
struct hk_own_cell {
    char *next;     /* atomic, stored by the user of the cache; the first block of the run */
    char *end;      /* atomic, as above; the end of the run */
    uint64_t bits;  /* atomic, as above; bit i: block i of the word, perhaps also in the run */
    uint64_t bytes; /* const; of a block */
};

struct hk_own_cache {
    struct hk_lock lock; /* rank OWN_CACHE; not used if the part has an owner */
    uint32_t user;       /* lock:OWN_CACHE; number of the thread that used it last, */
    uint32_t uses;       /* lock:OWN_CACHE; and its uses since another thread did */
    uint64_t zero;       /* user of the cache; bit c: the blocks in the cell of class c are zero */
    struct hk_own_cell cells[HK_OWN_CLASSES];
    char *words[HK_OWN_CLASSES]; /* lock:OWN; the first block of the word of each cell */
};

struct hk_own_part {
    struct hak_heap *heap;    /* atomic, stored under OWN; the last one that it belonged to */
    uint32_t owner;           /* atomic, as above; token of a thread, or HK_OWNER_NOBODY */
    uint32_t bias;            /* atomic, as above; that of a thread without need of the lock */
    struct hk_lock lock;      /* rank OWN; taken as in own/hold.h */
    uint32_t alone;           /* lock:OWN; times that the owner took it since another thread did, */
    uint32_t needed;          /* lock:OWN; and the number of them after which it needs it no more */
    bool limited;             /* lock:OWN; the heap has a limit */
    uint64_t slab_bytes;      /* lock:OWN; granules of slabs */
    uint64_t empty_bytes;     /* atomic, stored under OWN; granules of empty slabs */
    struct hk_own_part *next; /* lock:OWNS; list of the parts without a heap */
    struct hk_span *slabs[HK_OWN_CLASSES]; /* lock:OWN; rings, slabs with free blocks first */
    struct hk_span *empty[HK_OWN_CLASSES]; /* lock:OWN; lists of slabs without live blocks */
    struct hk_own_cache cache;             /* of the blocks of these slabs */
};

/* `lock:OWN` is that of the main part. */
struct hak_heap {
    const struct hak_heap *self; /* const; the address of this record */
    uint64_t id;                 /* atomic, stored under OWN; unique, 0 while there is no heap */
    uint64_t limit;              /* atomic, const while there is a heap */
    uint64_t used;               /* atomic; bytes of blocks outside of slabs, if there is a limit */
    uint64_t large_bytes;        /* lock:OWN */
    uint64_t large_blocks;       /* lock:OWN */
    uint64_t refused;            /* atomic; calls that failed at the limit */
    int (*on_limit)(void *arg, struct hak_heap *heap, size_t bytes); /* const as above */
    void *on_limit_arg;                                              /* const as above */
    char name[HAK_HEAP_NAME_BYTES];                                  /* const as above */
    bool keeps;                                /* const as above; empty slabs stay */
    bool is_free;                              /* lock:OWNS; in the queue of free records */
    struct hak_heap *next;                     /* lock:OWNS; the queue */
    struct hak_heap *older;                    /* const; the list of all records */
    uint32_t sharing;                          /* atomic; number of parts in `shared` */
    struct hk_own_part *shared[HK_OWN_SHARED]; /* atomic, stored under OWNS; NULL until used */
    struct hk_span *large;                     /* lock:OWN; list of the large blocks */
    struct hk_own_part main;                   /* of the owner, and of large blocks */
};

/* Why an allocation failed. */
enum hk_own_fault { HK_OWN_FINE, HK_OWN_NO_MEMORY, HK_OWN_AT_LIMIT, HK_OWN_GONE };
struct hk_own_failure {
    enum hk_own_fault fault;
    int (*on_limit)(void *arg, struct hak_heap *heap, size_t bytes); /* of HK_OWN_AT_LIMIT */
    void *on_limit_arg;
};

/* A heap at a certain time, because its record may be reused. */
struct hk_own_ref {
    struct hak_heap *heap; /* NULL: none */
    uint64_t id;
};

/* ---- Heaps ----------------------------------------------------------------------------------- */

/* Creates a heap. Returns NULL if out of memory. */
struct hak_heap *hk_own_new(const struct hak_heap_options *options);

/* Frees all blocks of a heap, or gives them to the other heaps, and ends it. Returns false if there
 * is no such heap. */
bool hk_own_destroy(struct hak_heap *heap);
bool hk_own_merge(struct hak_heap *heap);

/* Whether a pointer of the program is that of a heap, perhaps of one that has ended. It may point
 * to any readable memory, because only a record begins with its own address. */
HK_FAST bool hk_own_is_heap(const struct hak_heap *heap) {
    return (uintptr_t)heap % _Alignof(struct hak_heap) == 0 && heap->self == heap;
}

/* The id of a heap, or 0 if it has ended. */
HK_FAST uint64_t hk_own_id(const struct hak_heap *heap) {
    return hk_load_relaxed(&heap->id); /* relaxed: compared only. The pointer came with the heap */
}

/* The limit of a heap, or 0. A thread that resizes a block during a merge may find that of the next
 * heap, but then nothing depends on it. */
HK_FAST uint64_t hk_own_limit(const struct hak_heap *heap) {
    return hk_load_relaxed(&heap->limit); /* relaxed: as above */
}

/* The heap of a span, or NULL if it belongs to no private heap. Another thread may merge it. */
struct hak_heap *hk_own_of(const struct hk_span *span);

/* The same for the span of a live block, with the id of the heap. */
struct hk_own_ref hk_own_ref_of(const struct hk_span *span, const void *block);

/* Calls `visit` for each record, also of ended heaps. */
void hk_own_each(void (*visit)(void *arg, struct hak_heap *heap), void *arg);

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Allocates a block of one of the classes of this layer. Its start is NULL if it fails, and
 * *failure is the reason. */
struct hk_block hk_own_take(struct hak_heap *heap, size_t class, struct hk_own_failure *failure);

/* The same, while another thread may merge the heap. */
struct hk_block hk_own_take_once(const struct hk_own_ref *ref, size_t class,
                                 struct hk_own_failure *failure);

/* The same for a large block. */
struct hk_block hk_own_take_large(const struct hk_own_ref *ref, size_t size, size_t align,
                                  struct hk_own_failure *failure);

/* Gives the blocks in the cells of all parts with a lock for them back to their slabs, because they
 * count at the limit. Another thread may merge the heap. Returns false if there are none. */
bool hk_own_flush_shared(const struct hk_own_ref *ref);

/* Counts a call that fails at the limit. */
void hk_own_note_refused(const struct hk_own_ref *ref);

/* hk_own_take for a thread that owns a part of the heap, if a cell has blocks, or if the thread may
 * fill the cell without a lock. Returns NULL otherwise, and to a thread that counts its bytes. */
void *hk_own_take_near(struct hak_heap *heap, size_t class);

/* hk_own_take for the owner of the heap, from the run of a cell at this offset in the heap. Returns
 * false if that is impossible, and to a thread that counts its bytes, which takes the slow path. */
HK_FAST bool hk_own_take_fast(struct hak_heap *heap, size_t cell_offset, void **block) {
    struct hk_own_cell *cell = (struct hk_own_cell *)(void *)((char *)heap + cell_offset);
    /* relaxed: only this thread stores its own token. Without one, the run is not used. */
    if (hk_unlikely(hk_load_relaxed(&heap->main.owner) != hk_owner_fast))
        return false;
    char *next = cell->next;
    if (hk_unlikely(next == cell->end))
        return false;
    /* relaxed: readers under OWN only look for blocks that the program frees or holds */
    hk_store_relaxed(&cell->next, next + cell->bytes);
    *block = next;
    return true;
}

/* The offsets of the owner's cells for each class of core/size_class. */
extern const uint16_t hk_own_cell_at[HK_CLASS_COUNT];

/* Frees a block of a span that belonged to a private heap, on behalf of `function`. Reports a block
 * that is not allocated. Returns false if the heap was merged meanwhile, so that the span belongs
 * to another heap. */
bool hk_own_free(const char *function, struct hk_span *span, void *block);

/* The same for a small block, with the least work. Returns false, without a report, if hk_own_free
 * must do it. `span` is what the pagemap has for the address. */
bool hk_own_free_fast(struct hk_span *span, void *block);

/* Releases the slabs that have been empty since the last call, or all that are empty. Returns true
 * if there are others. */
bool hk_own_purge(bool all);

/* Resizes a large block in place, or moves its pages. Returns its start, or NULL. */
void *hk_own_resize_large(struct hk_span *span, size_t size, size_t align);

/* ---- Observation ----------------------------------------------------------------------------- */

/* The slabs and blocks of one class. */
struct hk_own_count {
    uint64_t slabs;
    uint64_t live;
    uint64_t cached;
};

/* Counts a heap. `classes` may be NULL. Returns false if there is no such heap. */
bool hk_own_count(struct hak_heap *heap, struct hak_heap_stats *stats,
                  struct hk_own_count classes[HK_OWN_CLASSES]);

/* Calls `visit` for each live block until it returns 0. No lock is held during the call. Returns 0,
 * ECANCELED if it returned 0, ENOMEM, or EINVAL if there is no such heap. */
int hk_own_visit(struct hak_heap *heap, int (*visit)(void *arg, void *block, size_t bytes),
                 void *arg);

/* The first fault of a heap, or NULL if there is none. */
const char *hk_own_validate(struct hak_heap *heap);

/* ---- Fork ------------------------------------------------------------------------------------ */

/* Repair, in a forked child, what a vanished thread was changing. */
void hk_own_repair(struct hk_lock *lock);
void hk_own_repair_cache(struct hk_lock *lock);
void hk_own_repair_queue(struct hk_lock *lock);

#endif
