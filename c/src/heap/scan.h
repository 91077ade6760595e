/* heap/scan.h - decay of the free memory of a heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a scan visits the classes of a heap, releases unused empty slabs, and gives back the
 * pages of free blocks.
 * Owns: the position of the scan. Threads: any, under the PURGE lock. Takes one CLASS lock at a
 * time, and none during a system call.
 * Boundary: core/arena, core/slab, hk_os_purge.
 */
#ifndef HK_HEAP_SCAN_H
#define HK_HEAP_SCAN_H

#include "heap.h"

/* A scan over the heaps, and its position. It resumes where it stopped. */
struct hk_scan {
    enum hk_purge which;
    struct hk_purge_budget budget; /* of this step, reset for each step */
    uint32_t transfer_class;       /* current class of the transfer caches */
    uint32_t heap;                 /* number of the current heap */
    uint32_t class;                /* current class of the heap, 0 before the first */
    uint32_t left;                 /* slabs of the class that are not visited yet */
    size_t purged_bytes;           /* given back to the OS so far */
    size_t waiting;                /* items that a later scan may give back */
    size_t waiting_before;         /* `waiting` before the class */
    struct hk_mistakes mistakes;   /* to be reported without a lock */
};

/* Decays the free memory of a heap. Classes that were not used since the last scan release their
 * empty slabs. Slabs that were not used for two scans give back the whole OS pages that lie in free
 * blocks. Then the arena's dirty granules decay. HK_PURGE_ALL does all this regardless of use.
 * Returns true at the end of the heap, and false when the budget is used up. Under the PURGE
 * lock. */
bool hk_heap_scan(struct hk_heap *heap, struct hk_scan *scan);

/* The slab that is being purged, or NULL. The purge has taken its free blocks. */
static inline struct hk_span *hk_heap_purging(const struct hk_heap *heap) {
    /* relaxed: its bits are read under its class lock, or in a forked child without a purge */
    return hk_load_relaxed(&heap->purging);
}

/* Ends a purge and puts the blocks back. Under the class lock. */
void hk_heap_end_purge(struct hk_heap *heap, struct hk_span **released);

#endif
