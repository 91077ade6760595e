/* purge/balance.c - a limit on free memory without a scavenger.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "balance.h"

#include "../core/extent.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../heap/heaps.h"
#include "../os/os.h"
#include "decay.h"
#include "scavenger.h"
#include "tunables.h"

static struct {
    uint64_t limit;       /* atomic, stored under PURGE; the raised limit, or 0 */
    uint64_t limit_ms;    /* lock:PURGE; time of its last change */
    uint32_t regrets;     /* lock:PURGE; in a row */
    uint64_t usage_after; /* lock:PURGE; usage after the last balance */
    uint64_t usage_most;  /* lock:PURGE; the highest usage since the limit last fell */
    uint64_t balanced;    /* lock:PURGE; bytes that balances gave back */
} balance;

static uint64_t balance_base(void) {
    return (hk_option(HK_OPTION_purge_thread_mb) << 20) / BALANCE_PART;
}

static uint64_t balance_limit(void) {
    uint64_t base = balance_base();
    uint64_t raised = hk_load_relaxed(&balance.limit); /* relaxed: a number */
    return raised > base ? raised : base;
}

/* Adapts the limit. If usage grows again by the bytes that the last balances gave back, the program
 * frees and allocates the same memory in turn. The page faults then cost more than the memory is
 * worth, so the limit rises above it. Without such regret it falls again. */
static void balance_adapt(void) {
    uint64_t now = hk_os_now_ms();
    uint64_t usage = hk_usage_bytes();
    uint64_t again = usage > balance.usage_after ? usage - balance.usage_after : 0;
    uint64_t regret = again < balance.balanced ? again : balance.balanced;
    uint64_t limit = balance_limit();

    if (regret > 0 && regret >= balance.balanced / 2) {
        if (++balance.regrets >= BALANCE_REGRETS)
            hk_store_relaxed(&balance.limit, limit + regret + regret / 4); /* relaxed: a number */
        balance.limit_ms = now;
    } else if (now - balance.limit_ms >
               BALANCE_REGRET_DECAY * hk_option(HK_OPTION_purge_delay_ms)) {
        hk_store_relaxed(&balance.limit, limit / 2); /* relaxed: as above */
        balance.limit_ms = now;
        balance.regrets = 0;
        balance.usage_most = 0;
    }
    balance.usage_most = hk_max(balance.usage_most, usage);

    if (again > 0)
        balance.balanced = 0;
}

/* The bytes of free memory that may stay in huge pages which are partly in use. This is twice the
 * usual limit, or more for a program that frees small blocks and has used more than 64 MiB: the
 * rest of these huge pages is often freed soon. */
static uint64_t balance_limit_partial(enum hk_freed kind, uint64_t limit) {
    uint64_t usual = 2 * balance_base();
    uint64_t part = kind == HK_FREED_SMALL ? balance.usage_most / BALANCE_PARTIAL_PART : 0;
    return hk_max(hk_max(limit, usual), part > usual ? part - usual : 0);
}

struct balance_step {
    enum hk_purge which;
    struct hk_purge_budget budget;
};

static void balance_arena(void *arg, struct hk_heap *heap) {
    struct balance_step *step = arg;
    if (!hk_purge_is_spent(&step->budget))
        hk_arena_purge(&heap->arena, step->which, &step->budget);
}

/* Gives back dirty memory beyond `bytes`. Returns the number of bytes given back. */
static size_t balance_give_back(enum hk_purge which, uint64_t bytes) {
    uint64_t dirty = hk_decay_dirty_bytes();
    if (dirty <= bytes)
        return 0;

    struct balance_step step = {which, {BALANCE_CALLS, dirty - bytes}};
    hk_heaps_each(balance_arena, &step);
    if (!hk_purge_is_spent(&step.budget))
        hk_extent_purge(UINT64_MAX, &step.budget);

    return dirty - bytes - step.budget.bytes;
}

bool hk_purge_balance(enum hk_freed kind) {
    if (hk_likely(hk_decay_dirty_bytes() <= balance_limit()) ||
        hk_option(HK_OPTION_purge_thread_mb) == 0 || hk_scavenger_is_present() ||
        !hk_decay_try_lock())
        return false;

    balance_adapt();
    size_t given_back = 0;
    uint64_t limit = balance_limit();
    if (hk_decay_dirty_bytes() > limit) {
        /* Reduce free memory to half of the limit, so that the next frees need not do it again.
         * Huge pages that are partly in use are broken up only beyond a limit of their own. */
        given_back = balance_give_back(HK_PURGE_WHOLE, limit / 2);
        given_back += balance_give_back(HK_PURGE_FREE, balance_limit_partial(kind, limit));
        balance.balanced += given_back;
        balance.usage_after = hk_usage_bytes();

        if (given_back == 0) { /* locked memory, or huge pages in use */
            uint64_t dirty = hk_decay_dirty_bytes();
            hk_store_relaxed(&balance.limit, dirty + dirty / 4); /* relaxed: a number */
            balance.limit_ms = hk_os_now_ms();
        }
    }

    hk_decay_unlock();
    return given_back > 0;
}
