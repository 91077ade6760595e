/* api/limit.c - a callback for limits. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "limit.h"

#include "../own/default.h"
#include "copy.h"

void hk_limit_call(void) {
    struct hk_own_default suspended = hk_own_suspend_default();
    hk_limit_check();
    hk_own_resume_default(suspended);
}

bool hk_limit_call_refused(size_t bytes) {
    struct hk_own_default suspended = hk_own_suspend_default();
    bool called = hk_limit_refused(bytes);
    hk_own_resume_default(suspended);
    return called;
}

void hak_on_limit(void (*callback)(void *arg, const struct hak_limit *limit), void *arg) {
    hk_limit_set(callback, arg);
}

void hak_limit(struct hak_limit *limit, size_t limit_bytes) {
    struct hak_limit now = hk_limit_get();
    hk_copy_struct(limit, limit_bytes, &now, sizeof now);
}
