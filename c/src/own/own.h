/* own/own.h - heaps that the program creates and drops as a whole.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: private heaps. Their slabs and large blocks are granules of the arenas that all heaps
 * share. The owner of their spans is tagged (core/span.h), and the class map does not know them, so
 * each free of their blocks takes the slow path and comes here. The fast paths of other blocks have
 * no test for this.
 *
 * An allocation pops a bit of a cell: the free blocks of one word of a slab. The first thread that
 * allocates becomes the owner of the heap and has a cache of cells without a lock. Other threads
 * share further caches, each with a lock. A free goes to the slab, under the lock of the heap,
 * which also shows whether the block is free already. Blocks of more than 128 bytes have a quarter
 * of the usual classes, because each class of each heap has a slab of its own.
 *
 * Owns: the records of the heaps, which are reused but never given back. So a thread that comes
 * late finds a record with another id. Threads: any. Takes OWN_CACHE, OWN and OWNS. No lock is held
 * while memory comes from or returns to an arena. Boundary: core/slab, core/large, core/arena,
 * heap/heap, thread/thread, thread/count; upwards thread/hooks.
 */
#ifndef HK_OWN_OWN_H
#define HK_OWN_OWN_H

#include <hakmem.h>

#include "../core/slab.h"
#include "../os/lock.h"
#include "../thread/count.h"

enum {
    HK_OWN_SHARED = 8,                 /* caches for threads that do not own the heap */
    HK_OWN_CACHES = 1 + HK_OWN_SHARED, /* the first one is that of the owner */
    HK_OWN_ZERO = 1,                   /* in hk_own_cell.first: the blocks are known to be zero */
};

/* The owner of a heap without an owner. No thread has this number. */
#define HK_OWN_NOBODY HK_LOCK_WAITERS

/* Free blocks that were taken out of one word of the bits of a slab. */
struct hk_own_cell {
    uint64_t bits;   /* atomic, stored by the user of the cache; bit i: block i of the word */
    uintptr_t first; /* lock:OWN; address of the word's first block, and HK_OWN_ZERO */
};

struct hk_own_cache {
    struct hk_lock lock; /* rank OWN_CACHE; the owner's cache does not use it */
    int64_t left;        /* user of the cache; bytes that it may allocate before it asks the heap */
    struct hk_own_cell cells[HK_CLASS_COUNT];
};

struct hak_heap {
    uint32_t owner;                             /* atomic; number of a thread, or HK_OWN_NOBODY */
    struct hk_lock lock;                        /* rank OWN */
    struct hk_own_cache *caches[HK_OWN_CACHES]; /* atomic, stored under OWN; NULL until used */
    struct hk_span **slabs; /* lock:OWN; rings by class, slabs with free blocks first */
    struct hk_span *large;  /* lock:OWN; list of the large blocks */
    uint64_t id;            /* atomic, stored under OWN; unique, 0 while there is no heap */
    uint64_t used;          /* lock:OWN; with a limit: bytes of live blocks, and `left` of caches */
    uint64_t slab_bytes;    /* lock:OWN; granules of slabs */
    uint64_t large_bytes;   /* lock:OWN */
    uint64_t large_blocks;  /* lock:OWN */
    uint64_t refused;       /* lock:OWN; allocations that the limit refused */
    uint64_t limit;         /* const while there is a heap, like the rest */
    bool keeps;             /* empty slabs stay */
    int (*on_limit)(void *arg, struct hak_heap *heap, size_t bytes);
    void *on_limit_arg;
    char name[HAK_HEAP_NAME_BYTES];
    struct hak_heap *older; /* const; the list of all records */
    struct hak_heap *next;  /* lock:OWNS; the queue of free records */
    bool is_free;           /* lock:OWNS; in the queue */
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

/* The id of a heap, or 0 if it has ended. */
HK_FAST uint64_t hk_own_id(const struct hak_heap *heap) {
    return hk_load_relaxed(&heap->id); /* relaxed: compared only. The pointer came with the heap */
}

/* The heap of a span, or NULL if it belongs to no private heap. Another thread may merge it. */
struct hak_heap *hk_own_of(const struct hk_span *span);

/* The same for the span of a live block, with the id of the heap. */
struct hk_own_ref hk_own_ref_of(const struct hk_span *span, const void *block);

/* Calls `visit` for each record, also of ended heaps. */
void hk_own_each(void (*visit)(void *arg, struct hak_heap *heap), void *arg);

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* The class of the blocks that serve a class, with a quarter of the classes above 128 bytes. They
 * have at least its alignment. */
size_t hk_own_class(size_t class);

/* Allocates a block of a class of hk_own_class. Its start is NULL if it fails, and *failure is the
 * reason. */
struct hk_block hk_own_take(struct hak_heap *heap, size_t class, struct hk_own_failure *failure);

/* The same, while another thread may merge the heap. Uses no cache. */
struct hk_block hk_own_take_once(const struct hk_own_ref *ref, size_t class,
                                 struct hk_own_failure *failure);

/* The same for a large block. */
struct hk_block hk_own_take_large(const struct hk_own_ref *ref, size_t size, size_t align,
                                  struct hk_own_failure *failure);

/* hk_own_take for the owner of the heap, from its cache. Returns NULL if that is impossible, and to
 * a thread that counts its bytes, which takes the slow path. */
HK_FAST void *hk_own_take_fast(const struct hak_heap *heap, size_t class) {
    /* relaxed: only this thread stores its own number */
    if (hk_unlikely(hk_load_relaxed(&heap->owner) != hk_lock_thread) || hk_count_is_on())
        return NULL;
    struct hk_own_cache *cache = heap->caches[0];
    struct hk_own_cell *cell = &cache->cells[class];
    uint64_t bits = cell->bits;
    int64_t left = cache->left - hk_classes[class].block_bytes;
    if (hk_unlikely(bits == 0) || hk_unlikely(left < 0))
        return NULL;

    cache->left = left;
    /* relaxed: readers under OWN only look for blocks that the program frees or holds */
    hk_store_relaxed(&cell->bits, bits & (bits - 1));
    return (char *)(cell->first & ~(uintptr_t)HK_OWN_ZERO) +
           (size_t)__builtin_ctzll(bits) * hk_classes[class].block_bytes;
}

/* Frees a block of a span that belonged to a private heap, on behalf of `function`. Reports a block
 * that is not allocated. Returns false if the heap was merged meanwhile, so that the span belongs
 * to another heap. */
bool hk_own_free(const char *function, struct hk_span *span, void *block);

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
                  struct hk_own_count classes[HK_CLASS_COUNT]);

/* Calls `visit` for each live block until it returns 0. No lock is held during the call. Returns 0,
 * ECANCELED if it returned 0, ENOMEM, or EINVAL if there is no such heap. */
int hk_own_visit(struct hak_heap *heap, int (*visit)(void *arg, void *block, size_t bytes),
                 void *arg);

/* The first fault of a heap, or NULL if there is none. */
const char *hk_own_validate(struct hak_heap *heap);

/* ---- Fork ------------------------------------------------------------------------------------ */

/* Repair, in a forked child, what a vanished thread was changing. */
void hk_own_repair(struct hk_lock *lock);
void hk_own_repair_queue(struct hk_lock *lock);

#endif
