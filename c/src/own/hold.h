/* own/hold.h - the exclusive use of a private heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the lock of a heap, biased towards its owner. As long as no other thread needs the
 * heap, the owner enters and leaves it with plain stores. Another thread takes the lock and
 * withdraws the bias: with a barrier in all threads (hk_os_barrier) either the owner sees that, or
 * we see that it is inside and wait. The owner then takes the lock too, and gets the bias back once
 * it was alone for a while, which becomes longer each time. The idea is that of K. Russell and
 * D. Detlefs, "Eliminating Synchronization-Related Atomic Operations with Biased Locking and Bulk
 * Rebiasing" (2006). ../../tests/proofs/bias.pml is a model of it.
 *
 * Owns: nothing. Threads: any, no lock held above OWN. Boundary: os/lock, own/owners,
 * hk_os_barrier.
 */
#ifndef HK_OWN_HOLD_H
#define HK_OWN_HOLD_H

#include "own.h"

void hk_own_lock_slow(struct hak_heap *heap);

/* Takes the bias from its thread, and waits until it has left. Does nothing if there is none. The
 * caller holds the lock. */
void hk_own_withdraw(struct hak_heap *heap);

/* Enters a heap without a lock. Returns false if that is impossible: for all threads but one. */
HK_FAST bool hk_own_enter(const struct hak_heap *heap) {
    uint32_t self = hk_owner_self;
    struct hk_owner_place *place = hk_owner_place(self);
    if (hk_peek(&heap->bias) != self)
        return false;
    /* relaxed: the barrier of hk_own_lock_slow orders it and the load */
    hk_store_relaxed(&place->inside, heap);
    hk_fence_compiler();
    if (hk_unlikely(hk_load_relaxed(&heap->bias) != self)) {
        hk_store_relaxed(&place->inside, NULL); /* relaxed: nothing was changed */
        return false;
    }

    if (HK_DEBUG)
        hk_lock_note_taken(HK_RANK_OWN);
    return true;
}

HK_FAST void hk_own_leave(void) {
    if (HK_DEBUG)
        hk_lock_note_released(HK_RANK_OWN);
    /* release: what was changed. It pairs with the acquire in own_await. */
    hk_store_release(&hk_owner_place(hk_owner_self)->inside, NULL);
}

/* Lock and unlock a heap, in the cheapest way there is. */
HK_FAST void hk_own_lock(struct hak_heap *heap) {
    if (!hk_own_enter(heap))
        hk_own_lock_slow(heap);
}

HK_FAST void hk_own_unlock(struct hak_heap *heap) {
    /* relaxed: only the calling thread stores it */
    if (hk_load_relaxed(&hk_owner_place(hk_owner_self)->inside) == heap)
        hk_own_leave();
    else
        hk_unlock(&heap->lock, HK_RANK_OWN);
}

#endif
