/* core/bin.h - the unit of exchange between threads and heaps: a stack of free blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: pointers in an array. `top` is one past the newest block. The two slots below the oldest
 * block hold NULL, so that a pop needs no second bound and a push can compare its block with the two
 * newest ones. A bin without an array is empty and full at once. A cache of such bins sends every call
 * to the slow path.
 *
 *               floor                top            ceil
 *   NULL | NULL | block block block ... |  (unused)  |
 *
 * Owns: nothing; the thread owns the arrays. Blocks themselves are never read or written.
 * Threads: the owning thread only. `top` is stored atomically for statistics and forked children.
 * Boundary: calls nothing.
 */
#ifndef HK_CORE_BIN_H
#define HK_CORE_BIN_H

#include "../base/atomic.h"
#include "size_class.h"

enum { HK_BIN_BELOW = 2 }; /* NULL slots below the floor */

enum hk_cache_kind {
    HK_CACHE_UNINITIALIZED, /* the thread has not needed a cache yet */
    HK_CACHE_DISABLED,      /* the thread has none: it ended, or checked mode */
    HK_CACHE_OWN,
};

/* One bin for each class, as parallel arrays: an index of a class needs no multiplication. The bin of
 * HK_CLASS_NONE never has an array. */
struct hk_cache {
    void **top[HK_CLASS_COUNT];  /* atomic, stored by the owner, loaded by statistics */
    void **ceil[HK_CLASS_COUNT]; /* owner */
    enum hk_cache_kind kind;     /* const; tells the sentinel caches apart */
};

/* The array of a bin that has none: NULL slots only. */
extern void *const hk_bin_nothing[HK_BIN_BELOW];
#define HK_BIN_WITHOUT_ARRAY ((void **)(uintptr_t)(hk_bin_nothing + HK_BIN_BELOW))

/* Release: orders the slots before `top` for the copy of the bin in a forked child, which must not
 * count a slot that is not written. Pairs with the plain loads there. Readers of statistics only count. */
HK_FAST void hk_bin_set_top(struct hk_cache *cache, size_t class, void **top) {
    hk_store_release(&cache->top[class], top);
}

/* The newest block, or NULL from an empty bin. */
HK_FAST void *hk_bin_pop(struct hk_cache *cache, size_t class) {
    void **top = cache->top[class];
    void *block = top[-1];
    if (hk_likely(block != NULL))
        hk_bin_set_top(cache, class, top - 1);
    return block;
}

/* False if the bin is full, or if `block` is one of its two newest already (a double free). */
HK_FAST bool hk_bin_push(struct hk_cache *cache, size_t class, void *block) {
    void **top = cache->top[class];
    if (hk_unlikely(top == cache->ceil[class]) || hk_unlikely(top[-1] == block) ||
        hk_unlikely(top[-2] == block))
        return false;
    *top = block;
    hk_bin_set_top(cache, class, top + 1);
    return true;
}

#endif
