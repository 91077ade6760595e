/* thread/tcache.h - the cache of a thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a bin of free blocks for each class, and a few large blocks. The cache grows with the
 * work of its thread. A thread that does little holds little, even if it then sleeps.
 *
 * A thread starts on a constant cache, the uninitialized one. Its bins are empty and full at once,
 * so that the first call is a slow one and makes the thread's own cache. After the thread's end,
 * and in checked mode, it is on the disabled one, and every call goes to a heap.
 *
 * Owns: which cache a thread is on. The other modules of this layer own parts of it: bins, budget,
 * large_cache, the list of all caches (threads), those of ended threads (park, recover).
 * Threads: as each field says. Boundary: core/bin.
 */
#ifndef HK_THREAD_TCACHE_H
#define HK_THREAD_TCACHE_H

#include <hakmem.h>

#include "../core/bin.h"
#include "../heap/heap.h"
#include "large_cache.h"

struct hk_thread {
    struct hk_cache cache;        /* owner; first: hk_cache points to it */
    void **floor[HK_CLASS_COUNT]; /* lock:THREAD; the oldest block of each bin */
    uint16_t
        capacity[HK_CLASS_COUNT]; /* lock:THREAD; slots of the array, which ends at ceil; 0: none */
    void **seen[HK_CLASS_COUNT];  /* owner; top at the last scan, NULL after a slow call */
    struct hk_heap *heap;         /* const while the thread lives */
    struct hk_large_cache large;  /* owner */
    size_t capacity_bytes;        /* owner; sum of capacity times block size */
    size_t budget;                /* owner; bytes that it may hold, recomputed now and then */
    size_t no_room;               /* owner; bytes; since then a bin of such blocks did not grow */
    uint32_t depth_shift;         /* owner; bins have the depth of their class shifted by it */
    size_t moved_bytes;           /* owner; of all refills and flushes */
    size_t regret_bytes;          /* owner; of refills from classes that it had flushed */
    uint64_t flushed[HK_WORDS(
        HK_CLASS_COUNT)];          /* owner; bits: classes flushed since their last refill */
    uint8_t moving;                /* atomic, stored by the owner; class of the bin whose blocks are
                                      being moved, or HK_CLASS_NONE */
    uint32_t busy;                 /* atomic, stored by the owner; slow calls that it is in */
    uint32_t slow_calls;           /* atomic, stored by the owner; since the start */
    uint32_t frees_in_a_row;       /* owner; flushes since the last refill */
    uint64_t scanned_ms;           /* owner; when it last looked for idle bins */
    uint32_t trim_seen;            /* owner; the latest hk_threads_ask_trim that it has obeyed */
    uint32_t number;               /* lock:THREADS; hk_lock_thread of the owner */
    uint32_t generation;           /* atomic, stored by the owner; process that `id` belongs to */
    uint64_t id;                   /* atomic, stored by the owner; hk_os_thread_id */
    uint64_t signal_mask;          /* owner; at the start of the thread */
    uint32_t end_rounds;           /* owner; calls of the key's destructor so far */
    bool is_parked;                /* lock:THREADS; its thread has ended */
    uint64_t parked_ms;            /* owner; when */
    struct hk_thread *parked_next; /* lock:THREADS */
    bool drains;                   /* lock:THREADS; its turn in thread/drain is to come */
    bool drained;                  /* lock:THREADS; it did nothing since its last turn */
    uint32_t drain_calls;          /* lock:THREADS; slow_calls when thread/drain last looked */
    uintptr_t drain_tops;          /* lock:THREADS; sum of the tops then */
    struct hk_lock lock;           /* rank THREAD */
    struct hk_thread *next;        /* lock:THREADS */
    struct hk_thread *prev;        /* lock:THREADS */
};

/* The calling thread's cache: its own, or one of the two constant ones. */
extern HK_THREAD_LOCAL struct hk_cache *hk_cache;

/* The cache that another thread drains just now; NULL: none. */
extern struct hk_thread *hk_tcache_drained; /* atomic, stored under THREADS */

/* Waits until that is over. */
void hk_tcache_wait(struct hk_thread *thread);

/* Around each use of the calling thread's cache beyond a single pop or push. May be nested. Between
 * the two, no other thread touches the cache. */
static inline void hk_tcache_enter(struct hk_thread *thread) {
    /* relaxed: a barrier in all threads (hk_os_barrier) orders it with the load below */
    hk_store_relaxed(&thread->busy, thread->busy + 1);
    hk_fence_compiler();
    /* acquire: the changes of thread/drain; pairs with its release */
    if (hk_unlikely(hk_load_acquire(&hk_tcache_drained) == thread))
        hk_tcache_wait(thread);
}

static inline void hk_tcache_leave(struct hk_thread *thread) {
    /* release: our changes; pairs with the acquire in thread/drain */
    hk_store_release(&thread->busy, thread->busy - 1);
}

/* Puts the calling thread on the disabled cache: its calls go to a heap directly. */
void hk_thread_disable_cache(void);

#endif
