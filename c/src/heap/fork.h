/* heap/fork.h - fork while other threads allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the rules that let fork run without taking a single lock of ours, in any thread, in any
 * order with handlers of others, and in signal handlers. The parent does nothing. The child notices on
 * its first slow call that it is a new process: locks whose holders vanished are repaired when they are
 * first wanted, and the caches of vanished threads are emptied when the child gets to allocating.
 * Owns: the repair functions of all locks, the generation that was noticed last.
 * Threads: any. Boundary: hk_os_generation, pthread_atfork, the modules whose locks it repairs.
 */
#ifndef HK_HEAP_FORK_H
#define HK_HEAP_FORK_H

/* Tells os/lock how to repair what each lock protects. At the start of the process. */
void hk_fork_set_repairs(void);

/* Registers a child handler that calls hk_fork_notice at once. From a constructor. */
void hk_fork_install(void);

/* Notices that this process is a child of the one that was noticed before. Costs a load. */
void hk_fork_notice(void);

#endif
