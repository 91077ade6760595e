/* thread/threads.h - the list of thread caches.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a list of all thread caches of the process, each with its heap. The parked cache of
 * an ended thread stays in the list, but does not count as a thread.
 * Owns: the list, the counts, the THREADS lock.
 * Threads: any. Functions that end in _locked run under the THREADS lock, the others without it.
 * Boundary: heap/heaps, core/nodes, hk_os_cpu.
 */
#ifndef HK_THREAD_THREADS_H
#define HK_THREAD_THREADS_H

#include "tcache.h"

struct hk_threads {
    uint32_t cpus;            /* const after the start of the process; CPUs that it may use */
    struct hk_lock lock;      /* rank THREADS */
    struct hk_thread *first;  /* lock:THREADS; all caches */
    struct hk_thread *parked; /* atomic, stored under THREADS; the newest one */
    size_t parked_bytes;      /* atomic, stored under THREADS; of their blocks */
    uint32_t count;           /* atomic, stored under THREADS; caches that are not parked */
    uint32_t trims;           /* atomic; number of trim requests */
    uint32_t vanished;        /* atomic; 1 if there may be caches of a parent's threads */
};

extern struct hk_threads hk_threads;

/* The CPU by which the calling thread chooses its heap. The second thread reads the NUMA nodes. If
 * there is only one, all CPUs are equal, and the result is 0. It is called without a lock. */
uint32_t hk_threads_cpu(void);

/* A heap for a caller without a cache. Returns NULL if out of memory. */
struct hk_heap *hk_thread_any_heap(void);

/* The heap of sampled blocks, created at the first call. Returns NULL if out of memory. */
struct hk_heap *hk_thread_sampled_heap(void);

/* The number of threads with a cache in this process. */
uint32_t hk_thread_count(void);

/* Adds a cache to the list, gives it a heap, and makes it the calling thread's own. Returns false
 * if out of memory. */
bool hk_threads_attach(struct hk_thread *thread);

void hk_threads_unlink(struct hk_thread *thread);
void hk_threads_unlink_locked(struct hk_thread *thread);

/* Takes the first cache that `matches` out of the list. Returns NULL if there is none. */
struct hk_thread *hk_threads_take(bool (*matches)(const struct hk_thread *thread, const void *arg),
                                  const void *arg);

void hk_threads_park_locked(struct hk_thread *thread);
void hk_threads_unpark_locked(struct hk_thread *thread);

/* Asks all other threads to empty their caches at their next slow call. */
void hk_threads_ask_trim(void);

/* Whether other threads may soon use the blocks that this thread does not need, because there are
 * other threads, or some ended a short time ago. A program that never has a second thread does not
 * use transfer caches. */
bool hk_threads_are_many(void);

/* Repairs, in a forked child, the list if a vanished thread held the THREADS lock. */
void hk_threads_repair(struct hk_lock *lock);

#endif
