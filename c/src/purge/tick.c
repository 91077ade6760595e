/* purge/tick.c - scans in the program's own threads. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "tick.h"

#include "../core/options.h"
#include "../core/usage.h"
#include "decay.h"
#include "scavenger.h"

enum { TICK_CALLS = 16 }; /* System calls in a step inside a slow call of the program. */

static struct {
    uint64_t scanned_ms; /* atomic: time of the last scan */
    uint64_t high_ms;    /* atomic: time of the last trim above the soft limit */
} tick;

/* Trims if usage is above the soft limit, but at most once per millisecond. */
static void tick_if_high(uint64_t now) {
    if (hk_likely(!hk_usage_is_high()) || now == hk_load_relaxed(&tick.high_ms))
        return;
    hk_store_relaxed(&tick.high_ms, now); /* relaxed: a time, orders nothing */
    hk_decay_all();
}

void hk_purge_tick(uint64_t now) {
    tick_if_high(now);
    /* Memory is given back when two scans in a row find it free, after half a purge delay to a
     * whole one. The delay may have changed since the last scan. */
    uint64_t pause = hk_option(HK_OPTION_purge_delay_ms) / 2;
    if (hk_scavenger_is_present() ||
        now <= hk_load_relaxed(&tick.scanned_ms) + pause) /* relaxed: a time */
        return;
    if (hk_decay_try_step(TICK_CALLS))
        hk_store_relaxed(&tick.scanned_ms, now); /* relaxed: as above */
}
