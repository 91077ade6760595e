/* purge/decay.c - scans that give memory back. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "decay.h"

#include "../core/extent.h"
#include "../heap/heaps.h"
#include "../heap/scan.h"
#include "../os/os.h"
#include "../own/own.h"
#include "../thread/bins.h"
#include "../thread/drain.h"
#include "../thread/park.h"
#include "../thread/recover.h"
#include "../thread/thread.h"
#include "../thread/threads.h"
#include "../thread/watch.h"
#include "../transfer/transfer.h"
#include "pressure.h"
#include "tunables.h"

static struct {
    struct hk_lock lock; /* rank PURGE */
    struct hk_scan scan; /* lock:PURGE; the position of the decay scan */
    uint64_t dirty_seen; /* lock:PURGE; dirty bytes after the last scan */
} decay;

uint64_t hk_decay_dirty_bytes(void) { return hk_arena_dirty_bytes() + hk_extent_cached_bytes(); }

bool hk_decay_try_lock(void) { return hk_lock_try(&decay.lock, HK_RANK_PURGE); }

void hk_decay_unlock(void) { hk_unlock(&decay.lock, HK_RANK_PURGE); }

/* ---- Scans ----------------------------------------------------------------------------------- */

static size_t decay_extents(struct hk_purge_budget *budget) {
    uint64_t now = hk_os_now_ms();
    uint64_t delay = hk_pressure_delay_ms(now);
    return hk_extent_purge(now > delay ? now - delay : 0, budget);
}

/* Moves the oldest blocks of the transfer caches back to their slabs. Returns false when the budget
 * is used up. */
static bool decay_transfer(struct hk_scan *scan, enum hk_transfer_which which) {
    void *blocks[DECAY_TRANSFER_BATCH];
    uint32_t places = hk_transfer_places();

    for (; scan->transfer_class < HK_CLASS_COUNT; scan->transfer_class++) {
        size_t class = scan->transfer_class;
        for (uint32_t place = 0; place < places; place++) {
            uint32_t count;
            do {
                if (hk_purge_is_spent(&scan->budget))
                    return false;
                count = hk_transfer_take_oldest(place, class, which, blocks, DECAY_TRANSFER_BATCH);
                if (count > 0) {
                    hk_heap_give_idle(class, blocks, count, &scan->mistakes);
                    hk_purge_spend(&scan->budget, 1, 0);
                }
            } while (count == DECAY_TRANSFER_BATCH);
        }

        struct hk_transfer_counts left;
        hk_transfer_count(class, &left);
        scan->waiting += left.blocks;
    }

    return true;
}

/* Continues a scan until it ends (true) or the budget is used up. Under the PURGE lock. */
static bool decay_scan(struct hk_scan *scan) {
    bool all = scan->which == HK_PURGE_ALL;
    if (!decay_transfer(scan, all ? HK_TRANSFER_ALL : HK_TRANSFER_IDLE))
        return false;

    struct hk_heap *heap;
    while ((heap = hk_heaps_at(scan->heap)) != NULL) {
        if (!hk_heap_scan(heap, scan))
            return false;
        scan->heap++;
    }

    scan->purged_bytes +=
        all ? hk_extent_purge(UINT64_MAX, &scan->budget) : decay_extents(&scan->budget);
    return !hk_purge_is_spent(&scan->budget);
}

static struct hk_purge_budget decay_budget(uint32_t calls) {
    return (struct hk_purge_budget){calls, DECAY_STEP_BYTES};
}

/* Ends a step. A waiting thread gets its turn before the next step. */
static void decay_unlock(void) {
    bool wanted = (hk_peek(&decay.lock.word) & HK_LOCK_WAITERS) != 0;
    hk_unlock(&decay.lock, HK_RANK_PURGE);
    if (wanted)
        hk_os_sleep_ms(1);
}

/* Runs one step of the decay scan, under the PURGE lock. Moves the mistakes that it found to
 * *mistakes, to be reported without the lock. */
static enum hk_decay_progress decay_locked(uint32_t calls, struct hk_mistakes *mistakes) {
    struct hk_scan *scan = &decay.scan;
    scan->which = HK_PURGE_DECAYED;
    scan->budget = decay_budget(calls);

    bool ended = decay_scan(scan);
    *mistakes = scan->mistakes;
    scan->mistakes.count = 0;
    if (!ended)
        return HK_DECAY_UNFINISHED;

    /* If the number of dirty bytes does not change, they cannot be given back. They are in locked
     * memory or in huge pages in use. */
    uint64_t dirty = hk_arena_dirty_bytes();
    bool moving = dirty != decay.dirty_seen || scan->purged_bytes > 0 || scan->waiting > 0 ||
                  hk_extent_cached_bytes() > 0;
    decay.dirty_seen = dirty;
    *scan = (struct hk_scan){0};
    return moving ? HK_DECAY_WAITING : HK_DECAY_DONE;
}

/* Empties the caches of threads that ended at least a purge delay ago, and of threads that have
 * been idle since the last scan. Returns true if the next scan may find more. */
static bool decay_threads(void) {
    uint64_t now = hk_os_now_ms();
    uint64_t delay = hk_pressure_delay_ms(now);
    hk_recover_vanished();
    bool waits = hk_park_release(now > delay ? now - delay : 0);
    waits |= hk_own_purge(false);
    return hk_drain_idle() || waits;
}

enum hk_decay_progress hk_decay_step(void) {
    struct hk_mistakes mistakes;
    hk_lock(&decay.lock, HK_RANK_PURGE);
    enum hk_decay_progress progress = decay_locked(HK_DECAY_STEP_CALLS, &mistakes);
    decay_unlock();
    hk_mistakes_report("free", &mistakes);
    if (progress == HK_DECAY_UNFINISHED)
        return progress;

    bool waits = decay_threads();
    return waits ? HK_DECAY_WAITING : progress;
}

bool hk_decay_try_step(uint32_t calls) {
    struct hk_mistakes mistakes;
    if (!hk_decay_try_lock())
        return false;
    enum hk_decay_progress progress = decay_locked(calls, &mistakes);
    hk_decay_unlock();
    hk_mistakes_report("free", &mistakes);
    if (progress != HK_DECAY_UNFINISHED)
        decay_threads();
    return progress != HK_DECAY_UNFINISHED;
}

size_t hk_decay_all(void) {
    struct hk_scan scan = {.which = HK_PURGE_ALL};
    struct hk_thread *thread = hk_thread_get();
    hk_recover_vanished();
    hk_threads_ask_trim();
    /* A filter may kill at tgkill, which the switch needs. */
    if (hk_thread_count() > 1 && !hk_os_is_sandboxed())
        hk_watch_once();

    if (thread != NULL) {
        hk_tcache_enter(thread);
        hk_bins_empty(thread);
        hk_tcache_leave(thread);
    }

    hk_park_release(UINT64_MAX);
    hk_drain_all();
    hk_own_purge(true);

    for (bool done = false; !done;) {
        scan.budget = decay_budget(HK_DECAY_STEP_CALLS);
        hk_lock(&decay.lock, HK_RANK_PURGE);
        done = decay_scan(&scan);
        decay_unlock();
    }

    hk_mistakes_report("free", &scan.mistakes);
    return scan.purged_bytes;
}

/* Returns at least the older half of the blocks in transfer caches to their slabs. */
static void decay_half_of_transfer(void) {
    struct hk_scan scan = {.budget = HK_PURGE_UNLIMITED};
    hk_lock(&decay.lock, HK_RANK_PURGE);
    decay_transfer(&scan, HK_TRANSFER_HALF);
    decay_unlock();
    hk_mistakes_report("free", &scan.mistakes);
}

void hk_decay_leave_one(void) {
    while (hk_transfer_bytes() > DECAY_TRANSFER_ALONE)
        decay_half_of_transfer();
    hk_park_shrink(DECAY_PARKED_ALONE);
}

/* Runs in a forked child. */
void hk_decay_repair(struct hk_lock *lock) {
    (void)lock;
    hk_heaps_each(hk_heap_repair_purge, NULL);
}
