/* guard/guard.c - guard pages around a sample of the allocations.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "guard.h"

#include <errno.h>

#include "../base/random.h"
#include "../core/error.h"
#include "../core/options.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../thread/recover.h"
#include "../thread/thread.h"
#include "print.h"
#include "slots.h"

HK_THREAD_LOCAL struct hk_guard_counter hk_guard_counter;

static struct {
    struct hk_lock lock; /* rank GUARD */
    uint32_t number;     /* lock:GUARD; of the last watch */
    uint64_t rate;       /* atomic, stored under GUARD */
} guard;

/* ---- Start and end --------------------------------------------------------------------------- */

/* Under the lock. The watch publishes the settings. */
static int guard_start_locked(uint64_t rate, uint32_t slots) {
    if (hk_watch_number(HK_WATCHER_GUARD) != 0)
        return EALREADY;
    if (!hk_slots_make(slots))
        return ENOMEM;
    guard.number += guard.number == UINT32_MAX ? 2 : 1; /* never 0 */
    hk_store_locked(&guard.rate, rate);
    hk_watch_set(HK_WATCHER_GUARD, guard.number);
    return 0;
}

int hk_guard_start(uint64_t rate, uint32_t slots) {
    if (rate == 0 || rate > HK_GUARD_RATE_MAX || slots == 0 || slots > HK_SLOTS_MAX)
        return EINVAL;
    hk_thread_get(); /* starts the process */
    hk_os_unwind_start();
    hk_recover_vanished();

    hk_lock(&guard.lock, HK_RANK_GUARD);
    int error = guard_start_locked(rate, slots);
    hk_unlock(&guard.lock, HK_RANK_GUARD);
    if (error == 0)
        hk_os_handle_faults(hk_print_fault);
    return error;
}

void hk_guard_start_by_option(void) {
    static const char words[] = "hakmem: no memory for guard pages\n";
    uint64_t rate = hk_option(HK_OPTION_guard_rate);
    if (rate != 0 && hk_guard_start(rate, (uint32_t)hk_option(HK_OPTION_guard_slots)) == ENOMEM)
        hk_os_write_error(words, sizeof words - 1);
}

void hk_guard_stop(void) {
    hk_lock(&guard.lock, HK_RANK_GUARD);
    hk_watch_set(HK_WATCHER_GUARD, 0);
    hk_unlock(&guard.lock, HK_RANK_GUARD);
}

/* ---- Allocations ----------------------------------------------------------------------------- */

/* Draws the number of allocations before the next guarded one, uniformly from 0 to 2 * rate - 2. */
static void guard_draw(struct hk_guard_counter *counter) {
    uint64_t rate =
        hk_load_relaxed(&guard.rate); /* relaxed: acquired with the number of the watch */
    if (counter->random == 0)
        counter->random = hk_random_seed(counter, hk_os_calendar_ns());
    counter->left = (hk_random(&counter->random) >> 8) % (2 * rate - 1);
}

/* Whether an allocation is to be guarded. */
static bool guard_wants(struct hk_guard_counter *counter) {
    uint32_t number = hk_watch_number_acquire(HK_WATCHER_GUARD);
    if (counter->inside)
        return false;

    if (number == 0) { /* only other modules watch */
        counter->number = 0;
        counter->left = UINT64_MAX;
        return false;
    }

    if (counter->number != number) {
        counter->number = number;
        guard_draw(counter);
    }
    if (counter->left > 0) {
        counter->left--;
        return false;
    }
    guard_draw(counter);
    return true;
}

/* The address of a block in its pages: their start, or as close to their end as the alignment
 * allows. */
static uintptr_t guard_place(struct hk_guard_counter *counter, const struct hk_slot *slot,
                             size_t size, size_t align) {
    uintptr_t start = hk_slot_start(slot);
    bool at_end = (hk_random(&counter->random) >> 63) != 0;
    return at_end ? (start + slot->bytes - (size + (size == 0))) & ~(align - 1) : start;
}

static HK_NOINLINE void guard_note(struct hk_slot_event *event, const void *frame) {
    event->thread = hk_os_thread_id();
    event->depth = hk_os_unwind_from(frame, event->frames, HK_SLOT_FRAMES);
}

struct hk_block hk_guard_alloc(size_t size, size_t align, const void *frame) {
    struct hk_guard_counter *counter = &hk_guard_counter;
    struct hk_block none = {NULL, false};
    if (!guard_wants(counter) || size > HK_SLOT_BYTES || align > hk_os_page_bytes())
        return none;

    struct hk_slot *slot = hk_slots_take(size);
    if (slot == NULL)
        return none;

    int saved = errno;
    struct hk_slot_event event;
    counter->inside = true;
    guard_note(&event, frame);
    counter->inside = false;
    errno = saved;

    uintptr_t block = guard_place(counter, slot, size, align);
    bool zero = !slot->dirty;
    hk_slots_fill(slot, block, size, &event);
    return (struct hk_block){(void *)block, zero};
}

/* ---- Frees ----------------------------------------------------------------------------------- */

const char *hk_guard_cause(const struct hk_span *span, const void *block) {
    static const char *const causes[] = {
        [HK_SLOT_IS_BLOCK] = NULL,
        [HK_SLOT_IS_FREED] = HK_CAUSE_FREE,
        [HK_SLOT_IS_INSIDE] = HK_CAUSE_INSIDE,
        [HK_SLOT_IS_NOTHING] = HK_CAUSE_ALIEN,
    };
    return causes[hk_slots_match(hk_slot_of(span), (uintptr_t)block)];
}

void hk_guard_free(const char *function, struct hk_span *span, void *block, const void *frame) {
    struct hk_guard_counter *counter = &hk_guard_counter;
    struct hk_slot_event event;
    int saved = errno;
    bool inside = counter->inside;
    counter->inside = true;
    guard_note(&event, frame);
    counter->inside = inside;
    errno = saved;

    if (!hk_slots_retire(hk_slot_of(span), (uintptr_t)block, &event))
        hk_bad_pointer_with(function, block, HK_CAUSE_FREE, hk_print_block);
}
