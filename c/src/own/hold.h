/* own/hold.h - the exclusive use of a part of a private heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the lock of a part, biased towards its owner. As long as no other thread needs the
 * part, the owner enters and leaves it with plain stores. Another thread takes the lock and
 * withdraws the bias: with a barrier in all threads (hk_os_barrier) either the owner sees that, or
 * we see that it is inside and wait. The owner then takes the lock too, and gets the bias back once
 * it was alone for a while, which becomes longer each time. The idea is that of K. Russell and
 * D. Detlefs, "Eliminating Synchronization-Related Atomic Operations with Biased Locking and Bulk
 * Rebiasing" (2006). ../../tests/proofs/bias.pml is a model of it.
 *
 * Owns: nothing. Threads: any, no lock held from OWN on downwards. Boundary: os/lock, own/owners,
 * hk_os_barrier.
 */
#ifndef HK_OWN_HOLD_H
#define HK_OWN_HOLD_H

#include "own.h"

void hk_own_lock_slow(struct hk_own_part *part);

/* Takes the bias from its thread, and waits until it has left. Does nothing if there is none. The
 * caller holds the lock. */
void hk_own_withdraw(struct hk_own_part *part);

/* Enters a part without a lock. Returns false if that is impossible: for all threads but one. */
HK_FAST bool hk_own_enter(const struct hk_own_part *part) {
    uint32_t self = hk_owner_self;
    struct hk_owner_place *place = hk_owner_place(self);
    if (hk_peek(&part->bias) != self)
        return false;
    /* relaxed: the barrier of hk_own_lock_slow orders it and the load */
    hk_store_relaxed(&place->inside, part);
    hk_fence_compiler();
    if (hk_unlikely(hk_load_relaxed(&part->bias) != self)) {
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

/* Lock and unlock a part, in the cheapest way there is. */
HK_FAST void hk_own_lock(struct hk_own_part *part) {
    if (!hk_own_enter(part))
        hk_own_lock_slow(part);
}

HK_FAST void hk_own_unlock(struct hk_own_part *part) {
    /* relaxed: only the calling thread stores it */
    if (hk_load_relaxed(&hk_owner_place(hk_owner_self)->inside) == part)
        hk_own_leave();
    else
        hk_unlock(&part->lock, HK_RANK_OWN);
}

#endif
