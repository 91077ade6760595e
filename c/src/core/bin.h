/* core/bin.h - the unit of exchange between threads and heaps: a stack of free blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: pointers in an array. `top` is one past the newest block. The two slots below the
 * oldest block hold NULL, so that a pop needs no second bound and a push can compare its block with
 * the two newest ones. A bin without an array is both empty and full. A cache of such bins sends
 * every call to the slow path.
 *
 *               floor                top            ceil
 *   NULL | NULL | block block block ... |  (unused)  |
 *
 * Owns: nothing. The thread owns the arrays. The blocks themselves are never read or written.
 * Threads: the owning thread. Another thread may replace the oldest blocks with NULL
 * (thread/drain), so the fast paths access slots atomically. `top` is stored atomically for the
 * same reason, for statistics and for forked children.
 * Boundary: calls nothing.
 */
#ifndef HK_CORE_BIN_H
#define HK_CORE_BIN_H

#include "../base/atomic.h"
#include "size_class.h"

enum { HK_BIN_BELOW = 2 }; /* NULL slots below the floor */

enum hk_cache_kind {
    HK_CACHE_UNINITIALIZED, /* the thread has not needed a cache yet */
    HK_CACHE_DISABLED,      /* the thread has ended, or runs in checked mode */
    HK_CACHE_WATCHED,       /* the thread has a cache, but each of its calls is to be seen */
    HK_CACHE_OWN,
};

struct hk_bin {
    void **top;  /* atomic, stored by the owner, loaded by statistics */
    void **ceil; /* owner */
};
_Static_assert(sizeof(struct hk_bin) == HK_ROW_BYTES, "the class map holds offsets of bins");

/* One bin for each class. The bin of HK_CLASS_NONE never has an array. */
struct hk_cache {
    struct hk_bin bins[HK_CLASS_COUNT]; /* first; hk_cache_bin adds a row to the address */
    enum hk_cache_kind kind;            /* const; distinguishes the sentinel caches */
};

/* The placeholder for the array of a bin that has none. All of its slots are NULL. */
extern void *const hk_bin_nothing[HK_BIN_BELOW];
#define HK_BIN_WITHOUT_ARRAY ((void **)(uintptr_t)(hk_bin_nothing + HK_BIN_BELOW))

/* Release: orders the slots before `top` for the copy of the bin in a forked child, which must not
 * count a slot that is not written. Pairs with the plain loads there. Statistics only compute a
 * count. */
HK_FAST void hk_bin_set_top(struct hk_bin *bin, void **top) { hk_store_release(&bin->top, top); }

/* The newest block, or NULL from an empty bin. */
HK_FAST void *hk_bin_pop(struct hk_bin *bin) {
    void **top = bin->top;
    void *block = hk_load_relaxed(&top[-1]); /* relaxed: any thread may store the NULL */
    if (hk_likely(block != NULL))
        hk_bin_set_top(bin, top - 1);
    return block;
}

/* Whether `block` is one of the two newest. */
HK_FAST bool hk_bin_has_new(const struct hk_bin *bin, const void *block) {
    void **top = bin->top;
    /* relaxed: as above */
    return hk_unlikely(hk_equals_relaxed(&top[-1], block)) ||
           hk_unlikely(hk_equals_relaxed(&top[-2], block));
}

/* Returns false if the bin is full, or if `block` is already one of its two newest (a double
 * free). */
HK_FAST bool hk_bin_push(struct hk_bin *bin, void *block) {
    void **top = bin->top;
    if (hk_unlikely(top == bin->ceil) || hk_bin_has_new(bin, block))
        return false;
    hk_store_relaxed(top, block); /* relaxed: the store of top orders it for a forked child */
    hk_bin_set_top(bin, top + 1);
    return true;
}

#endif
