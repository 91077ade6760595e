/* thread/drain.h - blocks taken out of the caches of threads that sleep.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a thread that worked hard and then sleeps would hold its cache for as long as it
 * sleeps. Here another thread takes the blocks out of it, up to the newest one of each bin, and its
 * large blocks. The owner's fast paths do not change and pay nothing.
 *
 * It takes two full barriers in all threads (membarrier; the idea of such one-sided barriers is
 * that of liburcu). After the first one, the owner is not within a slow call, or is seen to be, and
 * a slow call that begins waits. So the owner can only pop and push. Then the lowest slot that is
 * to stay full is bounded: the slot below it gets NULL, which ends the bin for a pop. After the
 * second barrier no pop that missed the NULL is under way below that point, unless the top is
 * there. Then the slot is restored.
 *
 * So the newest block of each bin stays. It goes, too, where the owner sleeps in a system call
 * outside of any signal handler, as the kernel tells after the second barrier. Such a thread is not
 * in the middle of a pop.
 *
 *               floor        bound          top
 *   NULL | NULL | block ... | block block | ...        before
 *   NULL | NULL | (taken) NULL | block block | ...     after, with floor at the bound
 *
 * Owns: the buffer in use. Threads: any, no lock held but PURGE. Takes THREADS, THREAD and META.
 * The barriers are system calls under the THREADS lock, the only ones.
 * Boundary: thread/threads, thread/bins, heap/heap, core/large, hk_os_barrier.
 */
#ifndef HK_THREAD_DRAIN_H
#define HK_THREAD_DRAIN_H

#include "tcache.h"

/* Drains the caches of threads that did nothing since the last call. True if it took blocks, or if
 * threads were at work that may be idle at the next call. */
bool hk_drain_idle(void);

/* Drains the caches of all threads but those that are within a slow call. */
void hk_drain_all(void);

/* Drops slots of a cache that a drain had bounded when its process forked. */
void hk_drain_repair(struct hk_thread *thread);

#endif
