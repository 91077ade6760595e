/* thread/bins.c - the bins of a thread cache. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "bins.h"

#include "../base/probe.h"
#include "../base/string.h"
#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/meta.h"
#include "../os/check.h"
#include "../transfer/transfer.h"
#include "budget.h"
#include "hooks.h"
#include "threads.h"
#include "tunables.h"

/* ---- Arrays ---------------------------------------------------------------------------------- */

void hk_bins_reset(struct hk_thread *thread, size_t class) {
    thread->cache.bins[class].top = HK_BIN_WITHOUT_ARRAY;
    thread->cache.bins[class].ceil = HK_BIN_WITHOUT_ARRAY;
    thread->floor[class] = HK_BIN_WITHOUT_ARRAY;
    thread->seen[class] = HK_BIN_WITHOUT_ARRAY;
    thread->capacity[class] = 0;
}

/* The bytes of an array with its NULL slots, rounded up as the metadata allocator does. */
static size_t bins_array_bytes(uint32_t capacity) {
    return hk_meta_usable(((size_t)capacity + HK_BIN_BELOW) * sizeof(void *));
}

/* While a bin's blocks move, `moving` names its class. A forked child that finds it set drops the
 * bin of a vanished thread, because its blocks may be in it twice. */
static void bins_begin_move(struct hk_thread *thread, size_t class) {
    hk_store_relaxed(&thread->moving, (uint8_t) class); /* relaxed: the fence orders it */
    hk_fence_stores();
}

static void bins_end_move(struct hk_thread *thread) {
    hk_fence_stores();
    hk_store_relaxed(&thread->moving, HK_CLASS_NONE); /* relaxed: the fence orders it */
}

HK_SLOW void hk_bins_rebase_drained(struct hk_thread *thread, size_t class) {
    void **base = hk_bins_base(thread, class);
    uint32_t count = hk_bins_count(thread, class);
    hk_lock(&thread->lock, HK_RANK_THREAD);
    bins_begin_move(thread, class);
    memmove(base, thread->floor[class], count * sizeof *base);
    thread->floor[class] = base;
    hk_bin_set_top(&thread->cache.bins[class], base + count);
    bins_end_move(thread);
    hk_unlock(&thread->lock, HK_RANK_THREAD);
}

/* The size of a block in the batches of a thread that only frees. */
static size_t bins_batch_block(size_t class) {
    return hk_max(hk_classes[class].block_bytes, THREAD_BATCH_BLOCK);
}

/* Replaces a bin's array with one of another capacity (0 for none) and moves the blocks to it.
 * Returns false and changes nothing if out of memory. */
static bool bins_set_capacity(struct hk_thread *thread, size_t class, uint32_t capacity) {
    hk_bins_rebase(thread, class);
    void **old_floor = thread->floor[class];
    uint32_t old_capacity = thread->capacity[class];
    size_t blocks = (size_t)(thread->cache.bins[class].top - old_floor);
    void **floor = HK_BIN_WITHOUT_ARRAY;
    hk_assert(blocks <= capacity);

    bool same_array = old_capacity > 0 && capacity > 0 &&
                      bins_array_bytes(capacity) == bins_array_bytes(old_capacity);
    if (same_array) {
        floor = old_floor;
    } else if (capacity > 0) {
        void **array = hk_meta_alloc(bins_array_bytes(capacity));
        if (array == NULL)
            return false;
        for (int i = 0; i < HK_BIN_BELOW; i++)
            array[i] = NULL;
        floor = array + HK_BIN_BELOW;
        memcpy(floor, old_floor, blocks * sizeof *floor);
    }

    hk_lock(&thread->lock, HK_RANK_THREAD);
    bins_begin_move(thread, class);
    thread->floor[class] = floor;
    thread->capacity[class] = (uint16_t)capacity;
    hk_bin_set_top(&thread->cache.bins[class], floor + blocks);
    thread->cache.bins[class].ceil = floor + capacity;
    bins_end_move(thread);
    hk_unlock(&thread->lock, HK_RANK_THREAD);

    thread->capacity_bytes += ((size_t)capacity - old_capacity) * hk_classes[class].block_bytes;
    thread->batch_bytes += ((size_t)capacity - old_capacity) * bins_batch_block(class);
    if (old_capacity > 0 && !same_array)
        hk_meta_free(old_floor - HK_BIN_BELOW, bins_array_bytes(old_capacity));
    return true;
}

bool hk_bins_has(const struct hk_thread *thread, size_t class, const void *block) {
    void *const *top = thread->cache.bins[class].top;
    for (void *const *at = thread->floor[class]; at < top; at++) {
        if (*at == block)
            return true;
    }
    return false;
}

uint32_t hk_bins_count(const struct hk_thread *thread, size_t class) {
    return (uint32_t)(hk_stat_get(&thread->cache.bins[class].top) - thread->floor[class]);
}

size_t hk_bins_bytes(const struct hk_thread *thread) {
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        bytes += hk_bins_count(thread, class) * (size_t)hk_classes[class].block_bytes;
    return bytes;
}

/* Takes the `count` oldest blocks out of a bin. They end up above its top, in no particular order.
 * We take no lock, because a locked instruction would wait for all pending stores of the program at
 * every flush. */
static void **bins_take_oldest(struct hk_thread *thread, size_t class, uint32_t count) {
    void **floor = thread->floor[class];
    size_t left = (size_t)(thread->cache.bins[class].top - floor) - count;

    bins_begin_move(thread, class);
    for (size_t i = 0; i < left; i++) { /* swaps with the block `count` slots up */
        void *oldest = floor[i];
        floor[i] = floor[i + count];
        floor[i + count] = oldest;
    }
    hk_bin_set_top(&thread->cache.bins[class], floor + left);
    bins_end_move(thread);
    return floor + left;
}

/* ---- Flushing -------------------------------------------------------------------------------- */

/* Like hk_bins_flush, for blocks that are no longer in a bin. */
static bool bins_give(const char *function, size_t class, void **blocks, uint32_t count,
                      const void *freed) {
    struct hk_mistakes mistakes;
    mistakes.count = 0;
    struct hk_transfer_put put = {0, false};

    if (hk_threads_are_many()) {
        count = hk_heap_check_batch(class, blocks, count, &mistakes);
        put = hk_transfer_put(class, blocks, hk_heap_local_first(class, blocks, count), freed);
        hk_dirty_signal();
    }

    if (put.count < count) {
        hk_heap_give(class, blocks + put.count, count - put.count, &mistakes);
        hk_thread_hooks.freed(HK_FREED_SMALL);
    }

    if (hk_unlikely(mistakes.count > 0))
        hk_mistakes_report(function, &mistakes);
    if (hk_unlikely(put.freed_is_there))
        hk_bad_pointer(function, freed, HK_CAUSE_FREE);
    return !put.freed_is_there;
}

bool hk_bins_flush(struct hk_thread *thread, const char *function, size_t class, uint32_t count,
                   const void *freed) {
    HK_PROBE2(flush, hk_classes[class].block_bytes, count);
    void **blocks = bins_take_oldest(thread, class, count);
    hk_budget_note_flush(thread, class, count * (size_t)hk_classes[class].block_bytes);
    return bins_give(function, class, blocks, count, freed);
}

/* Returns all blocks of a bin to their owner heaps. */
static void bins_return_all(struct hk_thread *thread, size_t class) {
    struct hk_mistakes mistakes;
    mistakes.count = 0;
    uint32_t count = hk_bins_count(thread, class);
    void **blocks = bins_take_oldest(thread, class, count);
    hk_heap_give(class, blocks, count, &mistakes);
    hk_mistakes_report("free", &mistakes);
}

/* Halves a bin. Returns false if there is no memory for the smaller array. */
static bool bins_halve(struct hk_thread *thread, size_t class) {
    uint32_t half = thread->capacity[class] / 2u;
    uint32_t blocks = hk_bins_count(thread, class);
    if (blocks > half)
        hk_bins_flush(thread, "free", class, blocks - half, NULL);
    return bins_set_capacity(thread, class, half);
}

void hk_bins_scan(struct hk_thread *thread) {
    hk_large_cache_scan(&thread->large);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        if (thread->capacity[class] > 0 && thread->cache.bins[class].top == thread->seen[class])
            bins_halve(thread, class);
        thread->seen[class] = thread->cache.bins[class].top;
    }
}

/* Whether the bin of a class has larger blocks and holds more than batches of them need. */
static bool bins_is_large_batch(const struct hk_thread *thread, size_t class) {
    size_t block_bytes = hk_classes[class].block_bytes;
    return block_bytes > THREAD_ONLY_FREES_BYTES &&
           thread->capacity[class] * block_bytes > THREAD_BATCH_LARGE_BYTES;
}

void hk_bins_shrink_batches(struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        bool shrinks =
            thread->batch_bytes > THREAD_BATCH_BYTES || bins_is_large_batch(thread, class);
        if (shrinks && thread->capacity[class] > 0)
            bins_halve(thread, class);
    }
}

bool hk_bins_may_batch(const struct hk_thread *thread, size_t class) {
    size_t capacity = thread->capacity[class];
    size_t more = capacity == 0 ? hk_classes[class].initial : capacity + HK_BIN_BELOW;
    return capacity * hk_classes[class].block_bytes < THREAD_ONLY_FREES_BYTES &&
           thread->batch_bytes + more * bins_batch_block(class) <= THREAD_BATCH_BYTES;
}

static void bins_drop_arrays(struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        if (thread->capacity[class] > 0)
            bins_set_capacity(thread, class, 0);
    }
}

void hk_bins_empty(struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        if (hk_bins_count(thread, class) > 0)
            bins_return_all(thread, class);
    }
    bins_drop_arrays(thread);
    hk_large_cache_drop_all(&thread->large);
}

void hk_bins_empty_for_others(struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        uint32_t blocks = hk_bins_count(thread, class);
        if (blocks > 0)
            hk_bins_flush(thread, "free", class, blocks, NULL);
    }
    bins_drop_arrays(thread);
    hk_large_cache_drop_all(&thread->large);
}

void hk_bins_destroy(struct hk_thread *thread) {
    hk_bins_empty(thread);
    hk_meta_free(thread, sizeof *thread);
}

/* ---- Growing --------------------------------------------------------------------------------- */

/* The class of the bin that may hold the most bytes. */
static size_t bins_largest(const struct hk_thread *thread) {
    size_t largest = 1;
    size_t most = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = thread->capacity[class] * (size_t)hk_classes[class].block_bytes;
        if (bytes > most) {
            most = bytes;
            largest = class;
        }
    }
    return largest;
}

/* Makes room for `bytes` in the budget. Drops large blocks, and halves the largest bins while they
 * are much larger than `bytes`. */
static void bins_make_room(struct hk_thread *thread, size_t bytes) {
    while (hk_budget_held(thread) + bytes > thread->budget) {
        if (hk_large_cache_drop(&thread->large))
            continue;
        size_t class = bins_largest(thread);
        if (thread->capacity[class] * (size_t)hk_classes[class].block_bytes <
                bytes * THREAD_ROOM_RATIO ||
            !bins_halve(thread, class))
            return;
    }
}

/* Raises a bin's capacity, as far as the thread may hold `budget` bytes in total. */
static void bins_raise_capacity(struct hk_thread *thread, size_t class, uint32_t capacity,
                                size_t budget) {
    size_t old = thread->capacity[class];
    size_t block_bytes = hk_classes[class].block_bytes;
    size_t held = hk_budget_held(thread);
    if (held + block_bytes > budget)
        return;
    size_t most = old + (budget - held) / block_bytes;
    bins_set_capacity(thread, class, (uint32_t)hk_min(capacity, most));
}

void hk_bins_grow_now(struct hk_thread *thread, size_t class) {
    const struct hk_class *row = &hk_classes[class];
    uint32_t depth = hk_budget_depth(thread, class);
    uint32_t old = thread->capacity[class];
    if (old >= depth)
        return;

    uint32_t capacity =
        old == 0 ? row->initial : 2 * old + HK_BIN_BELOW; /* arrays are powers of two */
    capacity = capacity < depth ? capacity : depth;

    if (hk_budget_held(thread) + row->block_bytes > thread->budget) {
        if (hk_likely(thread->slow_calls % THREAD_ROOM_CALLS != 0)) {
            thread->no_room = row->block_bytes;
            return;
        }
        bins_make_room(thread, (capacity - old) * (size_t)row->block_bytes);
    }

    bins_raise_capacity(thread, class, capacity, thread->budget);
}

uint32_t hk_bins_fill(struct hk_thread *thread, size_t class, uint32_t count) {
    hk_bins_rebase(thread, class);
    uint32_t depth = hk_budget_depth(thread, class);
    uint32_t have = hk_bins_count(thread, class);
    uint32_t want = have + count < depth ? have + count : depth;

    if (want > thread->capacity[class])
        bins_raise_capacity(thread, class, want, hk_budget_limit());
    want = want < thread->capacity[class] ? want : thread->capacity[class];

    uint32_t added = 0;
    while (have + added < want) {
        void **top = thread->cache.bins[class].top;
        uint32_t got = hk_heap_take(thread->heap, class, top, want - have - added);
        if (got == 0)
            break;
        hk_bin_set_top(&thread->cache.bins[class], top + got);
        added += got;
    }

    return added;
}
