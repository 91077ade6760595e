/* api/fork.h - fork while other threads allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the rules that let fork run without taking a single lock of ours, in any thread, in
 * any order with handlers of others, and in signal handlers. The parent does nothing. The child
 * notices on its first slow call that it is a new process. Locks whose holders vanished are
 * repaired when they are first wanted, and the caches of vanished threads are emptied when the
 * child gets to allocating.
 * Owns: the list of all repairs. Threads: any. Boundary: pthread_atfork, the modules whose locks
 * are repaired.
 */
#ifndef HK_API_FORK_H
#define HK_API_FORK_H

/* Tells os/lock how to repair what each lock protects. At the start of the process. */
void hk_fork_set_repairs(void);

/* Registers a child handler that notices the new process at once. From a constructor. */
void hk_fork_install(void);

#endif
