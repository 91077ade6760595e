/* thread/recover.h - the caches of threads that no longer exist.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the recovery of caches that lost their thread without a call of our destructor.
 * Either the thread belonged to a parent process and does not exist in the forked child, or it
 * created its cache in its last round of destructors. The blocks return to their owner heaps.
 * Owns: the generation of the last noticed process. Threads: any, no lock held.
 * Boundary: thread/threads, thread/bins, hk_os_generation, hk_os_thread_is_gone;
 * upwards thread/hooks.
 */
#ifndef HK_THREAD_RECOVER_H
#define HK_THREAD_RECOVER_H

#include "tcache.h"

/* Notices if this process is a child of the last one that was noticed. The cost is one load. */
void hk_recover_notice_fork(void);

/* The child handler of fork, which notices the new process at once. */
void hk_recover_fork_child(void);

/* Recovers, in a forked child, the caches of the parent's other threads. The cost is small if there
 * are none. */
void hk_recover_vanished(void);

/* Recovers the caches of threads that ended without our destructor. */
void hk_recover_gone(void);

/* The same at the start of a thread, once the number of caches has doubled. So a program never has
 * many more lost caches than threads, and a program with a steady number of threads does not look
 * for them. */
void hk_recover_gone_if_many(void);

/* Records the calling thread and its process as the owner of a cache. */
void hk_recover_identify(struct hk_thread *thread);

/* Calls `visit` for each thread cache, under the THREADS lock and its THREAD lock. Floors and
 * capacities cannot change during the call, but tops can. */
void hk_thread_each(void (*visit)(void *arg, struct hk_thread *thread), void *arg);

/* Repairs, in a forked child, a cache with a THREAD lock that a vanished thread held. */
void hk_recover_repair(struct hk_lock *lock);

#endif
