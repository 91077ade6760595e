/* heap/heap.h - where blocks live when no thread caches them.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: for each class a lock and the slabs that have free blocks. The thread that empties a
 * slab releases it, so an idle heap holds nothing back.
 * Owns: its arena and slabs. A heap is never destroyed. When its threads end it waits for the next.
 * Threads: any. Takes one CLASS lock at a time, for a batch; memory comes from and goes to the
 * arena while no lock is held. Boundary: core/arena, core/slab, core/large, core/pagemap,
 * core/meta, hk_os_purge.
 */
#ifndef HK_HEAP_HEAP_H
#define HK_HEAP_HEAP_H

#include "../core/arena.h"
#include "../core/error.h"
#include "../core/slab.h"
#include "../os/lock.h"

#define HK_HEAPS_MAX 256u
#define HK_BATCH_MAX 160u /* blocks that are returned together: 11 bytes of stack each */

struct hk_heap_class {
    struct hk_lock lock;
    struct hk_span *first; /* lock:CLASS; slabs that are not exhausted; taken from the front */
    struct hk_span *last;  /* lock:CLASS */
    struct hk_span *scan;  /* lock:CLASS; the slab that a scan visits next; NULL: at the end */
    uint32_t slabs;        /* atomic, stored under CLASS; all, exhausted ones too */
    uint32_t listed;       /* lock:CLASS; in the list */
    uint32_t empty;        /* lock:CLASS; with no block out; at most HEAP_EMPTY_KEPT */
    uint32_t uses;         /* atomic, stored under CLASS; rises with each take and give */
    uint32_t uses_seen;    /* lock:PURGE; at the last scan */
    uint32_t uses_idle;    /* lock:PURGE; at the last scan that found nothing more to give back */
    uint64_t
        blocks_allocated; /* lock:CLASS; with blocks_purging the sum of bump - free over the slabs */
    uint64_t blocks_purging; /* lock:CLASS; free, but taken while their pages are given back */
    uint64_t refills;        /* lock:CLASS; statistics, as in struct hak_class_stats */
    uint64_t flushes;        /* lock:CLASS */
} HK_CACHE_ALIGNED;

struct hk_heap {
    struct hk_heap_class classes[HK_CLASS_COUNT];
    struct hk_arena arena;
    uint32_t threads;        /* lock:THREADS; attached now */
    uint32_t number;         /* const; its place in the table of heaps */
    struct hk_span *purging; /* atomic, stored under CLASS; its free pages are being given back */
    uint64_t purging_bits[HK_SLAB_WORDS_MAX]; /* lock:CLASS; its free blocks, taken meanwhile */
};

/* A heap, all zero; NULL without memory. */
struct hk_heap *hk_heap_create(void);

/* Takes up to `count` blocks of a class into `to`, from slabs, or from a new slab. Returns how
 * many; 0 only without memory. */
uint32_t hk_heap_take(struct hk_heap *heap, size_t class, void **to, uint32_t count);

/* Takes one block, saying whether it is zero. */
struct hk_block hk_heap_take_one(struct hk_heap *heap, size_t class);

/* Returns blocks of one class to their slabs, each to the heap that owns it. Adds those that are no
 * allocated blocks of the class to *mistakes. */
void hk_heap_give(size_t class, void *const *blocks, uint32_t count, struct hk_mistakes *mistakes);

/* The same for blocks that nobody needed since the last scan, which is no use of their class. Under
 * the PURGE lock. */
void hk_heap_give_idle(size_t class, void *const *blocks, uint32_t count,
                       struct hk_mistakes *mistakes);

/* Takes those that are no allocated blocks of the class out of a batch, and adds them to *mistakes.
 * Takes no lock: a block that another thread frees just now may be missed. Returns how many are
 * left. */
uint32_t hk_heap_check_batch(size_t class, void **blocks, uint32_t count,
                             struct hk_mistakes *mistakes);

/* Brings one block straight to its slab, so that a double free is always seen. `class` is what the
 * caller takes the block for. */
void hk_heap_give_one(const char *function, size_t class, void *block);

/* Makes a block of a class larger where it is, by free granules behind it: one that has its slab to
 * itself, as the blocks of the largest classes do. It becomes a block of `new_class`, or a large
 * one of `size` bytes. False, nothing changed, where that is impossible. */
bool hk_heap_extend(void *block, size_t class, size_t new_class, size_t size);

/* The state of the block that starts at an address, from its slab, under its lock. HK_SLAB_DONE: it
 * is allocated, or cached by a thread or a transfer cache. */
enum hk_slab_result hk_heap_look(const void *block);

/* Reports a block in the name of `function`. */
void hk_heap_report(const char *function, const void *block, enum hk_slab_result result);

/* Reports a block of a class unless it is allocated or cached. Takes no lock: a block that another
 * thread frees just now may be missed. */
bool hk_heap_check_fast(const char *function, const void *block);

/* In a forked child: rebuilds a class, whose lock a vanished thread held, from the bits of its
 * slabs; undoes a purge that a vanished thread had begun. */
void hk_heap_repair_class(struct hk_heap *heap, size_t class);
void hk_heap_repair_purge(void *unused, struct hk_heap *heap);

#endif
