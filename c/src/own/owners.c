/* own/owners.c - threads that may own private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "owners.h"

#include "../os/lock.h"
#include "../thread/thread.h"

/* A token consists of the serial number of its place and the place. */
static struct owner_place {
    uint32_t number; /* atomic; hk_lock_thread of the thread that has it, or 0 */
    uint32_t serial; /* atomic; changes when a thread gets or leaves the place */
} owner_places[HK_OWNERS_MAX];

HK_THREAD_LOCAL uint32_t hk_owner_self = HK_OWNER_NEW;

static uint32_t owner_token(uint32_t place, uint32_t serial) {
    return serial * HK_OWNERS_MAX + place;
}

/* Takes a place for the calling thread, unless another thread has it. */
static bool owner_take(struct owner_place *place) {
    uint32_t number = hk_load_relaxed(&place->number); /* relaxed: a hint before the exchange */
    if (number != 0 && !hk_lock_thread_vanished(number))
        return false;
    /* acquire: the serial number. It pairs with the release in hk_owner_end. */
    return hk_cas_acquire(&place->number, &number, hk_lock_self());
}

static HK_SLOW uint32_t owner_create(void) {
    uint32_t first = hk_lock_self();
    if (hk_thread_get() == NULL)
        return HK_OWNER_NEVER;

    for (uint32_t i = 0; i < HK_OWNERS_MAX; i++) {
        uint32_t at = (first + i) % HK_OWNERS_MAX;
        struct owner_place *place = &owner_places[at];
        if (at < HK_OWNER_FIRST || !owner_take(place))
            continue;
        /* relaxed: only this thread changes it now */
        return owner_token(at, hk_add_relaxed(&place->serial, 1));
    }
    return HK_OWNER_NEVER;
}

uint32_t hk_owner_get(void) {
    if (hk_unlikely(hk_owner_self == HK_OWNER_NEW))
        hk_owner_self = owner_create();
    return hk_owner_self;
}

bool hk_owner_exists(uint32_t token) {
    const struct owner_place *place = &owner_places[token % HK_OWNERS_MAX];
    if (token % HK_OWNERS_MAX < HK_OWNER_FIRST)
        return false;
    /* acquire: what the thread has done. It pairs with the release in hk_owner_end. */
    if (owner_token(token % HK_OWNERS_MAX, hk_load_acquire(&place->serial)) != token)
        return false;
    /* relaxed: a thread of a parent process stored its number before the fork */
    return !hk_lock_thread_vanished(hk_load_relaxed(&place->number));
}

void hk_owner_end(void) {
    uint32_t token = hk_owner_self;
    hk_owner_self = HK_OWNER_NEVER;
    if (token % HK_OWNERS_MAX < HK_OWNER_FIRST)
        return;
    struct owner_place *place = &owner_places[token % HK_OWNERS_MAX];
    uint32_t serial = token / HK_OWNERS_MAX + 1;
    hk_store_release(&place->serial, serial);      /* release: as in hk_owner_exists */
    hk_store_release(&place->number, (uint32_t)0); /* release: as in owner_take */
}
