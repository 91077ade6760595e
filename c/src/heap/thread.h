/* heap/thread.h - the cache of a thread, from its start to its end.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one bin for each class, their arrays, and the slow paths that fill and empty them.
 * Arrays start small and double each time a bin runs empty or full, to the depth of its class and
 * within the thread's budget of bytes. The budget grows with the thread's regret: bytes that it refills
 * after it flushed such blocks. A thread that does little holds little, even if it then sleeps for ever.
 * Bins that were not used since the last scan give half back. A thread that ends parks its cache for the
 * next one that starts.
 * A thread starts on the constant uninitialized cache, whose bins are empty and full at once, so that its
 * first call ends here. After its end, and in checked mode, it is on the disabled one, and every
 * call goes to a heap.
 * Owns: the thread records, the table of heaps, and which thread uses which heap.
 * Threads: functions work on the calling thread's record unless they say otherwise. Takes THREADS
 * at start and end, the own THREAD lock while an array is exchanged.
 * Boundary: heap/heap, core/meta; pthread keys for the end of a thread.
 */
#ifndef HK_HEAP_THREAD_H
#define HK_HEAP_THREAD_H

#include <hakmem.h>

#include "../core/bin.h"
#include "heap.h"
#include "keep.h"

struct hk_thread {
    struct hk_cache cache;             /* owner; first: hk_cache points to it */
    void **floor[HK_CLASS_COUNT];      /* lock:THREAD; the oldest block of each bin */
    uint16_t capacity[HK_CLASS_COUNT]; /* lock:THREAD; ceil - floor; 0: no array */
    void **seen[HK_CLASS_COUNT];       /* owner; top at the last scan, NULL after a slow call */
    struct hk_heap *heap;              /* const while the thread lives */
    struct hk_keep keep;               /* owner; large blocks */
    size_t capacity_bytes;             /* owner; sum of capacity times block size */
    size_t budget;                     /* owner; bytes that it may hold, recomputed now and then */
    uint32_t depth_shift;              /* owner; bins have the depth of their class shifted by it */
    size_t moved_bytes;                /* owner; of all refills and flushes */
    size_t regret_bytes;               /* owner; of refills from classes that it had flushed */
    uint64_t flushed[HK_WORDS(
        HK_CLASS_COUNT)];          /* owner; bits: classes flushed since their last refill */
    uint8_t moving;                /* atomic, stored by the owner; class of the bin whose blocks
                                            are being moved, or HK_CLASS_NONE */
    uint32_t slow_calls;           /* owner; since the start */
    uint32_t frees_in_a_row;       /* owner; flushes since the last refill */
    uint64_t scanned_ms;           /* owner; when it last looked for idle bins */
    uint32_t trim_seen;            /* owner; the latest hk_thread_ask_trim it has obeyed */
    uint32_t number;               /* lock:THREADS; hk_lock_thread of the owner */
    uint32_t generation;           /* atomic, stored by the owner; process that `id` belongs to */
    uint64_t id;                   /* atomic, stored by the owner; hk_os_thread_id */
    uint64_t signal_mask;          /* owner; at the start of the thread */
    uint32_t end_rounds;           /* owner; calls of the key's destructor so far */
    bool is_parked;                /* lock:THREADS; its thread has ended */
    uint64_t parked_ms;            /* owner; when */
    struct hk_thread *parked_next; /* lock:THREADS */
    struct hk_lock lock;           /* rank THREAD */
    struct hk_thread *next;        /* lock:THREADS */
    struct hk_thread *prev;        /* lock:THREADS */
};

/* The calling thread's cache: a thread's own, or one of the two constant ones. */
extern HK_THREAD_LOCAL struct hk_cache *hk_cache;

/* The calling thread's record, made at the first call; NULL where it has none: checking mode, after
 * its end, without memory. */
struct hk_thread *hk_thread_get(void);

/* A heap for a caller without a record; NULL without memory. */
struct hk_heap *hk_thread_any_heap(void);

/* One block of a class whose bin is empty; NULL without memory. */
void *hk_thread_refill(size_t class);

/* As hk_thread_refill, but takes a single block, which may be known to be zero. */
struct hk_block hk_thread_take_one(size_t class);

/* Frees a block of a class whose bin is full, or that must be checked: a block that is free already
 * is reported, in the name of `function`, unless another thread caches it. */
void hk_thread_flush(const char *function, size_t class, void *block);

/* A large block: one that the thread has kept, else a new one. start NULL without memory. */
struct hk_block hk_thread_take_large(size_t size, size_t align);

/* Frees the large block of a span: the thread may keep it. */
void hk_thread_free_large(struct hk_span *span);

/* Puts up to `count` blocks of a class into the record's bin; returns how many were added. */
uint32_t hk_thread_fill(struct hk_thread *thread, size_t class, uint32_t count);

/* Brings all cached blocks of the calling thread home. */
void hk_thread_empty(struct hk_thread *thread);

/* Empties the caches that threads left at or before a time when they ended. True if there are
 * others. No lock held. */
bool hk_thread_release_parked(uint64_t before_ms);

/* Asks all other threads to empty their caches at their next slow path. */
void hk_thread_ask_trim(void);

/* Calls `visit` for each heap, or for each thread's record (under the THREADS and its THREAD lock:
 * floor and capacity stand still, tops move). */
void hk_thread_each_heap(void (*visit)(void *arg, struct hk_heap *heap), void *arg);
void hk_thread_each(void (*visit)(void *arg, struct hk_thread *thread), void *arg);

/* Blocks in a bin of a record visited by hk_thread_each. */
uint32_t hk_thread_cached(const struct hk_thread *thread, size_t class);

/* Threads of this process that have a record. */
uint32_t hk_thread_count(void);

/* How many blocks of a class threads held when they ended, on a slowly moving average. */
uint32_t hk_thread_usual(size_t class);

/* From the constructor: starts what the first allocation would have started, and reads the options
 * again if the environment was not there then. Keeps the shared object that contains us loaded. */
void hk_thread_start_late(void);

/* A heap by its number; NULL past the last. */
struct hk_heap *hk_thread_heap(uint32_t number);

/* Puts the calling thread on the disabled cache: its calls go to a heap directly. */
void hk_thread_disable_cache(void);

/* Recovers the caches of threads that ended without our destructor, as a thread does that makes its
 * cache in its last round of destructors. No lock held. */
void hk_thread_recover_gone(void);

/* In a forked child: the caches of other threads are emptied by the next slow calls. */
void hk_thread_fork_child(void);

/* In a forked child, for a THREADS or THREAD lock that a vanished thread held. */
void hk_threads_repair(void);
void hk_thread_repair(struct hk_thread *thread);

#endif
