/* own/hold.c - taking a part from its owner. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "hold.h"

#include "../os/os.h"

enum {
    HOLD_NEEDED_LEAST = 4096, /* locks that cost more than a withdrawal */
    HOLD_NEEDED_FACTOR = 8,
    HOLD_NEEDED_MOST = 1 << 24,
    HOLD_SPINS = 100,          /* about the time that an owner is inside */
    HOLD_WITHOUT_BARRIER = 10, /* ms, after which each processor has seen a store */
};

/* Whether barriers work in this process. */
enum { HOLD_UNKNOWN, HOLD_WORKS, HOLD_REFUSED };
static uint32_t hold_barrier; /* atomic */

static void hold_pause(uint32_t round) {
    if (round < HOLD_SPINS)
        hk_relax();
    else
        hk_os_sleep_ms(1);
}

/* A thread that called fork in between may have left others inside, which do not exist in the
 * child. Under OWN. */
static void own_await(struct hk_own_part *part, struct hk_owner_place *place) {
    /* acquire: what the thread has changed. It pairs with the release in hk_own_leave. */
    for (uint32_t round = 0; hk_load_acquire(&place->inside) == part; round++) {
        /* relaxed: stored before the fork */
        if (!hk_lock_thread_vanished(hk_load_relaxed(&place->number))) {
            hold_pause(round);
            continue;
        }
        hk_lock_repair(&part->lock, HK_RANK_OWN);
        hk_store_release(&place->inside, NULL); /* release: pairs with the acquire in owner_take */
    }
}

/* A thread that has ended needs no barrier. A filter of system calls that was installed meanwhile
 * may refuse the barrier, and then we wait for longer than a store takes. */
void hk_own_withdraw(struct hk_own_part *part) {
    /* acquire: what a thread without the lock did last. It pairs with the release in
     * hk_own_abandon. */
    uint32_t bias = hk_load_acquire(&part->bias);
    if (bias == HK_OWNER_NOBODY)
        return;

    hk_store_locked(&part->bias, (uint32_t)HK_OWNER_NOBODY);
    if (hk_owner_exists(bias) && !hk_os_barrier()) {
        hk_store_relaxed(&hold_barrier, HOLD_REFUSED); /* relaxed: a setting */
        hk_os_sleep_ms(HOLD_WITHOUT_BARRIER);
    }
    own_await(part, hk_owner_place(bias));

    uint32_t needed = part->needed * HOLD_NEEDED_FACTOR;
    if (needed == 0)
        needed = HOLD_NEEDED_LEAST;
    part->needed = needed < HOLD_NEEDED_MOST ? needed : HOLD_NEEDED_MOST;
}

/* Whether a bias can be withdrawn. */
static bool hold_can_withdraw(void) {
    uint32_t barrier = hk_load_relaxed(&hold_barrier); /* relaxed: a setting */
    if (HK_THREAD_SANITIZER || hk_likely(barrier != HOLD_UNKNOWN))
        return barrier == HOLD_WORKS;
    barrier = hk_os_barrier() ? HOLD_WORKS : HOLD_REFUSED;
    hk_store_relaxed(&hold_barrier, barrier); /* relaxed: as above */
    return barrier == HOLD_WORKS;
}

void hk_own_lock_slow(struct hk_own_part *part) {
    hk_lock(&part->lock, HK_RANK_OWN);
    hk_own_withdraw(part);
    if (hk_peek(&part->owner) != hk_owner_self) {
        part->alone = 0;
        return;
    }
    if (part->alone++ >= part->needed && hold_can_withdraw())
        hk_store_locked(&part->bias, hk_owner_self);
}
