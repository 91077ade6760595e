/* thread/thread.h - the start and end of threads and of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: makes a thread's cache at its first slow call, or adopts a parked one, and parks it
 * when the thread ends. The first slow call of all starts the process, too.
 * Owns: the start of the process, the key whose destructor notices the end of a thread.
 * Threads: functions work on the calling thread's cache. No lock held.
 * Boundary: the other modules of this layer, pthread keys; upwards by thread/hooks.
 */
#ifndef HK_THREAD_THREAD_H
#define HK_THREAD_THREAD_H

#include "tcache.h"

/* The calling thread's own cache, made at the first call; NULL where it has none: checked mode,
 * after its end, without memory. */
struct hk_thread *hk_thread_get(void);

/* From the constructor: starts what the first allocation would have started, and reads the options
 * again if the environment was not there then. Keeps the shared object that contains us loaded. */
void hk_thread_start_late(void);

#endif
