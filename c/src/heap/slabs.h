/* heap/slabs.h - the slabs of one class of a heap, internal to this layer.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the list of slabs that are not exhausted, and the functions by which slabs join and
 * leave it.
 * Owns: the order of the list. The slab at the front is used first. A slab that was exhausted joins
 * at the end.
 * Threads: functions on the list run under the CLASS lock, the others without a lock.
 * Boundary: core/arena, core/slab, core/span, core/pagemap.
 */
#ifndef HK_HEAP_SLABS_H
#define HK_HEAP_SLABS_H

#include "heap.h"

/* ---- Under the CLASS lock -------------------------------------------------------------------- */

void hk_slabs_push_first(struct hk_heap_class *hc, struct hk_span *slab);
void hk_slabs_push_last(struct hk_heap_class *hc, struct hk_span *slab);
void hk_slabs_remove(struct hk_heap_class *hc, struct hk_span *slab);

/* Places a slab after it got free blocks. It joins the list if it was exhausted. It moves to
 * *released if it is empty and the class already has an empty slab. */
void hk_slabs_place(struct hk_heap_class *hc, struct hk_span *slab, bool was_exhausted,
                    struct hk_span **released);

static inline void hk_slabs_note_use(struct hk_heap_class *hc) {
    hk_store_locked(&hc->uses, hc->uses + 1);
}

/* ---- Without a lock -------------------------------------------------------------------------- */

/* Adds a slab to the class. False without memory. */
bool hk_slabs_grow(struct hk_heap *heap, size_t class);

/* Releases a list of empty slabs, linked by `next`. */
void hk_slabs_release(struct hk_span *slab);

/* The place of `block` in `slab`, which the pagemap found. A wrong class means that a slab of
 * another class was created at this address since. */
HK_FAST enum hk_slab_result hk_slabs_locate(size_t class, const struct hk_span *slab,
                                            const void *block, uint32_t *index) {
    if (hk_unlikely(slab == NULL || slab->class != class))
        return HK_SLAB_NOT_A_BLOCK;
    return hk_slab_locate(slab, &hk_classes[class], block, index);
}

/* Causes for reports, by hk_slab_result. */
extern const char *const hk_slab_causes[];

#endif
