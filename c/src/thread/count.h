/* thread/count.h - the bytes that a thread allocates and frees.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: exact counts of the calling thread's own allocations and frees. A block that is freed
 * into a bin and popped again never leaves the fast paths, which count nothing. So a thread that
 * counts watches itself (thread/watch), and its slow paths count. Other threads pay nothing. Bytes
 * are usable sizes, because a free knows no other size. So the sums of a scope that frees all its
 * blocks are equal.
 * Owns: the counts of each thread. Threads: the calling thread's counts. No lock held.
 * Boundary: thread/watch.
 */
#ifndef HK_THREAD_COUNT_H
#define HK_THREAD_COUNT_H

#include <hakmem.h>

#include "tcache.h"

extern HK_THREAD_LOCAL struct hak_thread_counters hk_counters;

/* Start and stop counting in the calling thread. They may be nested. A stop without a start does
 * nothing. */
void hk_count_start(void);
void hk_count_stop(void);

/* Whether the calling thread counts. */
HK_FAST bool hk_count_is_on(void) { return hk_unlikely((hk_watch_own & HK_WATCH_COUNT) != 0); }

/* Count a block of a number of usable bytes, in a thread that counts. */
HK_FAST void hk_count_allocated(size_t bytes) {
    hk_counters.bytes_allocated += bytes;
    hk_counters.blocks_allocated++;
}

HK_FAST void hk_count_freed(size_t bytes) {
    hk_counters.bytes_freed += bytes;
    hk_counters.blocks_freed++;
}

/* Counts the growth or the shrinkage of a block that was resized in place. */
HK_FAST void hk_count_resized(size_t old_bytes, size_t bytes) {
    if (bytes > old_bytes)
        hk_counters.bytes_allocated += bytes - old_bytes;
    else
        hk_counters.bytes_freed += old_bytes - bytes;
}

#endif
