/* heap/purge.c - when memory goes back. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "purge.h"

#include "../core/extent.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../os/os.h"
#include "../transfer/transfer.h"
#include "fork.h"
#include "scavenger.h"
#include "thread.h"

enum {
    PURGE_ADDRESS_BITS = 47,     /* no address space holds a block of more bytes */
    PURGE_TRANSFER_BATCH = 64,   /* blocks taken from a transfer cache at once; on the stack */
    PURGE_STEP_BYTES = 16 << 20, /* at most given back in one step; about a millisecond */
    PURGE_TICK_CALLS = 16,       /* system calls in a step inside a slow call of the program */
    PURGE_BALANCE_CALLS = 32,    /* the same at the end of a free */
    PURGE_BALANCE_PART = 4,      /* of purge_thread_mb: free bytes that a balance leaves alone */
    PURGE_REGRETS = 2,           /* in a row raise the limit: one is no loop yet */
    PURGE_REGRET_DECAY = 5,      /* purge delays after which a raised limit falls by half */
    PURGE_FAILURE_MS = 100,      /* pause after a purge that did not help; it doubles each time */
    PURGE_FAILURE_MAX_MS = 1 << 14, /* and ends here */
    PURGE_FAILURE_BYTES = 1 << 20,  /* so much more spare address space is worth a purge */
};

static struct {
    struct hk_lock lock; /* rank PURGE */
    struct hk_scan scan; /* lock:PURGE; the place of the scan that decays */
    uint64_t next_ms;    /* atomic, stored under PURGE: no tick starts a scan before */
    uint64_t dirty_seen; /* lock:PURGE; dirty bytes after the last scan */
    uint64_t high_ms;    /* atomic: when the soft limit last made everything go */
    uint64_t limit;    /* atomic, stored under PURGE: raised limit of the balance; 0: not raised */
    uint64_t limit_ms; /* lock:PURGE; when it was raised or halved last */
    uint32_t regrets;  /* lock:PURGE; in a row */
    uint64_t usage_after;  /* lock:PURGE; usage after the last balance */
    uint64_t balanced;     /* lock:PURGE; bytes that it gave back */
    uint64_t failed_ms;    /* atomic: no purge for a failed allocation before */
    uint64_t failed_wait;  /* atomic: the pause after the next one in vain */
    uint64_t failed_spare; /* atomic: spare address space after the last one */
} purge;

uint64_t hk_purge_dirty_bytes(void) { return hk_arena_dirty_bytes() + hk_extent_cached_bytes(); }

static uint64_t purge_delay(void) { return hk_option(HK_OPTION_purge_delay_ms); }

/* ---- Scans ------------------------------------------------------------------------------------- */

static size_t purge_decayed_extents(struct hk_purge_budget *budget) {
    uint64_t now = hk_os_now_ms();
    uint64_t delay = purge_delay();
    return hk_extent_purge(now > delay ? now - delay : 0, budget);
}

/* Returns the idle blocks of the transfer caches to their slabs. False when the budget is used up.
 */
static bool purge_scan_transfer(struct hk_scan *scan) {
    void *blocks[PURGE_TRANSFER_BATCH];
    bool all = scan->which == HK_PURGE_ALL;
    for (; scan->transfer_class < HK_CLASS_COUNT; scan->transfer_class++) {
        size_t class = scan->transfer_class;
        for (uint32_t cpu = 0; cpu < hk_transfer_cpus(); cpu++) {
            uint32_t count;
            do {
                if (hk_purge_is_spent(&scan->budget))
                    return false;
                count = hk_transfer_take_idle(cpu, class, all, blocks, PURGE_TRANSFER_BATCH);
                if (count > 0) {
                    hk_heap_give_idle(class, blocks, count, &scan->mistakes);
                    hk_purge_spend(&scan->budget, 1, 0);
                }
            } while (count == PURGE_TRANSFER_BATCH);
        }
        struct hk_transfer_counts left;
        hk_transfer_count(class, &left);
        scan->waiting += left.blocks;
    }
    return true;
}

/* Goes on with a scan until it ends (true) or the budget is used up. Under the PURGE lock. */
static bool purge_scan(struct hk_scan *scan) {
    if (!purge_scan_transfer(scan))
        return false;
    struct hk_heap *heap;
    while ((heap = hk_thread_heap(scan->heap)) != NULL) {
        if (!hk_heap_scan(heap, scan))
            return false;
        scan->heap++;
    }
    scan->purged_bytes += scan->which == HK_PURGE_ALL ? hk_extent_purge(UINT64_MAX, &scan->budget)
                                                      : purge_decayed_extents(&scan->budget);
    return !hk_purge_is_spent(&scan->budget);
}

static struct hk_purge_budget purge_budget(uint32_t calls) {
    return (struct hk_purge_budget){calls, PURGE_STEP_BYTES};
}

/* Ends a step. If another thread waits for its turn, it gets it before the next step. */
static void purge_unlock(void) {
    static uint32_t never; /* const: 0 */
    /* relaxed: only a look */
    bool wanted = (hk_load_relaxed(&purge.lock.word) & HK_LOCK_WAITERS) != 0;
    hk_unlock(&purge.lock, HK_RANK_PURGE);
    if (wanted)
        hk_os_wait_ms(&never, 0, 1);
}

/* One step of the scan that decays, under the PURGE lock. Moves the mistakes that it found to
 * *mistakes, for a report without the lock. */
static enum hk_purge_progress purge_decay(uint32_t calls, struct hk_mistakes *mistakes) {
    struct hk_scan *scan = &purge.scan;
    scan->which = HK_PURGE_DECAYED;
    scan->budget = purge_budget(calls);
    bool ended = purge_scan(scan);
    *mistakes = scan->mistakes;
    scan->mistakes.count = 0;
    if (!ended)
        return HK_PURGE_UNFINISHED;

    /* Dirty bytes that stay as they are cannot go: locked memory, huge pages in use. */
    uint64_t dirty = hk_arena_dirty_bytes();
    bool moving = dirty != purge.dirty_seen || scan->purged_bytes > 0 || scan->waiting > 0 ||
                  hk_extent_cached_bytes() > 0;
    purge.dirty_seen = dirty;
    *scan = (struct hk_scan){0};
    return moving ? HK_PURGE_WAITING : HK_PURGE_DONE;
}

/* Empties the caches of threads that ended a purge delay ago. True if younger ones are left. */
static bool purge_decayed_parked(void) {
    uint64_t now = hk_os_now_ms();
    uint64_t delay = purge_delay();
    return hk_thread_release_parked(now > delay ? now - delay : 0);
}

enum hk_purge_progress hk_purge_step(void) {
    struct hk_mistakes mistakes;
    hk_lock(&purge.lock, HK_RANK_PURGE);
    enum hk_purge_progress progress = purge_decay(HK_PURGE_STEP_CALLS, &mistakes);
    purge_unlock();
    hk_mistakes_report("free", &mistakes);
    return purge_decayed_parked() && progress == HK_PURGE_DONE ? HK_PURGE_WAITING : progress;
}

size_t hk_purge_all(void) {
    hk_thread_ask_trim();
    struct hk_thread *thread = hk_thread_get();
    if (thread != NULL)
        hk_thread_empty(thread);
    hk_thread_release_parked(UINT64_MAX);

    struct hk_scan scan = {.which = HK_PURGE_ALL};
    for (bool done = false; !done;) {
        scan.budget = purge_budget(HK_PURGE_STEP_CALLS);
        hk_lock(&purge.lock, HK_RANK_PURGE);
        done = purge_scan(&scan);
        purge_unlock();
    }
    hk_mistakes_report("free", &scan.mistakes);
    return scan.purged_bytes;
}

/* ---- Slow calls of a busy program -------------------------------------------------------------- */

/* Above the soft limit everything goes, but not again and again in the same millisecond. */
static void purge_if_high(uint64_t now) {
    if (hk_likely(!hk_usage_is_high()) || now == hk_load_relaxed(&purge.high_ms))
        return;
    hk_store_relaxed(&purge.high_ms, now); /* relaxed: a time, orders nothing */
    hk_purge_all();
}

void hk_purge_tick(uint64_t now) {
    purge_if_high(now);
    if (hk_scavenger_is_present() ||
        now < hk_load_relaxed(&purge.next_ms) || /* relaxed: a time, orders nothing */
        !hk_lock_try(&purge.lock, HK_RANK_PURGE))
        return;

    struct hk_mistakes mistakes;
    /* Memory goes when two scans in a row found it free: after half a delay to a whole one. */
    if (purge_decay(PURGE_TICK_CALLS, &mistakes) != HK_PURGE_UNFINISHED)
        hk_store_relaxed(&purge.next_ms, now + purge_delay() / 2 + 1); /* relaxed: as above */
    hk_unlock(&purge.lock, HK_RANK_PURGE);
    hk_mistakes_report("free", &mistakes);
    purge_decayed_parked();
}

/* ---- Balance: a limit on free memory without a scavenger --------------------------------------- */

static uint64_t balance_limit(void) {
    uint64_t base = (hk_option(HK_OPTION_purge_thread_mb) << 20) / PURGE_BALANCE_PART;
    uint64_t raised = hk_load_relaxed(&purge.limit); /* relaxed: a number */
    return raised > base ? raised : base;
}

/* Adapts the limit. Usage that grows again by what the last balances gave back belongs to a program
 * that frees and allocates the same memory in turn: the page faults cost more than the memory is
 * worth, so the limit rises above it. Without such regret it falls again. */
static void balance_adapt(void) {
    uint64_t now = hk_os_now_ms();
    uint64_t usage = hk_usage_bytes();
    uint64_t again = usage > purge.usage_after ? usage - purge.usage_after : 0;
    uint64_t regret = again < purge.balanced ? again : purge.balanced;
    uint64_t limit = balance_limit();
    if (regret > 0 && regret >= purge.balanced / 2) {
        if (++purge.regrets >= PURGE_REGRETS)
            hk_store_relaxed(&purge.limit, limit + regret + regret / 4); /* relaxed: a number */
        purge.limit_ms = now;
    } else if (now - purge.limit_ms > PURGE_REGRET_DECAY * purge_delay()) {
        hk_store_relaxed(&purge.limit, limit / 2); /* relaxed: as above */
        purge.limit_ms = now;
        purge.regrets = 0;
    }
    if (again > 0)
        purge.balanced = 0;
}

static void balance_arena(void *arg, struct hk_heap *heap) {
    struct hk_purge_budget *budget = arg;
    if (!hk_purge_is_spent(budget))
        hk_arena_purge(&heap->arena, HK_PURGE_FREE, budget);
}

bool hk_purge_balance(void) {
    if (hk_likely(hk_purge_dirty_bytes() <= balance_limit()) ||
        hk_option(HK_OPTION_purge_thread_mb) == 0 || hk_scavenger_is_present() ||
        !hk_lock_try(&purge.lock, HK_RANK_PURGE))
        return false;

    balance_adapt();
    uint64_t dirty = hk_purge_dirty_bytes();
    uint64_t limit = balance_limit();
    size_t given_back = 0;
    if (dirty > limit) {
        /* Down to half of the limit, so that the next frees need no balance. */
        struct hk_purge_budget budget = {PURGE_BALANCE_CALLS, dirty - limit / 2};
        size_t wanted = budget.bytes;
        hk_thread_each_heap(balance_arena, &budget);
        if (!hk_purge_is_spent(&budget))
            hk_extent_purge(UINT64_MAX, &budget);
        given_back = wanted - budget.bytes;
        purge.balanced += given_back;
        purge.usage_after = hk_usage_bytes();
        if (given_back == 0) {                                 /* the OS refuses: locked memory */
            hk_store_relaxed(&purge.limit, dirty + dirty / 4); /* relaxed: a number */
            purge.limit_ms = hk_os_now_ms();
        }
    }
    hk_unlock(&purge.lock, HK_RANK_PURGE);
    return given_back > 0;
}

/* ---- Failed allocations ------------------------------------------------------------------------ */

/* Address space that is mapped, but not in use. Only a purge unmaps it. */
static uint64_t purge_spare_bytes(void) {
    uint64_t mapped = hk_load_relaxed(&hk_os_counts.bytes_mapped); /* relaxed: a statistic */
    uint64_t usage = hk_usage_bytes();
    uint64_t dirty = hk_purge_dirty_bytes();
    uint64_t used = usage > dirty ? usage - dirty : 0;
    return mapped > used ? mapped - used : 0;
}

/* Large blocks that the calling thread keeps, which a purge gives up. */
static uint64_t purge_kept_bytes(void) {
    const struct hk_thread *thread = hk_thread_get();
    return thread != NULL ? thread->keep.bytes : 0;
}

/* Whether things changed since the last purge in vain, so that another one may help: it brings the
 * usage below the hard limit, or the program has freed address space. */
static bool purge_may_help(size_t bytes) {
    uint64_t hard = hk_option(HK_OPTION_limit_hard);
    uint64_t usage = hk_usage_bytes();
    if (hard != 0 && usage + bytes > hard)
        return usage + bytes <= hard + hk_purge_dirty_bytes() + purge_kept_bytes();
    uint64_t failed = hk_load_relaxed(&purge.failed_spare); /* relaxed: a number */
    return purge_spare_bytes() >= failed + PURGE_FAILURE_BYTES;
}

/* A program that goes on after a failure may fail a thousand times a second. Each purge costs it
 * the page faults of all that it uses again, so there is one for each change, and one after pauses
 * that grow. */
bool hk_purge_for(size_t bytes) {
    if (bytes >> PURGE_ADDRESS_BITS != 0)
        return false;
    uint64_t now = hk_os_now_ms();
    if (now < hk_load_relaxed(&purge.failed_ms) && !purge_may_help(bytes)) /* relaxed: a time */
        return false;

    uint64_t wait = hk_load_relaxed(&purge.failed_wait); /* relaxed: a number */
    wait = wait == 0 ? PURGE_FAILURE_MS : wait < PURGE_FAILURE_MAX_MS ? 2 * wait : wait;
    hk_store_relaxed(&purge.failed_wait, wait); /* relaxed: as above */
    hk_purge_all();
    hk_store_relaxed(&purge.failed_ms, now + wait); /* relaxed: as above */
    hk_store_relaxed(&purge.failed_spare, purge_spare_bytes());
    return true;
}

void hk_purge_helped(void) { hk_store_relaxed(&purge.failed_wait, 0); /* relaxed: a number */ }
