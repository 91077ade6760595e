/* core/dirty.c - the signal that memory became dirty. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "dirty.h"

#include "../base/atomic.h"
#include "../os/os.h"

enum { DIRTY_NO, DIRTY_YES, DIRTY_WAITING /* no, and the scavenger sleeps */ };

static uint32_t dirty; /* atomic */

void hk_dirty_signal(void) {
    /* relaxed: if we read a stale DIRTY_YES, the scavenger is about to scan anyway. At worst it
     * misses this memory until the next signal. */
    if (hk_load_relaxed(&dirty) == DIRTY_YES)
        return;
    /* release: the scan sees the freed memory. It pairs with the acquire in hk_dirty_clear. */
    if (hk_swap_release(&dirty, DIRTY_YES) == DIRTY_WAITING)
        hk_os_wake(&dirty);
}

void hk_dirty_clear(void) {
    hk_swap_acquire(&dirty, DIRTY_NO); /* acquire: pairs with the release in hk_dirty_signal */
}

bool hk_dirty_wait_ms(uint64_t ms) {
    uint32_t no = DIRTY_NO;
    /* relaxed: hk_dirty_clear comes before the scan and orders it */
    hk_cas_relaxed(&dirty, &no, DIRTY_WAITING);
    hk_os_wait_ms(&dirty, DIRTY_WAITING, ms);
    return hk_load_relaxed(&dirty) == DIRTY_YES;
}
