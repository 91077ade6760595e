/* thread/bins.h - the bins of a thread cache.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: how bins get and lose arrays and blocks. An array starts small and doubles each time
 * its bin runs empty or full, to the depth of its class and within the thread's budget. Bins that
 * were not used between two scans give half back.
 * Owns: the arrays. Threads: the owner of the cache between hk_tcache_enter and hk_tcache_leave,
 * or, for a cache whose thread is gone, the thread that took it out of the list. No lock held.
 * Boundary: transfer, heap/heap, core/meta, thread/budget, thread/large_cache.
 */
#ifndef HK_THREAD_BINS_H
#define HK_THREAD_BINS_H

#include "tcache.h"

/* A bin without an array. Its blocks are lost. */
void hk_bins_reset(struct hk_thread *thread, size_t class);

/* The first slot of the array of a bin. Its oldest block is further up, at floor, after
 * thread/drain took older ones. */
static inline void **hk_bins_base(const struct hk_thread *thread, size_t class) {
    return thread->cache.bins[class].ceil - thread->capacity[class];
}

/* Moves the blocks of a bin to the beginning of its array. */
void hk_bins_rebase_drained(struct hk_thread *thread, size_t class);
HK_FAST void hk_bins_rebase(struct hk_thread *thread, size_t class) {
    if (hk_unlikely(thread->floor[class] != hk_bins_base(thread, class)))
        hk_bins_rebase_drained(thread, class);
}

/* Blocks in a bin. May be called for a cache visited by hk_thread_each. */
uint32_t hk_bins_count(const struct hk_thread *thread, size_t class);

/* The bytes of the blocks in all bins. The owner's call. */
size_t hk_bins_bytes(const struct hk_thread *thread);

/* Takes the `count` oldest blocks out of a bin and gives them away: to the transfer cache of this
 * CPU, and those that do not fit to their owner heaps. False if `freed`, the block that the program
 * frees meanwhile (or NULL), is one of the newest there; it was reported. */
bool hk_bins_flush(struct hk_thread *thread, const char *function, size_t class, uint32_t count,
                   const void *freed);

/* Doubles a bin's capacity, to the depth of its class. If that takes more than the budget, bins
 * that hold much more give way now and then. */
void hk_bins_grow_now(struct hk_thread *thread, size_t class);
HK_FAST void hk_bins_grow(struct hk_thread *thread, size_t class) {
    if (hk_classes[class].block_bytes < thread->no_room)
        hk_bins_grow_now(thread, class);
}

/* Puts up to `count` blocks of a class into a bin; returns how many were added. */
uint32_t hk_bins_fill(struct hk_thread *thread, size_t class, uint32_t count);

/* Halves the bins that were not used since the last scan: no slow call, and the same top. */
void hk_bins_scan(struct hk_thread *thread);

/* Halves the bins of a thread that only frees, until they hold no more than batches. A small block
 * counts as more than its size: it may be all that keeps a page. */
void hk_bins_halve_all(struct hk_thread *thread);

/* Empties a cache into the slabs, or into the transfer cache, for other threads. */
void hk_bins_empty(struct hk_thread *thread);
void hk_bins_empty_for_others(struct hk_thread *thread);

/* Ends a cache that is in no list any more. */
void hk_bins_destroy(struct hk_thread *thread);

#endif
