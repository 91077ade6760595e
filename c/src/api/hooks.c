/* api/hooks.c - actions of the layers above on thread events.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "../thread/hooks.h"

#include "../own/default.h"
#include "../own/owners.h"
#include "../purge/balance.h"
#include "../purge/decay.h"
#include "../purge/limit.h"
#include "../purge/scavenger.h"
#include "../purge/tick.h"
#include "../thread/threads.h"
#include "fork.h"

static void hooks_allocated(const struct hk_thread *thread) {
    struct hk_own_default suspended = hk_own_suspend_default();
    hk_scavenger_want(thread->signal_mask);
    hk_own_resume_default(suspended);
    hk_limit_tick();
}

static void hooks_freed(enum hk_freed kind) { hk_purge_balance(kind); }

static void hooks_thread_ended(void) {
    hk_owner_end();
    if (hk_thread_count() <= 1)
        hk_decay_leave_one();

    /* Gives back the memory that a scavenger left behind when it ended. We stop if another thread
     * starts, because it can reuse the memory. */
    if (hk_scavenger_thread_ended()) {
        while (hk_thread_count() <= 1 && hk_purge_balance(HK_FREED_LARGE)) {
        }
    }
    hk_purge_balance(HK_FREED_LARGE);
}

const struct hk_thread_hooks hk_thread_hooks = {
    .process_started = hk_fork_set_repairs,
    .allocated = hooks_allocated,
    .freed = hooks_freed,
    .clock = hk_purge_tick,
    .ended = hooks_thread_ended,
    .gone = hk_owner_end_of,
};
