/* thread/tcache.h - the cache of a thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a bin of free blocks for each class, and a few large blocks. The cache grows with the
 * work of its thread. A thread that does little work holds little memory, even if it then sleeps.
 *
 * A thread starts with a constant cache, the uninitialized cache. Its bins are both empty and full,
 * so that the first call takes the slow path and creates the thread's own cache. After its exit,
 * and in checked mode, a thread uses the disabled cache, and every call goes to a heap. While the
 * heap is profiled, threads use the watched cache. Every call takes the slow path, which serves it
 * from the thread's own cache.
 *
 * Owns: the current cache of a thread. The other modules of this layer own parts of it: bins,
 * budget, large_cache, the list of all caches (threads), the caches of ended threads (park,
 * recover), the switch to the watched cache (watch).
 * Threads: as each field says. Boundary: core/bin.
 */
#ifndef HK_THREAD_TCACHE_H
#define HK_THREAD_TCACHE_H

#include <hakmem.h>

#include "../core/bin.h"
#include "../heap/heap.h"
#include "large_cache.h"

struct hk_thread {
    struct hk_cache cache;             /* owner; comes first, because hk_cache points to it */
    void **floor[HK_CLASS_COUNT];      /* lock:THREAD; the oldest block of each bin */
    uint16_t capacity[HK_CLASS_COUNT]; /* lock:THREAD; slots of the array that ends at ceil, or 0 */
    void **seen[HK_CLASS_COUNT];       /* owner; top at the last scan, NULL after a slow call */
    struct hk_heap *heap;              /* const while the thread runs */
    struct hk_large_cache large;       /* owner */
    size_t capacity_bytes;             /* owner; sum of capacity times block size */
    size_t batch_bytes;                /* owner; the same, small blocks count as larger */
    size_t budget;                     /* owner; bytes that it may hold, recomputed now and then */
    size_t no_room;        /* owner; block size of the last bin that the budget kept from growing */
    uint32_t depth_shift;  /* owner; shifts the depth of each class to that of its bin */
    size_t refilled_bytes; /* owner; bytes of all refills */
    size_t flushed_bytes;  /* owner; bytes of all flushes */
    size_t regret_bytes;   /* owner; bytes of refills from classes that it had flushed */
    size_t flushed_large;  /* owner; the last large block that was flushed, or 0 */
    uint64_t flushed[HK_WORDS(
        HK_CLASS_COUNT)];    /* owner; bits of classes flushed since their last refill */
    uint8_t moving;          /* atomic, stored by the owner; class of the bin being changed, or 0 */
    uint32_t busy;           /* atomic, stored by the owner; depth of nested slow calls */
    uint32_t slow_calls;     /* atomic, stored by the owner; since the start */
    uint32_t frees_in_a_row; /* owner; flushes since the last refill */
    uint64_t scanned_ms;     /* owner; time of its last scan for idle bins */
    uint32_t trim_seen;      /* owner; number of trim requests that it has seen */
    struct hk_cache **place; /* lock:THREADS; hk_cache of the owner, or NULL */
    uint32_t number;         /* lock:THREADS; hk_lock_thread of the owner */
    uint32_t generation;     /* atomic, stored by the owner; process of `id` */
    uint64_t id;             /* atomic, stored by the owner; hk_os_thread_id */
    uint64_t signal_mask;    /* owner; at the start of the thread */
    uint32_t end_rounds;     /* owner; calls of the key's destructor so far */
    bool is_parked;          /* lock:THREADS; its thread has ended */
    uint64_t parked_ms;      /* owner; time of its end */
    size_t parked_bytes;     /* owner; of its blocks at that time */
    struct hk_thread *parked_next; /* lock:THREADS */
    bool drains;                   /* lock:THREADS; marked for a drain */
    bool drained;                  /* lock:THREADS; it has done nothing since its last drain */
    uint32_t drain_calls;          /* lock:THREADS; slow_calls at the last check of thread/drain */
    uintptr_t drain_tops;          /* lock:THREADS; sum of the tops at that check */
    struct hk_lock lock;           /* rank THREAD */
    struct hk_thread *next;        /* lock:THREADS */
    struct hk_thread *prev;        /* lock:THREADS */
};

/* The calling thread's current cache: its own, or one of the three constant ones. Another thread
 * may replace the own cache with the watched one. */
extern HK_THREAD_LOCAL struct hk_cache *hk_cache; /* atomic */

/* The calling thread's own cache, or NULL if it has none. */
extern HK_THREAD_LOCAL struct hk_thread *hk_thread_own;

/* relaxed: each cache that it may point to is as valid as the others */
HK_FAST struct hk_cache *hk_cache_get(void) { return hk_load_relaxed(&hk_cache); }

/* The bin at a row of the calling thread's current cache. */
HK_FAST struct hk_bin *hk_cache_bin(size_t row) {
    return hk_offset_relaxed((void *const *)(const void *)&hk_cache, row);
}

/* The cache that is being drained by another thread, or NULL. */
extern struct hk_thread *hk_tcache_drained; /* atomic, stored under THREADS */

/* Waits until the drain of the calling thread's cache is over. */
void hk_tcache_wait(struct hk_thread *thread);

/* Enclose each use of the calling thread's cache beyond a single pop or push. They may be nested.
 * Between the two, no other thread touches the cache. */
/* NOLINTNEXTLINE(misc-no-recursion): see hk_tcache_wait */
static inline void hk_tcache_enter(struct hk_thread *thread) {
    /* relaxed: a barrier in all threads (hk_os_barrier) orders it with the load below */
    hk_store_relaxed(&thread->busy, thread->busy + 1);
    hk_fence_compiler();
    /* acquire: the changes of thread/drain. It pairs with its release. */
    if (hk_unlikely(hk_load_acquire(&hk_tcache_drained) == thread))
        hk_tcache_wait(thread);
}

static inline void hk_tcache_leave(struct hk_thread *thread) {
    /* release: our changes. It pairs with the acquire in thread/drain. */
    hk_store_release(&thread->busy, thread->busy - 1);
}

/* The modules that watch threads (thread/watch). One word has the number of the current watch of
 * each, or 0, so that a single test shows whether threads are watched. */
enum hk_watcher { HK_WATCHER_PROFILE, HK_WATCHER_GUARD };
enum { HK_WATCH_BITS = 32 };
extern uint64_t hk_watch; /* atomic, stored under THREADS */

/* The reasons to watch the calling thread alone (thread/watch), as bits: it counts its bytes, or
 * has a default heap. */
enum hk_watch_reason { HK_WATCH_COUNT = 1, HK_WATCH_HEAP = 2 };
extern HK_THREAD_LOCAL uint32_t hk_watch_own;

/* Whether the calling thread is watched. */
HK_FAST bool hk_watch_is_on(void) { return hk_peek(&hk_watch) != 0 || hk_watch_own != 0; }

HK_FAST uint32_t hk_watch_number(enum hk_watcher watcher) {
    return (uint32_t)(hk_peek(&hk_watch) >> (unsigned)watcher * HK_WATCH_BITS);
}

/* acquire: the settings of the watch. It pairs with the release in hk_watch_set. */
static inline uint32_t hk_watch_number_acquire(enum hk_watcher watcher) {
    return (uint32_t)(hk_load_acquire(&hk_watch) >> (unsigned)watcher * HK_WATCH_BITS);
}

/* Switches the calling thread to the disabled cache, so that its calls go directly to a heap. */
void hk_thread_disable_cache(void);

/* Makes a cache the calling thread's own. It is the current one, or the watched one takes its
 * place. Under the THREADS lock, with the cache in the list. */
void hk_thread_use_cache_locked(struct hk_thread *thread);

/* The address of the watched cache. */
struct hk_cache *hk_tcache_watched(void);

#endif
