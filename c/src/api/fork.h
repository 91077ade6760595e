/* api/fork.h - fork while other threads allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the rules that let fork run without taking any lock of hakmem: in any thread, in
 * signal handlers, and in any order with other fork handlers. The parent does nothing. The child
 * notices on its first slow call that it is a new process. A lock that a vanished thread held is
 * repaired when it is next taken, and the caches of vanished threads are emptied when the child
 * allocates.
 * Owns: the list of all repairs. Threads: any. Boundary: pthread_atfork, and the modules of the
 * repaired locks.
 */
#ifndef HK_API_FORK_H
#define HK_API_FORK_H

/* Gives os/lock the repair function of each lock. Called at the start of the process. */
void hk_fork_set_repairs(void);

/* Registers a child handler that notices the new process at once. Called from a constructor. */
void hk_fork_install(void);

#endif
