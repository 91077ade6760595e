/* debug/stats.h - gathering statistics.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the sum of existing counts of heaps, threads, arenas and the OS boundary at the time
 * of the call. There is no counter on the path of malloc or free.
 * Owns: nothing. Threads: any, no lock held. Takes THREADS, THREAD, CLASS, ARENA, one after
 * another.
 * Boundary: thread, heap/heap, core/large, core/meta, os.
 */
#ifndef HK_DEBUG_STATS_H
#define HK_DEBUG_STATS_H

#include <hakmem.h>

#include "../core/size_class.h"

struct hk_stats_all {
    struct hak_stats total;
    struct hak_class_stats classes[HK_CLASS_COUNT];
    uint64_t blocks_mapped; /* blocks with their own mapping */
    uint64_t bytes_mapped;  /* in these */
};

HK_COLD void hk_stats_collect(struct hk_stats_all *all);

#endif
