/* thread/recover.h - the caches of threads that are no more.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: two ways in which a cache loses its thread without a destructor of ours. The threads
 * of a parent process do not exist in a forked child. And a thread that makes its cache in its last
 * round of destructors is gone soon. Their blocks return to their owner heaps.
 * Owns: the generation of the process that was noticed last. Threads: any, no lock held.
 * Boundary: thread/threads, thread/bins, hk_os_generation, hk_os_thread_is_gone.
 */
#ifndef HK_THREAD_RECOVER_H
#define HK_THREAD_RECOVER_H

#include "tcache.h"

/* Notices that this process is a child of the one that was noticed before. Costs a load. */
void hk_recover_notice_fork(void);

/* The child handler of fork: notices it at once. */
void hk_recover_fork_child(void);

/* In a forked child: recovers the caches of the parent's other threads. Costs little if there are
 * none. */
void hk_recover_vanished(void);

/* Recovers the caches of threads that ended without our destructor. */
void hk_recover_gone(void);

/* The same at the start of a thread, once the number of caches has doubled. So a program never has
 * many more lost caches than threads, and a program whose number of threads is steady does not look
 * for them. */
void hk_recover_gone_if_many(void);

/* Stores which thread of which process owns a cache. By its owner. */
void hk_recover_identify(struct hk_thread *thread);

/* Calls `visit` for each thread cache, under the THREADS and its THREAD lock: floor and capacity
 * stand still, tops move. */
void hk_thread_each(void (*visit)(void *arg, struct hk_thread *thread), void *arg);

/* In a forked child, for a THREAD lock that a vanished thread held. */
void hk_recover_repair(struct hk_lock *lock);

#endif
