/* thread/prewarm.c - filling a thread's cache in advance.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "prewarm.h"

#include "bins.h"
#include "park.h"

/* The number of blocks of a class that the set puts into a bin. */
static uint32_t prewarm_count(size_t class, enum hak_prewarm_set set) {
    const struct hk_class *row = &hk_classes[class];
    enum hak_prewarm_set tier =
        row->block_bytes <= HK_TINY_MAX ? HAK_PREWARM_TINY : HAK_PREWARM_POOL;
    if (set == HAK_PREWARM_ADAPTIVE)
        return hk_park_usual(class);
    return set == HAK_PREWARM_ALL || set == tier ? row->prewarm : 0;
}

size_t hk_prewarm_thread(struct hk_thread *thread, enum hak_prewarm_set set) {
    size_t bytes = 0;
    hk_tcache_enter(thread);

    for (size_t class = 1; set != HAK_PREWARM_OFF && class < HK_CLASS_COUNT; ++class) {
        uint32_t want = prewarm_count(class, set);
        uint32_t have = hk_bins_count(thread, class);
        if (have < want)
            bytes +=
                hk_bins_fill(thread, class, want - have) * (size_t)hk_classes[class].block_bytes;
    }

    hk_tcache_leave(thread);
    return bytes;
}
