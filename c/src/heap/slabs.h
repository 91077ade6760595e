/* heap/slabs.h - the slabs of one class of a heap, internal to this layer.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the list of slabs that are not exhausted, and the functions that add slabs to it and
 * remove them.
 * Owns: the order of the list. The slab at the front is used first. A slab that was exhausted joins
 * at the end.
 * Threads: functions on the list run under the CLASS lock, the others without a lock.
 * Boundary: core/arena, core/slab, core/span, core/pagemap.
 */
#ifndef HK_HEAP_SLABS_H
#define HK_HEAP_SLABS_H

#include "../core/pagemap.h"
#include "heap.h"

/* ---- Under the CLASS lock -------------------------------------------------------------------- */

void hk_slabs_push_first(struct hk_heap_class *hc, struct hk_span *slab);
void hk_slabs_push_last(struct hk_heap_class *hc, struct hk_span *slab);
void hk_slabs_remove(struct hk_heap_class *hc, struct hk_span *slab);

/* Places a slab after it has received free blocks. It joins the list if it was exhausted. It moves
 * to *released if it is empty and the class already has an empty slab. */
void hk_slabs_place(struct hk_heap_class *hc, struct hk_span *slab, bool was_exhausted,
                    struct hk_span **released);

static inline void hk_slabs_note_use(struct hk_heap_class *hc) {
    hk_store_locked(&hc->uses, hc->uses + 1);
}

/* ---- Without a lock -------------------------------------------------------------------------- */

/* Adds a slab to the class. Returns false if out of memory. */
bool hk_slabs_grow(struct hk_heap *heap, size_t class);

/* Releases a list of empty slabs, linked by `next`. */
void hk_slabs_release(struct hk_span *slab);

/* Whether a slab still belongs to a private heap after a merge that the caller may have seen a part
 * of. */
HK_SLOW bool hk_slabs_stays_private(const struct hk_span *slab);

/* The slab of a block of `class` that is being freed, or NULL if there is none. The pagemap may
 * have a slab of another class, which has since been created at this address, or one that is now a
 * private heap's. */
HK_FAST struct hk_span *hk_slabs_find(size_t class, const void *block) {
    struct hk_span *slab = hk_pagemap_find(block);
    bool other = hk_unlikely(slab == NULL || slab->class != class) ||
                 (hk_unlikely(hk_span_is_private(slab)) && hk_slabs_stays_private(slab));
    return other ? NULL : slab;
}

/* The causes for reports, indexed by hk_slab_result. */
extern const char *const hk_slab_causes[];

#endif
