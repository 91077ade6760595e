/* api/limit.h - the callback for limits, at the ends of allocations.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the functions of purge/limit, without the default heap of the thread. Blocks that the
 * callback allocates must not end with that heap.
 * Owns: nothing. Threads: any, no lock held. Boundary: purge/limit, own/default.
 */
#ifndef HK_API_LIMIT_H
#define HK_API_LIMIT_H

#include "../purge/limit.h"

/* hk_limit_check and hk_limit_refused. */
HK_COLD void hk_limit_call(void);
HK_COLD bool hk_limit_call_refused(size_t bytes);

/* Called at the end of an allocation. */
HK_FAST void hk_limit_note(void) {
    if (hk_limit_is_due())
        hk_limit_call();
}

/* The same, for allocations whose slow calls do not tick. */
HK_FAST void hk_limit_tick_and_note(void) {
    hk_limit_tick();
    hk_limit_note();
}

#endif
