/* purge/pressure.c - the purge delay under memory pressure.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "pressure.h"

#include "../core/arena.h"
#include "../core/extent.h"
#include "../core/options.h"
#include "../os/os.h"
#include "tunables.h"

static struct {
    uint64_t next_ms; /* atomic: time of the next read */
    uint64_t high_ms; /* atomic: end of the time for which the last reading counts as pressure */
} pressure;

static HK_SLOW void pressure_read(uint64_t now) {
    uint32_t value = hk_os_is_sandboxed() ? HK_OS_PRESSURE_UNKNOWN : hk_os_memory_pressure();
    bool known = value != HK_OS_PRESSURE_UNKNOWN;
    bool high = known && value >= PRESSURE_HIGH;
    /* relaxed: times, which order nothing */
    hk_store_relaxed(&pressure.next_ms, now + (known ? PRESSURE_READ_MS : PRESSURE_RETRY_MS));
    hk_store_relaxed(&pressure.high_ms, high ? now + PRESSURE_VALID_MS : 0);
}

void hk_pressure_look(uint64_t now) {
    if (hk_likely(now < hk_load_relaxed(&pressure.next_ms))) /* relaxed: a time */
        return;
    if (hk_arena_dirty_bytes() + hk_extent_cached_bytes() >= PRESSURE_BYTES)
        pressure_read(now);
}

uint64_t hk_pressure_wait_ms(uint64_t now) {
    uint64_t next = hk_load_relaxed(&pressure.next_ms); /* relaxed: a time */
    return next > now ? next - now : PRESSURE_READ_MS;
}

uint64_t hk_pressure_delay_ms(uint64_t now) {
    uint64_t delay = hk_option(HK_OPTION_purge_delay_ms);
    bool high = now < hk_load_relaxed(&pressure.high_ms); /* relaxed: a time */
    return high && delay > PRESSURE_DELAY_MS ? PRESSURE_DELAY_MS : delay;
}
