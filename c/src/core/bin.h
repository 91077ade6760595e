/* core/bin.h - the unit of exchange between threads and heaps: a stack of free blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: pointers in an array. `top` is one past the newest; the slot under the oldest holds
 * NULL, so that a pop needs no second bound. A bin without an array is empty and full at once; a
 * cache of such bins sends every call to the slow path.
 *
 *        floor                top            ceil
 *   NULL | block block block ... |  (unused)  |
 *
 * Owns: nothing; the thread owns the array. Blocks themselves are never read or written.
 * Threads: the owning thread only; `top` is stored atomically so that statistics may read it.
 * Boundary: calls nothing.
 */
#ifndef HK_CORE_BIN_H
#define HK_CORE_BIN_H

#include "../base/atomic.h"
#include "size_class.h"

struct hk_bin {
    void **top;  /* atomic: stored by the owner, loaded by statistics */
    void **ceil; /* owner */
};

/* One bin for each class; the bin of HK_CLASS_NONE never has an array. */
struct hk_cache {
    struct hk_bin bins[HK_CLASS_COUNT];
};

/* The array of a bin that has none: one slot, always NULL. */
extern void *const hk_bin_nothing[1];
#define HK_BIN_WITHOUT_ARRAY                                                                       \
    { (void **)(uintptr_t)(hk_bin_nothing + 1), (void **)(uintptr_t)(hk_bin_nothing + 1) }

/* relaxed: the block is the owner's alone; a reader of statistics only counts */
HK_FAST void hk_bin_set_top(struct hk_bin *bin, void **top) { hk_store_relaxed(&bin->top, top); }

/* The newest block, or NULL from an empty bin. */
HK_FAST void *hk_bin_pop(struct hk_bin *bin) {
    void **top = bin->top;
    void *block = top[-1];
    if (hk_likely(block != NULL))
        hk_bin_set_top(bin, top - 1);
    return block;
}

/* False if the bin is full, or if `block` was its newest already (a double free). */
HK_FAST bool hk_bin_push(struct hk_bin *bin, void *block) {
    void **top = bin->top;
    if (hk_unlikely(top == bin->ceil) || hk_unlikely(top[-1] == block))
        return false;
    *top = block;
    hk_fence_stopped(); /* a forked child's copy never counts a slot that is not written */
    hk_bin_set_top(bin, top + 1);
    return true;
}

#endif
