/* purge/limit.h - a callback for usage that comes close to a limit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the program may ask to be called when usage reaches 80, 90 and 100 % of a limit, so
 * that it can shed load. There are two limits: the lower one of the options limit_soft and
 * limit_hard, for the bytes that hakmem uses, and that of the fullest cgroup, for all bytes that
 * the kernel counts there. In both cases, free memory of hakmem does not count, because it goes
 * back before the limit is exceeded. An allocation that makes usage reach a level calls the
 * callback at its end. There is one call for each time that usage rises to a level.
 *
 * Owns: the callback, the level. Threads: any, no lock held. Takes LIMIT, but not while the
 * callback runs, which may allocate and free. One thread at a time calls it.
 * Boundary: purge/decay, core/usage, core/options, hk_os_memory_use.
 */
#ifndef HK_PURGE_LIMIT_H
#define HK_PURGE_LIMIT_H

#include <hakmem.h>

#include "../base/atomic.h"
#include "../core/usage.h"

typedef void hk_limit_callback(void *arg, const struct hak_limit *limit);

/* Sets the callback, or removes it with NULL. */
HK_COLD void hk_limit_set(hk_limit_callback *callback, void *arg);

/* The limit that usage is closest to, now. */
HK_COLD struct hak_limit hk_limit_get(void);

/* Usage from which on an allocation must call hk_limit_check. UINT64_MAX without a callback. */
extern uint64_t hk_limit_next; /* atomic, stored under LIMIT */

HK_FAST bool hk_limit_is_due(void) {
    return hk_unlikely(hk_usage_bytes() >= hk_peek(&hk_limit_next));
}

/* Called now and then in slow calls of allocations. Notices usage that falls, and reads the use of
 * the cgroup. */
void hk_limit_tick(void);

/* Called at the end of an allocation. Calls the callback if usage has reached another level. */
HK_COLD void hk_limit_check(void);

/* Called after an allocation of `bytes` found no memory. If that was because of limit_hard, usage
 * counts as 100 %. Returns true if the callback was called, so that the allocation is worth another
 * attempt. */
HK_COLD bool hk_limit_refused(size_t bytes);

#endif
