/* own/owners.c - threads that may own private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "owners.h"

#include "../os/lock.h"
#include "../thread/count.h"
#include "../thread/thread.h"

struct hk_owner_place hk_owner_places[HK_OWNERS_MAX];

static uint32_t owner_any; /* atomic; 1 once a thread has had a place */

HK_THREAD_LOCAL uint32_t hk_owner_self = HK_OWNER_NEW;
HK_THREAD_LOCAL uint32_t hk_owner_fast = HK_OWNER_NEW;

void hk_owner_note_count(void) {
    hk_owner_fast = hk_count_is_on() ? HK_OWNER_NEVER : hk_owner_self;
}

static void owner_set(uint32_t token) {
    hk_owner_self = token;
    hk_owner_note_count();
}

static uint32_t owner_token(uint32_t place, uint32_t serial) {
    return serial * HK_OWNERS_MAX + place;
}

/* Takes a place for the calling thread, unless another thread has it. */
static bool owner_take(struct hk_owner_place *place) {
    uint32_t number = hk_load_relaxed(&place->number); /* relaxed: a hint before the exchange */
    if (number != 0 && !hk_lock_thread_vanished(number))
        return false;
    /* acquire: pairs with the release in own_await. A heap that the thread was changing when a
     * process forked is repaired first. */
    if (hk_load_acquire(&place->inside) != NULL)
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
        struct hk_owner_place *place = &hk_owner_places[at];
        if (at < HK_OWNER_FIRST || !owner_take(place))
            continue;
        hk_store_relaxed(&owner_any, 1); /* relaxed: a setting */
        /* relaxed: only this thread changes it now */
        return owner_token(at, hk_add_relaxed(&place->serial, 1));
    }
    return HK_OWNER_NEVER;
}

uint32_t hk_owner_get(void) {
    if (hk_unlikely(hk_owner_self == HK_OWNER_NEW))
        owner_set(owner_create());
    return hk_owner_self;
}

bool hk_owner_exists(uint32_t token) {
    const struct hk_owner_place *place = hk_owner_place(token);
    if (token % HK_OWNERS_MAX < HK_OWNER_FIRST)
        return false;
    /* acquire: what the thread has done. It pairs with the release in hk_owner_end. */
    if (owner_token(token % HK_OWNERS_MAX, hk_load_acquire(&place->serial)) != token)
        return false;
    /* relaxed: a thread of a parent process stored its number before the fork */
    return !hk_lock_thread_vanished(hk_load_relaxed(&place->number));
}

/* Takes the place from its thread. The parts of the thread then have an owner that does not
 * exist. */
static void owner_leave(struct hk_owner_place *place) {
    /* relaxed: only the thread, or the one that found it gone, changes the number */
    uint32_t serial = hk_load_relaxed(&place->serial) + 1;
    hk_store_release(&place->serial, serial);      /* release: as in hk_owner_exists */
    hk_store_release(&place->number, (uint32_t)0); /* release: as in owner_take */
}

void hk_owner_end(void) {
    uint32_t token = hk_owner_self;
    owner_set(HK_OWNER_NEVER);
    if (token % HK_OWNERS_MAX >= HK_OWNER_FIRST)
        owner_leave(hk_owner_place(token));
}

/* The order of the search is that of owner_create. A program without private heaps does not
 * search. */
void hk_owner_end_of(uint32_t number) {
    if (hk_load_relaxed(&owner_any) == 0) /* relaxed: a setting. The thread is gone */
        return;
    for (uint32_t i = 0; i < HK_OWNERS_MAX; i++) {
        struct hk_owner_place *place = hk_owner_place(number + i);
        /* relaxed: the thread is gone */
        if (hk_load_relaxed(&place->number) == number) {
            owner_leave(place);
            return;
        }
    }
}
