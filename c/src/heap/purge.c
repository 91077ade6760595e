/* heap/purge.c - when memory goes back. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "purge.h"

#include "../core/large.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../os/os.h"
#include "helper.h"
#include "thread.h"

enum { PURGE_ADDRESS_BITS = 47 }; /* a block of more bytes fits no address space */

static struct {
    struct hk_lock lock; /* rank PURGE */
    uint64_t next_ms;    /* atomic, stored under PURGE: no look before */
    uint64_t dirty_seen; /* lock:PURGE; dirty bytes after the helper's last look */
    uint64_t high_ms;    /* atomic: when the soft limit last made everything go */
} purge;

static void purge_aged_arena(void *arg, struct hk_heap *heap) {
    (void)arg;
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    hk_arena_purge(&heap->arena, HK_PURGE_AGED, &budget);
}

static void purge_aged_heap(void *look, struct hk_heap *heap) {
    hk_heap_age(heap, HK_PURGE_AGED, look);
}

static void purge_whole_heap(void *look, struct hk_heap *heap) {
    hk_heap_age(heap, HK_PURGE_ALL, look);
}

/* Above the soft limit everything goes, but not again and again in the same millisecond. */
static void purge_if_high(uint64_t now) {
    if (hk_likely(!hk_usage_is_high()) || now == hk_load_relaxed(&purge.high_ms))
        return;
    hk_store_relaxed(&purge.high_ms, now); /* relaxed: a time, orders nothing */
    hk_purge_all();
}

static size_t purge_aged_large(uint64_t now) {
    uint64_t delay = hk_option(HK_OPTION_purge_delay_ms);
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    return hk_extent_purge(now > delay ? now - delay : 0, &budget);
}

void hk_purge_tick(uint64_t now) {
    purge_if_high(now);
    if (hk_helper_is_present()) {
        hk_helper_work();
        return;
    }
    if (now < hk_load_relaxed(&purge.next_ms)) /* relaxed: a time, orders nothing */
        return;
    if (!hk_lock_try(&purge.lock, HK_RANK_PURGE))
        return;
    /* Memory goes when two looks in a row found it free: after half a delay to a whole one. */
    uint64_t delay = hk_option(HK_OPTION_purge_delay_ms);
    hk_store_relaxed(&purge.next_ms, now + delay / 2 + 1); /* relaxed: a time, orders nothing */
    hk_thread_each_heap(purge_aged_arena, NULL);
    purge_aged_large(now);
    hk_unlock(&purge.lock, HK_RANK_PURGE);
}

bool hk_purge_step(void) {
    struct hk_heap_look look = {0, 0};
    hk_lock(&purge.lock, HK_RANK_PURGE);
    hk_thread_each_heap(purge_aged_heap, &look);
    look.purged_bytes += purge_aged_large(hk_os_now_ms());
    /* Dirty bytes that stay as they are cannot go: locked memory, huge pages in use. */
    uint64_t dirty = hk_arena_dirty_bytes();
    bool moving = dirty != purge.dirty_seen || look.purged_bytes > 0 || look.waiting > 0;
    purge.dirty_seen = dirty;
    hk_unlock(&purge.lock, HK_RANK_PURGE);
    return moving || hk_extent_cached_bytes() > 0;
}

size_t hk_purge_all(void) {
    hk_thread_ask_trim();
    struct hk_thread *thread = hk_thread_get();
    if (thread != NULL)
        hk_thread_empty(thread);
    struct hk_heap_look look = {0, 0};
    hk_lock(&purge.lock, HK_RANK_PURGE);
    hk_thread_each_heap(purge_whole_heap, &look);
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    look.purged_bytes += hk_extent_purge(UINT64_MAX, &budget);
    hk_unlock(&purge.lock, HK_RANK_PURGE);
    return look.purged_bytes;
}

bool hk_purge_for(size_t bytes) {
    if (bytes >> PURGE_ADDRESS_BITS != 0)
        return false;
    hk_purge_all();
    return true;
}

void hk_purge_fork_prepare(void) { hk_lock_unranked(&purge.lock); }
void hk_purge_fork_parent(void) { hk_unlock_unranked(&purge.lock); }
void hk_purge_fork_child(void) { hk_lock_reset(&purge.lock); }
