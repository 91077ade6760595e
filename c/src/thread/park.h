/* thread/park.h - the caches of threads that ended.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a thread that ends leaves its cache, with the blocks in it, to the next thread that
 * starts. Threads that do short tasks therefore start with a full cache.
 * Owns: the parked caches, which lie in the list of thread caches. Threads: any, no lock held.
 * Boundary: thread/threads, thread/bins.
 */
#ifndef HK_THREAD_PARK_H
#define HK_THREAD_PARK_H

#include "tcache.h"

/* Parks the cache of a thread that ends. Returns false if there is no room for it. */
bool hk_park(struct hk_thread *thread);

/* Gives the cache that was parked last, by a thread with a heap on the same NUMA node, to the
 * calling thread. Returns NULL if there is none. */
struct hk_thread *hk_park_adopt(void);

/* Empties the caches that were parked at or before a time. Returns true if there are others. */
bool hk_park_release(uint64_t before_ms);

/* Empties parked caches until the others hold at most `bytes`. */
void hk_park_shrink(size_t bytes);

/* A moving average of the blocks of a class that threads held when they ended. */
uint32_t hk_park_usual(size_t class);

#endif
