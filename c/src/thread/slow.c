/* thread/slow.c - calls that a bin cannot serve. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "slow.h"

#include "../base/probe.h"
#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/options.h"
#include "../heap/heap.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../transfer/transfer.h"
#include "bins.h"
#include "budget.h"
#include "hooks.h"
#include "recover.h"
#include "thread.h"
#include "threads.h"
#include "tunables.h"
#include "watch.h"

/* Frees of a thread without a cache. libc may free the remains of earlier threads in a thread that
 * is past its destructors, and a cache created there would be lost. */
static HK_THREAD_LOCAL uint32_t thread_first_frees;

/* The rare work of slow calls. */
static HK_SLOW void slow_tick_now(struct hk_thread *thread) {
    hk_recover_vanished();
    hk_budget_set(thread);
    uint64_t now = hk_os_now_ms();
    hk_thread_hooks.clock(now);
    if (now - thread->scanned_ms >= THREAD_SCAN_MS) {
        thread->scanned_ms = now;
        hk_bins_scan(thread);
    }
}

/* Counts a slow call, and carries out a requested trim. Does the rare work now and then, and
 * returns true if it did. */
static bool slow_tick(struct hk_thread *thread) {
    uint32_t trims = hk_load_relaxed(&hk_threads.trims); /* relaxed: a request, orders nothing */
    if (hk_unlikely(trims != thread->trim_seen)) {
        thread->trim_seen = trims;
        hk_bins_empty(thread);
    }
    if (hk_unlikely(hk_cache_get() != &thread->cache) && !hk_watch_is_on())
        hk_watch_leave(thread);

    uint32_t calls = thread->slow_calls + 1;
    hk_store_relaxed(&thread->slow_calls, calls); /* relaxed: a hint for thread/drain */
    if (hk_likely(calls % THREAD_CLOCK_CALLS != 0))
        return false;
    slow_tick_now(thread);
    return true;
}

void hk_slow_tick(struct hk_thread *thread) {
    hk_tcache_enter(thread);
    if (slow_tick(thread))
        hk_thread_hooks.allocated(thread);
    hk_tcache_leave(thread);
}

static struct hk_block slow_take_one(struct hk_heap *heap, size_t class) {
    struct hk_block block = {NULL, false};
    return hk_transfer_take(class, &block.start, 1) > 0 ? block : hk_heap_take_one(heap, class);
}

/* The number of blocks in a refill: half the capacity of the bin, or a quarter with many threads,
 * because a thread that only allocates ends with half of its last batch unused. */
static uint32_t slow_batch(const struct hk_thread *thread, uint32_t capacity) {
    uint32_t halvings = thread->depth_shift == 0 ? 1 : 2;
    return (capacity + (1u << halvings) - 1) >> halvings;
}

static void *slow_refill(struct hk_thread *thread, size_t class) {
    if (slow_tick(thread))
        hk_thread_hooks.allocated(thread);
    hk_budget_note_refill(thread, class,
                          slow_batch(thread, thread->capacity[class]) *
                              (size_t)hk_classes[class].block_bytes);

    bool first = thread->seen[class] != NULL; /* slow call since the last scan */
    thread->seen[class] = NULL;
    thread->frees_in_a_row = 0;

    /* A thread that started just now may be pre-warmed or have adopted a cache. */
    void *block = hk_bin_pop(&thread->cache.bins[class]);
    if (block != NULL)
        return block;

    if (!first || thread->capacity[class] > 0) /* the thread may want only one block */
        hk_bins_grow(thread, class);

    uint32_t capacity = thread->capacity[class];
    if (capacity == 0)
        return slow_take_one(thread->heap, class).start;

    hk_bins_rebase(thread, class);
    uint32_t batch = slow_batch(thread, capacity);
    void **top = thread->cache.bins[class].top;
    uint32_t got = hk_transfer_take(class, top, batch);
    if (got == 0)
        got = hk_heap_take(thread->heap, class, top, batch);
    if (hk_unlikely(got == 0))
        return NULL;

    HK_PROBE2(refill, hk_classes[class].block_bytes, got);
    hk_bin_set_top(&thread->cache.bins[class], top + got - 1);
    return top[got - 1];
}

void *hk_slow_refill(size_t class) {
    struct hk_thread *thread = hk_thread_get();
    if (hk_unlikely(thread == NULL))
        return hk_slow_take_one(class).start;

    hk_tcache_enter(thread);
    void *block = slow_refill(thread, class);
    hk_tcache_leave(thread);
    return block;
}

struct hk_block hk_slow_take_one(size_t class) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    struct hk_block none = {NULL, false};
    return heap != NULL ? slow_take_one(heap, class) : none;
}

/* The cache for a free. A thread that has allocated nothing and freed little gets none yet. */
static struct hk_thread *slow_get_to_free(void) {
    if (hk_cache_get()->kind == HK_CACHE_UNINITIALIZED && thread_first_frees++ < THREAD_FIRST_FREES)
        return NULL;
    return hk_thread_get();
}

/* Whether a block is allocated, as far as can be seen. Reports it otherwise. By default, it is
 * compared with the two newest ones of the bin, as in a push. The slab is checked too if the bin
 * has no array, or above Tiny no room for more than these: it may have been emptied since the block
 * was freed. HK_CHECKS_FAST searches the whole bin and always checks the slab, so it misses
 * only blocks in the bins of other threads. */
static bool slow_check(const struct hk_thread *thread, const char *function, size_t class,
                       const void *block) {
    bool exact = hk_option(HK_OPTION_checks) == HK_CHECKS_FAST;
    bool found = exact ? hk_bins_has(thread, class, block)
                       : hk_bin_has_new(&thread->cache.bins[class], block);
    if (hk_unlikely(found)) {
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
        return false;
    }

    uint32_t most = hk_classes[class].block_bytes > HK_TINY_MAX ? HK_BIN_BELOW : 0;
    bool few = thread->capacity[class] <= most;
    return (exact || few) ? hk_heap_check_fast(function, block) : true;
}

/* Like bins_give, for a single block that was already checked. */
static void slow_give_one(const char *function, size_t class, void *block) {
    struct hk_transfer_put put = {0, false};
    if (hk_threads_are_many()) {
        put = hk_transfer_put(class, &block, hk_heap_local_first(class, &block, 1), block);
        hk_dirty_signal();
    }

    if (hk_unlikely(put.freed_is_there)) {
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
    } else if (put.count == 0) {
        hk_heap_give_one(function, class, block);
        hk_thread_hooks.freed(HK_FREED_SMALL);
    }
}

static bool slow_is_full(const struct hk_thread *thread, size_t class) {
    return thread->cache.bins[class].top == thread->cache.bins[class].ceil;
}

static void slow_flush(struct hk_thread *thread, const char *function, size_t class, void *block) {
    hk_bins_rebase(thread, class);
    if (hk_unlikely(!slow_check(thread, function, class, block)))
        return;
    if (hk_unlikely(hk_cache_get() != &thread->cache)) /* was watched, or asked to trim */
        slow_tick(thread);
    if (hk_bin_push(&thread->cache.bins[class], block)) /* HK_CHECKS_FAST, or pre-warmed just now */
        return;

    slow_tick(thread);
    thread->seen[class] = NULL;
    bool only_frees = ++thread->frees_in_a_row > THREAD_ONLY_FREES;
    if (only_frees && thread->frees_in_a_row % THREAD_ONLY_FREES == 0)
        hk_bins_shrink_batches(thread);

    if (slow_is_full(thread, class) && (!only_frees || hk_bins_may_batch(thread, class)))
        hk_bins_grow(thread, class);

    uint32_t capacity = thread->capacity[class];
    if (capacity == 0) {
        hk_budget_note_flush(thread, class, hk_classes[class].block_bytes);
        slow_give_one(function, class, block);
        return;
    }

    /* A thread that only frees never reuses its cache, so it flushes all of it. */
    uint32_t batch = only_frees ? capacity : (capacity + 1) / 2;
    if (slow_is_full(thread, class) && !hk_bins_flush(thread, function, class, batch, block))
        return;

    bool pushed = hk_bin_push(&thread->cache.bins[class], block);
    hk_assert(pushed);
    (void)pushed;
}

void hk_slow_flush(const char *function, size_t class, void *block) {
    struct hk_thread *thread = slow_get_to_free();
    if (hk_unlikely(thread == NULL)) {
        hk_heap_give_one(function, class, block);
        hk_thread_hooks.freed(HK_FREED_SMALL);
        return;
    }

    hk_tcache_enter(thread);
    slow_flush(thread, function, class, block);
    hk_tcache_leave(thread);
}

/* ---- Large blocks ---------------------------------------------------------------------------- */

/* Takes a cached block that suits. Its start is NULL if there is none. */
static struct hk_block slow_take_cached(struct hk_thread *thread, size_t size, size_t align) {
    hk_tcache_enter(thread);
    slow_tick(thread);
    struct hk_span *span = hk_large_cache_take(&thread->large, size, align);
    if (span == NULL) {
        hk_budget_note_refill(thread, HK_CLASS_NONE, size);
        hk_thread_hooks.allocated(thread);
    }
    hk_tcache_leave(thread);
    return (struct hk_block){span != NULL ? (void *)span->base : NULL, false};
}

struct hk_block hk_slow_take_large(size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    if (thread != NULL)
        block = slow_take_cached(thread, size, align);
    if (block.start == NULL && heap != NULL)
        block = hk_large_alloc(&heap->arena, heap, size, align);
    HK_PROBE2(large_alloc, (uintptr_t)block.start, size);
    return block;
}

/* Caches a freed large block if the thread allocates such blocks and its budget allows it. A thread
 * that has freed many since its last allocation needs none, so the cached ones are dropped. */
static bool slow_cache_large(struct hk_thread *thread, struct hk_span *span) {
    if (thread->large.puts == HK_LARGE_CACHE_MAX) {
        hk_large_cache_drop_all(&thread->large);
        return false;
    }
    if (thread->capacity_bytes + span->bytes > thread->budget ||
        !hk_large_cache_wants(&thread->large, span))
        return false;

    while (hk_budget_held(thread) + span->bytes > thread->budget)
        hk_large_cache_drop(&thread->large);
    hk_large_cache_put(&thread->large, span);
    return true;
}

void hk_slow_free_large(struct hk_span *span) {
    struct hk_thread *thread = slow_get_to_free();
    bool cached = false;
    if (thread != NULL) {
        hk_tcache_enter(thread);
        slow_tick(thread);
        cached = slow_cache_large(thread, span);
        if (!cached)
            hk_budget_note_flush(thread, HK_CLASS_NONE, span->bytes);
        hk_tcache_leave(thread);
    }

    if (cached)
        return;
    hk_large_free(span);
    hk_thread_hooks.freed(HK_FREED_LARGE);
}
