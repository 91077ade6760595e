/* purge/scavenger.h - the background thread that gives memory back while the program sleeps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: at most one thread per process. With the option background=auto it exists only while
 * the program itself has threads, so hakmem never makes a single-threaded process multi-threaded.
 * It starts when free memory, or memory in use, reaches the option purge_thread_mb. It sleeps while
 * no memory is dirty, and scans twice per purge delay otherwise. It ends when the process has
 * become small again or the program's own threads have ended. A forked child starts without it.
 * Without it, purge/balance and purge/tick do its work.
 * Owns: the thread. Threads: any, no lock held. The thread itself takes the locks of purge/decay.
 * Boundary: purge/decay, core/dirty, core/usage, thread/count, hk_os_start_thread.
 */
#ifndef HK_PURGE_SCAVENGER_H
#define HK_PURGE_SCAVENGER_H

#include "../base/compiler.h"

/* Starts the thread if it is wanted and absent. Called from slow paths of allocations, never from
 * those of frees, because libc frees under locks that pthread_create needs. `signal_mask` is the
 * calling thread's usual mask. If the thread cannot be started, it is tried again later, after
 * increasing pauses. */
void hk_scavenger_want(uint64_t signal_mask);

bool hk_scavenger_is_present(void);

/* Ends the scavenger if the rest of the program no longer needs it, and waits until it is gone.
 * Called at the end of a program's thread. Returns true if it was ended. */
bool hk_scavenger_thread_ended(void);

#endif
