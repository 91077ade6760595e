/* heap/fork.h - fork while other threads allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: takes every lock, in the order of lock.def, before a fork, so that the child finds all
 * structures whole. Owns: nothing. Threads: the forking one. Boundary: pthread_atfork.
 */
#ifndef HK_HEAP_FORK_H
#define HK_HEAP_FORK_H

/* Registers the handlers, at the first call. That should come early: handlers that others register
 * before may not allocate, as they run while all locks are held. */
void hk_fork_install(void);

#endif
