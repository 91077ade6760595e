/* heap/fork.c - fork while other threads allocate. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "fork.h"

#include <pthread.h>

#include "../core/extent.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../os/os.h"
#include "../transfer/transfer.h"
#include "purge.h"
#include "scavenger.h"
#include "thread.h"

static uint32_t fork_generation; /* atomic; of the process that was noticed last */

void hk_fork_notice(void) {
    uint32_t generation = hk_os_generation();
    /* relaxed: the thread that changes it does the work; the locks order the rest */
    uint32_t seen = hk_load_relaxed(&fork_generation);
    if (hk_likely(seen == generation) || !hk_os_is_first_thread() ||
        !hk_cas_relaxed(&fork_generation, &seen, generation))
        return;
    hk_scavenger_fork_child();
    hk_thread_fork_child();
}

static void fork_child(void) {
    hk_os_note_fork();
    hk_fork_notice();
}

void hk_fork_install(void) { pthread_atfork(NULL, NULL, fork_child); }

/* ---- Repairs ----------------------------------------------------------------------------------- */

#define FORK_HOLDER(type, member, pointer)                                                         \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static void fork_repair_purge(struct hk_lock *lock) {
    (void)lock;
    hk_thread_each_heap(hk_heap_repair_purge, NULL);
}

static void fork_repair_thread(struct hk_lock *lock) {
    hk_thread_repair(FORK_HOLDER(struct hk_thread, lock, lock));
}

static void fork_repair_threads(struct hk_lock *lock) {
    (void)lock;
    hk_threads_repair();
}

/* A class lock does not know its heap, so we look for it. */
static void fork_repair_class_of(void *arg, struct hk_heap *heap) {
    struct hk_heap_class *hc = FORK_HOLDER(struct hk_heap_class, lock, arg);
    if (hc >= heap->classes && hc < heap->classes + HK_CLASS_COUNT)
        hk_heap_repair_class(heap, (size_t)(hc - heap->classes));
}

static void fork_repair_class(struct hk_lock *lock) {
    hk_thread_each_heap(fork_repair_class_of, lock);
}

static void fork_repair_arena(struct hk_lock *lock) {
    hk_arena_repair(FORK_HOLDER(struct hk_arena, lock, lock));
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
    hk_lock_set_repair(HK_RANK_PURGE, fork_repair_purge);
    hk_lock_set_repair(HK_RANK_THREADS, fork_repair_threads);
    hk_lock_set_repair(HK_RANK_THREAD, fork_repair_thread);
    hk_lock_set_repair(HK_RANK_TRANSFER, hk_transfer_repair);
    hk_lock_set_repair(HK_RANK_CLASS, fork_repair_class);
    hk_lock_set_repair(HK_RANK_ARENA, fork_repair_arena);
    hk_lock_set_repair(HK_RANK_EXTENT, fork_repair_extent);
    hk_lock_set_repair(HK_RANK_PAGEMAP, fork_repair_pagemap);
    hk_lock_set_repair(HK_RANK_META, fork_repair_meta);
}
