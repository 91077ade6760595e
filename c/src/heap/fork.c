/* heap/fork.c - fork while other threads allocate. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "fork.h"

#include <pthread.h>

#include "../core/large.h"
#include "../core/meta.h"
#include "../core/registry.h"
#include "helper.h"
#include "purge.h"
#include "thread.h"

static void fork_lock_classes(void *arg, struct hk_heap *heap) {
    (void)arg;
    for (size_t class = 0; class < HK_CLASS_COUNT; ++class)
        hk_lock_unranked(&heap->classes[class].lock);
}

static void fork_lock_arena(void *arg, struct hk_heap *heap) {
    (void)arg;
    hk_lock_unranked(&heap->arena.lock);
}

static void fork_unlock_heap(void *arg, struct hk_heap *heap) {
    (void)arg;
    hk_unlock_unranked(&heap->arena.lock);
    for (size_t class = 0; class < HK_CLASS_COUNT; ++class)
        hk_unlock_unranked(&heap->classes[class].lock);
}

static void fork_reset_heap(void *arg, struct hk_heap *heap) {
    (void)arg;
    hk_lock_reset(&heap->arena.lock);
    for (size_t class = 0; class < HK_CLASS_COUNT; ++class)
        hk_lock_reset(&heap->classes[class].lock);
}

static void fork_prepare(void) {
    hk_purge_fork_prepare();
    hk_thread_fork_prepare();
    hk_thread_each_heap(fork_lock_classes, NULL);
    hk_thread_each_heap(fork_lock_arena, NULL);
    hk_large_fork_prepare();
    hk_registry_fork_prepare();
    hk_meta_fork_prepare();
}

static void fork_parent(void) {
    hk_meta_fork_parent();
    hk_registry_fork_parent();
    hk_large_fork_parent();
    hk_thread_each_heap(fork_unlock_heap, NULL);
    hk_thread_fork_parent();
    hk_purge_fork_parent();
}

/* The threads come last: their caches go home, which takes the other locks. */
static void fork_child(void) {
    hk_meta_fork_child();
    hk_registry_fork_child();
    hk_large_fork_child();
    hk_thread_each_heap(fork_reset_heap, NULL);
    hk_purge_fork_child();
    hk_helper_fork_child();
    hk_thread_fork_child();
}

void hk_fork_install(void) {
    static uint32_t installed; /* atomic */
    uint32_t no = 0;
    /* relaxed: decides who registers; nothing is published by it */
    if (!hk_load_relaxed(&installed) && hk_cas_relaxed(&installed, &no, 1))
        pthread_atfork(fork_prepare, fork_parent, fork_child);
}
