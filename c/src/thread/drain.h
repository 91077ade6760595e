/* thread/drain.h - emptying the caches of sleeping threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a way to empty the cache of another thread. A thread that worked hard and then sleeps
 * would hold its cache for as long as it sleeps. A drain takes its blocks, except the newest one of
 * each bin, and its large blocks. The owner's fast paths do not change and pay nothing.
 *
 * A drain needs two full barriers in all threads (membarrier, used as in liburcu). After the first
 * barrier, either we see that the owner is in a slow call, or a slow call that it begins waits. So
 * the owner can only pop and push. Then the drain sets a bound below the lowest block that stays:
 * the slot there is set to NULL, which ends the bin for a pop. After the second barrier, no pop
 * that missed the NULL is in progress below the bound, unless the top is at the bound. In that case
 * the drain restores the slot.
 *
 * So the newest block of each bin stays. The drain takes it, too, if the kernel shows after the
 * second barrier that the owner sleeps in a system call outside of any signal handler. Such a
 * thread is not in the middle of a pop.
 *
 *               floor        bound          top
 *   NULL | NULL | block ... | block block | ...        before
 *   NULL | NULL | (taken) NULL | block block | ...     after, with floor at the bound
 *
 * Owns: the buffer in use. Threads: any, no lock held but PURGE. Takes THREADS, THREAD and META.
 * The barriers, and the look-up whether the owner sleeps, are system calls under both thread locks.
 * Boundary: thread/threads, thread/bins, heap/heap, core/large, hk_os_barrier.
 */
#ifndef HK_THREAD_DRAIN_H
#define HK_THREAD_DRAIN_H

#include "tcache.h"

/* Drains the caches of threads that have done nothing since the last call. Returns true if it took
 * blocks, or if working threads may be idle at the next call. */
bool hk_drain_idle(void);

/* Drains the caches of all threads except those in a slow call. */
void hk_drain_all(void);

/* Drops the slots of a cache that a drain had bounded when its process forked. */
void hk_drain_repair(struct hk_thread *thread);

#endif
