/* thread/check.c - whether a block is allocated. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "check.h"

#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../transfer/transfer.h"
#include "bins.h"

struct check_search {
    const void *block;
    bool found;
};

static void check_visit(void *arg, void *const *blocks, uint32_t count) {
    struct check_search *search = arg;
    for (uint32_t i = 0; i < count; i++)
        search->found |= blocks[i] == search->block;
}

static bool check_is_in_transfer(const void *block) {
    struct check_search search = {block, false};
    hk_transfer_each(hk_pagemap_find(block)->class, check_visit, &search);
    return search.found;
}

/* With HK_CHECKS_FAST, threads have small caches. */
static bool check_is_in_bin(const void *block) {
    struct hk_thread *thread = hk_thread_own;
    size_t class = hk_pagemap_find(block)->class;
    if (thread == NULL || class == HK_CLASS_NONE)
        return false;

    hk_tcache_enter(thread);
    bool found = hk_bins_has(thread, class, block);
    hk_tcache_leave(thread);
    return found;
}

bool hk_check(const char *function, const void *block) {
    enum hk_slab_result result = hk_heap_look(block);
    if (result == HK_SLAB_DONE && (check_is_in_bin(block) || check_is_in_transfer(block)))
        result = HK_SLAB_ALREADY_FREE;
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_heap_report(function, block, result);
    return result == HK_SLAB_DONE;
}
