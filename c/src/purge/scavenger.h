/* purge/scavenger.h - the background thread that gives memory back while the program sleeps.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: at most one thread per process. With the option background=auto it exists only while
 * the program itself has threads, so hakmem never makes a single-threaded process multi-threaded.
 * It starts once as much memory is free, or in use, as the option purge_thread_mb says. It sleeps
 * while nothing is dirty, scans twice per purge delay while something is, and ends when the process
 * has become small again or when the program's own threads have ended. A forked child starts
 * without it. Where it is absent, purge/balance and purge/tick work in its place.
 * Owns: the thread. Threads: any, no lock held. The thread itself takes the locks of purge/decay.
 * Boundary: purge/decay, core/dirty, core/usage, hk_os_start_thread.
 */
#ifndef HK_PURGE_SCAVENGER_H
#define HK_PURGE_SCAVENGER_H

#include "../base/compiler.h"

/* From a slow path of an allocation (never of a free, which libc calls under locks that creating a
 * thread needs): starts the thread if it is wanted and absent. `signal_mask` is the calling
 * thread's usual one. A refusal is tried again later, with increasing pauses. */
void hk_scavenger_want(uint64_t signal_mask);

bool hk_scavenger_is_present(void);

/* From the end of a program's thread: ends the scavenger if the rest of the program has no use for
 * it, and waits until it is gone. True if it was ended. */
bool hk_scavenger_thread_ended(void);

#endif
