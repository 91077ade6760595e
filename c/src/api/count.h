/* api/count.h - counting of blocks, for threads that count (thread/count).
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the usable bytes of blocks, which hak_usable_size returns and threads count.
 * Owns: nothing. Threads: any, no lock held. Boundary: thread/count, core/pagemap.
 */
#ifndef HK_API_COUNT_H
#define HK_API_COUNT_H

#include "../core/pagemap.h"
#include "../thread/count.h"

/* The usable bytes of a live block: of a span, and of a block without its span. */
HK_FAST size_t hk_count_usable(const struct hk_span *span) {
    return span->class != HK_CLASS_NONE ? hk_classes[span->class].block_bytes : span->bytes;
}

static inline size_t hk_count_usable_of(const void *block) {
    size_t class = hk_class_map_class(block);
    return class != HK_CLASS_NONE ? hk_classes[class].block_bytes
                                  : hk_count_usable(hk_pagemap_find(block));
}

/* Counts a block that was just allocated, if the thread counts. NULL counts nothing. */
HK_FAST void hk_count_block(const void *block) {
    if (hk_count_is_on() && block != NULL)
        hk_count_allocated(hk_count_usable_of(block));
}

#endif
