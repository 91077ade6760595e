/* own/default.h - the private heap that serves the allocations of a thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a thread-local pointer. A thread with a default heap uses the watched cache
 * (thread/watch), so that each of its calls takes the slow path, which looks here.
 * Owns: the pointer. Threads: the calling thread. Takes THREADS. Boundary: own/own, thread/watch.
 */
#ifndef HK_OWN_DEFAULT_H
#define HK_OWN_DEFAULT_H

#include "own.h"

struct hk_own_default {
    struct hak_heap *heap; /* NULL: none */
    uint64_t id;           /* of the heap at that time */
};
extern HK_THREAD_LOCAL struct hk_own_default hk_own_default;

/* Sets the default heap of the calling thread, or none with NULL. Returns the former one, or NULL
 * if there was none or it has ended. */
struct hak_heap *hk_own_set_default(struct hak_heap *heap);

/* Enclose calls that may allocate memory which outlives any heap, such as the creation of a thread
 * and callbacks of the program. These may set and end a default heap of their own. */
static inline struct hk_own_default hk_own_suspend_default(void) {
    struct hk_own_default suspended = hk_own_default;
    hk_own_default.heap = NULL;
    return suspended;
}
void hk_own_resume_default(struct hk_own_default suspended);

/* The default heap of a thread that has set one. If it has ended meanwhile, the thread has none
 * from now on, and NULL is returned. */
struct hak_heap *hk_own_get_default(void);

#endif
