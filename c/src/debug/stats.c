/* debug/stats.c - gathering statistics. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "stats.h"

#include "../base/string.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/meta.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../guard/slots.h"
#include "../heap/heaps.h"
#include "../own/own.h"
#include "../thread/bins.h"
#include "../thread/recover.h"
#include "../os/os.h"
#include "../transfer/transfer.h"

static void stats_add_heap_class(struct hak_class_stats *stats, struct hk_heap_class *hc) {
    hk_lock(&hc->lock, HK_RANK_CLASS);
    stats->slabs += hc->slabs;
    stats->blocks_live += hc->blocks_allocated;
    stats->refills += hc->refills;
    stats->flushes += hc->flushes;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
}

static void stats_add_heap(void *arg, struct hk_heap *heap) {
    struct hk_stats_all *all = arg;
    all->total.heaps++;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        stats_add_heap_class(&all->classes[class], &heap->classes[class]);
}

static void stats_add_own(void *arg, struct hak_heap *heap) {
    struct hk_stats_all *all = arg;
    struct hak_heap_stats stats;
    struct hk_own_count counts[HK_OWN_CLASSES];
    if (!hk_own_count(heap, &stats, counts))
        return;

    all->total.heaps_private++;
    all->total.bytes_private += stats.bytes_live;
    for (size_t i = 1; i < HK_OWN_CLASSES; i++) {
        struct hak_class_stats *class = &all->classes[hk_own_classes[i].class];
        class->slabs += counts[i].slabs;
        class->blocks_live += counts[i].live + counts[i].cached;
        class->blocks_cached += counts[i].cached;
    }
}

static void stats_add_transfer(struct hk_stats_all *all) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hak_class_stats *stats = &all->classes[class];
        struct hk_transfer_counts counts;
        hk_transfer_count(class, &counts);
        stats->blocks_cached += counts.blocks;
        stats->refills += counts.takes;
        stats->flushes += counts.puts;
        stats->transfer_takes += counts.takes;
        stats->transfer_puts += counts.puts;
    }
}

static void stats_add_thread(void *arg, struct hk_thread *thread) {
    struct hk_stats_all *all = arg;
    all->total.threads += !thread->is_parked;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        all->classes[class].blocks_cached += hk_bins_count(thread, class);
    all->total.bytes_large_cached += hk_stat_get(&thread->large.bytes);
}

/* Before this, blocks_live counts every allocated block. Cached blocks are not live, so it
 * subtracts them. */
static void stats_finish_class(struct hak_stats *total, struct hak_class_stats *stats,
                               size_t class) {
    const struct hk_class *row = &hk_classes[class];
    uint64_t out = stats->blocks_live;
    uint64_t blocks = stats->slabs * row->blocks;
    stats->block_bytes = row->block_bytes;
    stats->slab_bytes = row->granules * HK_GRANULE_BYTES;

    /* Other threads continue to run, so the counts may not match exactly. */
    stats->blocks_cached = stats->blocks_cached < out ? stats->blocks_cached : out;
    stats->blocks_live = out - stats->blocks_cached;
    stats->blocks_free = blocks > out ? blocks - out : 0;

    total->bytes_live += stats->blocks_live * row->block_bytes;
    total->bytes_cached += stats->blocks_cached * row->block_bytes;
    total->bytes_slabs += stats->slabs * stats->slab_bytes;
    total->refills += stats->refills;
    total->flushes += stats->flushes;
    total->transfer_puts += stats->transfer_puts;
    total->transfer_takes += stats->transfer_takes;
}

static void stats_add_locks(struct hak_stats *total) {
    uint64_t all = 0;
    uint64_t busy[HK_RANK_COUNT];
    for (int rank = 0; rank < HK_RANK_COUNT; rank++) {
        busy[rank] = hk_stat_get(&hk_lock_counts.busy[rank]);
        all += busy[rank];
    }

    total->lock_waits = hk_stat_get(&hk_lock_counts.sleeps);
    total->lock_busy_class = busy[HK_RANK_CLASS];
    total->lock_busy_arena = busy[HK_RANK_ARENA];
    total->lock_busy_meta = busy[HK_RANK_META];
    total->lock_busy_other = all - busy[HK_RANK_CLASS] - busy[HK_RANK_ARENA] - busy[HK_RANK_META];
}

static void stats_add_os(struct hak_stats *total) {
    total->bytes_mapped = hk_stat_get(&hk_os_counts.bytes_mapped);
    total->bytes_mapped_peak = hk_stat_get(&hk_os_counts.bytes_mapped_peak);
    total->bytes_purged = hk_stat_get(&hk_os_counts.bytes_purged);
    total->map_calls = hk_stat_get(&hk_os_counts.map_calls);
    total->unmap_calls = hk_stat_get(&hk_os_counts.unmap_calls);
    total->remap_calls = hk_stat_get(&hk_os_counts.remap_calls);
    total->purge_calls = hk_stat_get(&hk_os_counts.purge_calls);
    total->errors = hk_stat_get(&hk_errors);
}

void hk_stats_collect(struct hk_stats_all *all) {
    memset(all, 0, sizeof *all);
    struct hak_stats *total = &all->total;
    hk_thread_each(stats_add_thread, all);
    stats_add_transfer(all);
    hk_heaps_each(stats_add_heap, all);
    hk_own_each(stats_add_own, all);

    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        stats_finish_class(total, &all->classes[class], class);

    uint64_t large = hk_large_live_bytes(); /* including blocks cached by threads */
    total->bytes_large = large > total->bytes_large_cached ? large - total->bytes_large_cached : 0;
    total->bytes_guarded = hk_slots_live_bytes();
    total->bytes_live += total->bytes_large + total->bytes_guarded;
    hk_large_mapped(&all->blocks_mapped, &all->bytes_mapped);
    total->bytes_large_cached += hk_extent_cached_bytes();

    total->bytes_dirty = hk_arena_dirty_bytes();
    total->bytes_metadata = hk_meta_bytes();
    total->bytes_used = hk_usage_bytes();
    total->bytes_huge = hk_chunk_huge_bytes();
    total->limit_soft = hk_option(HK_OPTION_limit_soft);
    total->limit_hard = hk_option(HK_OPTION_limit_hard);

    stats_add_os(total);
    stats_add_locks(total);
}
