/* purge/retry.c - purges for allocations that failed. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "retry.h"

#include "../core/options.h"
#include "../core/usage.h"
#include "../os/os.h"
#include "../thread/thread.h"
#include "decay.h"
#include "tunables.h"

enum { RETRY_ADDRESS_BITS = 47 }; /* No address space has room for a larger block. */

static struct {
    uint64_t ms;   /* atomic: time of the next purge for a failed allocation */
    uint64_t wait; /* atomic: the pause after the next unsuccessful purge */
    uint64_t used; /* atomic: bytes in use after the last purge */
} retry;

/* Bytes in use, without free ones. Chunks that were mapped since the last purge do not count,
 * because another purge would only unmap them again. */
static uint64_t retry_used_bytes(void) {
    uint64_t usage = hk_usage_bytes();
    uint64_t dirty = hk_decay_dirty_bytes();
    return usage > dirty ? usage - dirty : 0;
}

/* Bytes in the calling thread's large-block cache, which a purge gives back. */
static uint64_t retry_kept_bytes(void) {
    const struct hk_thread *thread = hk_thread_get();
    return thread != NULL ? thread->large.bytes : 0;
}

/* Whether another purge may help after an unsuccessful one, because it would bring the usage below
 * the hard limit, or the program has freed memory since. */
static bool retry_may_help(size_t bytes) {
    uint64_t hard = hk_option(HK_OPTION_limit_hard);
    uint64_t usage = hk_usage_bytes();
    if (hard != 0 && usage + bytes + RETRY_BYTES > hard) /* a slab is larger than its block */
        return usage + bytes <= hard + hk_decay_dirty_bytes() + retry_kept_bytes();

    uint64_t failed = hk_load_relaxed(&retry.used); /* relaxed: a number */
    return retry_used_bytes() + RETRY_BYTES <= failed;
}

/* A program that continues after a failure may fail a thousand times a second. Each purge costs it
 * page faults for all memory that it uses again. We therefore purge once after each change, and
 * otherwise after growing pauses. */
bool hk_purge_for(size_t bytes) {
    if (bytes >> RETRY_ADDRESS_BITS != 0)
        return false;

    uint64_t now = hk_os_now_ms();
    if (now < hk_load_relaxed(&retry.ms) && !retry_may_help(bytes)) /* relaxed: a time */
        return false;

    uint64_t wait = hk_load_relaxed(&retry.wait); /* relaxed: a number */
    wait = wait == 0 ? RETRY_MS : wait < RETRY_MAX_MS ? 2 * wait : wait;
    hk_store_relaxed(&retry.wait, wait); /* relaxed: as above */

    hk_decay_all();
    hk_store_relaxed(&retry.ms, now + wait);           /* relaxed: as above */
    hk_store_relaxed(&retry.used, retry_used_bytes()); /* relaxed: as above */
    return true;
}

void hk_purge_helped(void) { hk_store_relaxed(&retry.wait, 0); /* relaxed: a number */ }
