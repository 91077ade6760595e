/* thread/count.c - the bytes that a thread allocates and frees.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "count.h"

#include "watch.h"

HK_THREAD_LOCAL struct hak_thread_counters hk_counters;

static HK_THREAD_LOCAL uint32_t count_depth; /* of nested starts */

void hk_count_start(void) {
    if (count_depth++ == 0)
        hk_watch_own_start(HK_WATCH_COUNT);
}

void hk_count_stop(void) {
    if (count_depth > 0 && --count_depth == 0)
        hk_watch_own_stop(HK_WATCH_COUNT);
}
