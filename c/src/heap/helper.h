/* heap/helper.h - the thread that gives memory back while the program sleeps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one thread a process, all signals blocked, on a small stack. It is created by an
 * allocation (never by a free, which libc calls under locks that creating a thread needs) once as
 * much is free as the option purge_thread_mb says, or as much is in use: at least that where the
 * program has threads already, four times that where it has one. It sleeps without a timeout while
 * nothing is free, looks twice a purge delay while something is, and ends when the process has
 * become small again. A forked child starts without it and gets its own in the same way.
 * Owns: the thread and the word that it sleeps on. Threads: any, no lock held.
 * Boundary: heap/purge, heap/thread, core/usage; pthread_create.
 */
#ifndef HK_HEAP_HELPER_H
#define HK_HEAP_HELPER_H

#include "../base/compiler.h"

/* From allocations that came to a slow path: creates the thread if it is wanted and not there. */
void hk_helper_want(void);

/* From frees that came to a slow path: there may be something to give back. */
void hk_helper_work(void);

bool hk_helper_is_present(void);

void hk_helper_fork_child(void);

#endif
