/* thread/watch.h - watched threads: every call takes the slow path.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a switch that other threads operate. The fast paths read the thread-local pointer
 * hk_cache at each call. To watch a thread, we store the address of the watched cache there. From
 * its next call on, the thread takes the slow path, and the fast paths need no test. The slow path
 * serves it from its own bins, as the fast path would. Threads that start later are watched from
 * their first call on.
 *
 * Several modules watch independently of each other. Nothing is stored into other threads to end
 * this. A thread that finds no watch returns to its own cache. A thread may also watch itself
 * alone, for several reasons at a time. This does not slow down the others.
 *
 * Owns: hk_watch, hk_watch_own. Threads: any. Takes THREADS.
 * Boundary: thread/threads, hk_os_thread_is_gone.
 */
#ifndef HK_THREAD_WATCH_H
#define HK_THREAD_WATCH_H

#include "tcache.h"

/* Watches all threads on behalf of `watcher` with a number other than 0, or ends its watch with 0.
 * Threads are watched while one of the watchers has a number. */
void hk_watch_set(enum hk_watcher watcher, uint32_t number);

/* Makes the next call of each thread a slow one. The thread then does what it was asked to do, such
 * as a trim, and returns to its own cache. */
void hk_watch_once(void);

/* Watch the calling thread alone for a reason, also if it has no cache, and end that. A start
 * during another one for the same reason has no effect, nor has an end without a start. */
void hk_watch_own_start(enum hk_watch_reason reason);
void hk_watch_own_stop(enum hk_watch_reason reason);

/* Returns the calling thread to its own cache, unless it is watched again. */
void hk_watch_leave(struct hk_thread *thread);

/* Do the work of the fast paths in a watched thread. They fail in a thread without a cache, too. */
HK_FAST void *hk_watch_pop(size_t class) {
    struct hk_thread *thread = hk_thread_own;
    return hk_likely(thread != NULL) ? hk_bin_pop(&thread->cache.bins[class]) : NULL;
}

HK_FAST bool hk_watch_push(size_t class, void *block) {
    struct hk_thread *thread = hk_thread_own;
    return hk_likely(thread != NULL) && hk_bin_push(&thread->cache.bins[class], block);
}

#endif
