/* thread/thread.h - the start and end of threads and of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the creation of a thread's cache, or the adoption of a parked one, at its first slow
 * call, and the parking at its end. The very first slow call also starts the process.
 * Owns: the start of the process, and the key with the destructor that notices the end of a thread.
 * Threads: functions work on the calling thread's cache. No lock held.
 * Boundary: the other modules of this layer, pthread keys, and upwards thread/hooks.
 */
#ifndef HK_THREAD_THREAD_H
#define HK_THREAD_THREAD_H

#include "tcache.h"

/* The calling thread's own cache, created at the first call. Returns NULL in checked mode, after
 * the thread's exit, and if out of memory. */
struct hk_thread *hk_thread_get(void);

/* Called from the constructor. Starts the process unless an allocation has already done so. Reads
 * the options again if there was no environment then. Keeps the shared object that contains hakmem
 * loaded. */
void hk_thread_start_late(void);

#endif
