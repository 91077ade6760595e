/* thread/bins.h - the bins of a thread cache.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: how bins get and lose arrays and blocks. An array starts small and doubles each time
 * its bin runs empty or full, up to the depth of its class and within the thread's budget. Bins
 * that were not used between two scans give back half.
 * Owns: the arrays. Threads: the owner of the cache between hk_tcache_enter and hk_tcache_leave,
 * or, for a cache without a thread, the thread that took it out of the list. No lock held.
 * Boundary: transfer, heap/heap, core/meta, thread/budget, thread/large_cache.
 */
#ifndef HK_THREAD_BINS_H
#define HK_THREAD_BINS_H

#include "tcache.h"

/* Leaves a bin without an array. Its blocks are lost. */
void hk_bins_reset(struct hk_thread *thread, size_t class);

/* The first slot of the array of a bin. If thread/drain has taken blocks, the oldest one left is
 * further up, at floor. */
static inline void **hk_bins_base(const struct hk_thread *thread, size_t class) {
    return thread->cache.bins[class].ceil - thread->capacity[class];
}

/* Moves the blocks of a bin to the beginning of its array. */
void hk_bins_rebase_drained(struct hk_thread *thread, size_t class);
HK_FAST void hk_bins_rebase(struct hk_thread *thread, size_t class) {
    if (hk_unlikely(thread->floor[class] != hk_bins_base(thread, class)))
        hk_bins_rebase_drained(thread, class);
}

/* Whether a block is in the bin of a class. Called by the thread of the cache. */
bool hk_bins_has(const struct hk_thread *thread, size_t class, const void *block);

/* Blocks in a bin. May be called for a cache visited by hk_thread_each. */
uint32_t hk_bins_count(const struct hk_thread *thread, size_t class);

/* Bytes of the blocks in all bins. May be called whenever hk_bins_count may. */
size_t hk_bins_bytes(const struct hk_thread *thread);

/* Moves the `count` oldest blocks of a bin to the transfer cache of this CPU. Blocks that do not
 * fit are returned to their owner heaps. `freed` is the block that the program is freeing, or NULL.
 * If it is one of the newest blocks there, reports it and returns false. */
bool hk_bins_flush(struct hk_thread *thread, const char *function, size_t class, uint32_t count,
                   const void *freed);

/* Doubles a bin's capacity, up to the depth of its class. If that exceeds the budget, much larger
 * bins are shrunk now and then to make room. */
void hk_bins_grow_now(struct hk_thread *thread, size_t class);
HK_FAST void hk_bins_grow(struct hk_thread *thread, size_t class) {
    if (hk_classes[class].block_bytes < thread->no_room)
        hk_bins_grow_now(thread, class);
}

/* Puts up to `count` blocks of a class into a bin. Returns the number of blocks added. */
uint32_t hk_bins_fill(struct hk_thread *thread, size_t class, uint32_t count);

/* Halves the bins that were not used since the last scan, that is, had no slow call and have the
 * same top. */
void hk_bins_scan(struct hk_thread *thread);

/* Halves bins of a thread that only frees, until they are only as large as batches need. A small
 * block counts as more than its size, because it may be the only one that keeps a page in use. */
void hk_bins_shrink_batches(struct hk_thread *thread);

/* Whether a thread that only frees may have larger batches of a class. It never grows beyond the
 * size to which hk_bins_shrink_batches shrinks it. */
bool hk_bins_may_batch(const struct hk_thread *thread, size_t class);

/* Empties a cache into the slabs, or into the transfer cache for use by other threads. */
void hk_bins_empty(struct hk_thread *thread);
void hk_bins_empty_for_others(struct hk_thread *thread);

/* Destroys a cache that is no longer in a list. */
void hk_bins_destroy(struct hk_thread *thread);

#endif
