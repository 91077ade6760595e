/* api/guard.c - guard pages around sampled blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <hakmem.h>

#include "../guard/guard.h"
#include "../own/default.h"

int hak_guard_start(uint64_t rate, unsigned slots) {
    struct hk_own_default suspended = hk_own_suspend_default();
    int error = hk_guard_start(rate, slots != 0 ? slots : HK_GUARD_SLOTS);
    hk_own_resume_default(suspended);
    return error;
}

void hak_guard_stop(void) { hk_guard_stop(); }

int hak_guard_is_running(void) { return hk_watch_number(HK_WATCHER_GUARD) != 0; }
