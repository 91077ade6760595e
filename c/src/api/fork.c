/* api/fork.c - fork while other threads allocate. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "fork.h"

#include <pthread.h>

#include "../core/extent.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../guard/slots.h"
#include "../heap/heaps.h"
#include "../own/own.h"
#include "../purge/decay.h"
#include "../thread/recover.h"
#include "../thread/threads.h"
#include "../transfer/transfer.h"

void hk_fork_install(void) { pthread_atfork(NULL, NULL, hk_recover_fork_child); }

/* ---- Repairs --------------------------------------------------------------------------------- */

/* A class lock does not record its heap, so we search for it. */
static void fork_repair_class_of(void *arg, struct hk_heap *heap) {
    struct hk_heap_class *hc = HK_HOLDER(struct hk_heap_class, lock, arg);
    if (hc >= heap->classes && hc < heap->classes + HK_CLASS_COUNT)
        hk_heap_repair_class(heap, (size_t)(hc - heap->classes));
}

static void fork_repair_class(struct hk_lock *lock) { hk_heaps_each(fork_repair_class_of, lock); }

static void fork_repair_arena(struct hk_lock *lock) {
    hk_arena_repair(HK_HOLDER(struct hk_arena, lock, lock));
}

static void fork_repair_extent(struct hk_lock *lock) {
    (void)lock;
    hk_extent_repair();
}

static void fork_repair_pagemap(struct hk_lock *lock) {
    (void)lock;
    hk_pagemap_repair();
}

static void fork_repair_meta(struct hk_lock *lock) {
    (void)lock;
    hk_meta_repair();
}

void hk_fork_set_repairs(void) {
    hk_lock_set_repair(HK_RANK_PURGE, hk_decay_repair);
    hk_lock_set_repair(HK_RANK_THREADS, hk_threads_repair);
    hk_lock_set_repair(HK_RANK_THREAD, hk_recover_repair);
    hk_lock_set_repair(HK_RANK_OWN_CACHE, hk_own_repair_cache);
    hk_lock_set_repair(HK_RANK_OWN, hk_own_repair);
    hk_lock_set_repair(HK_RANK_OWNS, hk_own_repair_queue);
    hk_lock_set_repair(HK_RANK_TRANSFER, hk_transfer_repair);
    hk_lock_set_repair(HK_RANK_CLASS, fork_repair_class);
    hk_lock_set_repair(HK_RANK_ARENA, fork_repair_arena);
    hk_lock_set_repair(HK_RANK_EXTENT, fork_repair_extent);
    hk_lock_set_repair(HK_RANK_PAGEMAP, fork_repair_pagemap);
    hk_lock_set_repair(HK_RANK_META, fork_repair_meta);
    hk_lock_set_repair(HK_RANK_SLOTS, hk_slots_repair);
}
