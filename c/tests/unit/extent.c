/* unit/extent.c - mapped address space without an owner: cached, refused, reused, repaired.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The effects on large blocks (cache limit, merging, decay) are in unit/large.c.
 */
// link: fake_os
#include "core/extent.h"

#include "base/atomic.h"
#include "core/meta.h"
#include "core/options.h"
#include "core/size_class.h"
#include "core/usage.h"
#include "fresh.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define FAR ((uintptr_t)1 << 45) /* nothing else is mapped near it */

static struct hk_range take(size_t bytes) {
    struct hk_range range = hk_extent_take(bytes, HK_GRANULE_BYTES);
    REQUIRE(range.base != 0 && range.bytes == bytes);
    return range;
}

/* Like a large block that was written to. */
static void give(struct hk_range range) {
    void *node = hk_meta_alloc(HK_EXTENT_NODE_BYTES);
    REQUIRE(node != NULL);
    memset((void *)range.base, 1, range.bytes);
    range.dirty = true;
    hk_extent_give(range, node, HK_EXTENT_NODE_BYTES);
}

static size_t purge(uint64_t before_ms) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    return hk_extent_purge(before_ms, &budget);
}

static uint64_t used(void) { return hk_usage_bytes() - hk_meta_bytes(); }
static size_t mapped(void) { return fake_os_mapped() - hk_meta_bytes(); }

/* Several adjacent ranges that the OS refuses to unmap, each `bytes` long, starting at FAR. */
static void refuse(size_t count, size_t bytes) {
    struct hk_range ranges[16];
    REQUIRE(count <= TEST_COUNT(ranges));
    fake_os.chunks_at = FAR;
    for (size_t i = 0; i < count; i++)
        ranges[i] = take(bytes);
    for (size_t i = 0; i < count; i++)
        give(ranges[i]);
    fake_os.unmap_fails = true;
    purge(UINT64_MAX);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
    CHECK_EQ(hk_extent_refused_bytes(), count * bytes);
    CHECK(hk_extent_valid());
}

TEST_FRESH(a_range_that_the_os_does_not_unmap_loses_its_pages_and_is_reused_as_zero) {
    refuse(1, 8 * MIB);
    CHECK_EQ(used(), 0);
    CHECK_EQ(hk_os_counts.bytes_purged, 8 * MIB);
    uint64_t maps = fake_os.map_calls;
    struct hk_range range = take(6 * MIB);
    CHECK_EQ(range.base, FAR);
    CHECK(!range.dirty);
    CHECK_EQ(test_zeros((void *)range.base, range.bytes), range.bytes);
    CHECK_EQ(used(), 6 * MIB);
    CHECK_EQ(hk_extent_refused_bytes(), 2 * MIB);
    CHECK_EQ(fake_os.map_calls, maps);
}

TEST_FRESH(a_later_purge_unmaps_what_was_refused) {
    refuse(1, 8 * MIB);
    CHECK_EQ(purge(0), 0);
    CHECK_EQ(mapped(), 8 * MIB);
    fake_os.unmap_fails = false;
    purge(0);
    CHECK_EQ(mapped(), 0);
    CHECK_EQ(hk_extent_refused_bytes(), 0);
    CHECK_EQ(used(), 0);
}

TEST_FRESH(refused_neighbours_become_one_so_that_a_whole_mapping_can_go) {
    CHECK_EQ(hk_option_set("huge_page_mb", "0"), 0); /* ranges lie side by side */
    CHECK_EQ(hk_option_set("large_cache_mb", "0"), 0);
    fake_os.chunks_at = FAR;
    struct hk_range a = take(5 * MIB), b = take(6 * MIB), c = take(7 * MIB);
    fake_os.unmap_fails = true;
    give(a);
    give(c);
    give(b);
    CHECK_EQ(hk_extent_refused_bytes(), 18 * MIB);
    fake_os.unmap_fails = false;
    uint64_t calls = fake_os_calls(FAKE_OS_UNMAP);
    purge(0);
    CHECK_EQ(fake_os_calls(FAKE_OS_UNMAP), calls + 1);
    CHECK_EQ(mapped(), 0);
}

TEST_FRESH(a_purge_gives_up_after_some_refusals_and_the_next_one_tries_others) {
    CHECK_EQ(hk_option_set("large_cache_mb", "0"), 0);
    enum { RANGES = 12 };
    struct hk_range ranges[RANGES];
    for (int i = 0; i < RANGES; i++)
        ranges[i] = take(5 * MIB);
    fake_os.unmap_fails = true;
    for (int i = 0; i < RANGES; i++)
        give(ranges[i]);
    uint64_t calls = fake_os_calls(FAKE_OS_UNMAP);
    purge(0);
    CHECK(fake_os_calls(FAKE_OS_UNMAP) - calls <= 8);
    CHECK_EQ(hk_extent_refused_bytes(), RANGES * 5 * MIB);
    fake_os.unmap_fails = false;
    purge(0);
    CHECK_EQ(mapped(), 0);
}

TEST_FRESH(memory_that_is_locked_and_cannot_be_unmapped_stays_counted_and_is_not_called_zero) {
    fake_os.purge_fails = true;
    refuse(1, 8 * MIB);
    CHECK_EQ(used(), 8 * MIB);
    struct hk_range range = take(8 * MIB);
    CHECK(range.dirty);
    CHECK_EQ(used(), 8 * MIB);
}

TEST_FRESH(the_cache_keeps_whole_granules_after_its_limit_has_fallen_many_times) {
    CHECK_EQ(hk_option_set("large_cache_mb", "1"), 0);
    for (int i = 0; i < 12; i++) {
        AT("round", i);
        give(take(2 * MIB + HK_GRANULE_BYTES)); /* missed in the next round, so the limit rises */
        CHECK_EQ(hk_extent_cached_bytes() % HK_GRANULE_BYTES, 0);
        fake_os.now_ms += 1000000; /* and falls */
    }
    purge(UINT64_MAX);
    CHECK_EQ(used(), 0);
    CHECK_EQ(mapped(), 0);
}

TEST_FRESH(an_aligned_range_leaves_both_remainders) {
    CHECK_EQ(hk_option_set("huge_page_mb", "0"), 0); /* ranges lie side by side */
    fake_os.chunks_at = FAR + 64 * KIB;
    give(take(8 * MIB));
    struct hk_range range = hk_extent_take(MIB, MIB);
    CHECK_EQ(range.base, FAR + MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 7 * MIB);
    CHECK(hk_extent_valid());
    CHECK_EQ(take(MIB - 64 * KIB).base, FAR + 64 * KIB);
    CHECK_EQ(take(6 * MIB + 64 * KIB).base, FAR + 2 * MIB);
    CHECK_EQ(hk_extent_cached_bytes(), 0);
}

TEST_FRESH(a_purge_stops_when_its_budget_is_used_up_and_goes_on_later) {
    enum { RANGES = 6 };
    struct hk_range ranges[RANGES];
    for (int i = 0; i < RANGES; i++)
        ranges[i] = take(5 * MIB);
    for (int i = 0; i < RANGES; i++)
        give(ranges[i]);
    struct hk_purge_budget budget = {2, SIZE_MAX};
    CHECK_EQ(hk_extent_purge(UINT64_MAX, &budget), 10 * MIB);
    CHECK_EQ(budget.calls, 0);
    budget = (struct hk_purge_budget){100, 6 * MIB};
    CHECK_EQ(hk_extent_purge(UINT64_MAX, &budget), 10 * MIB);
    CHECK_EQ(budget.bytes, 0);
    CHECK_EQ(hk_extent_cached_bytes(), 10 * MIB);
    CHECK_EQ(purge(UINT64_MAX), 10 * MIB);
}

TEST_FRESH(beyond_the_hard_limit_a_range_without_pages_is_not_handed_out) {
    refuse(1, 8 * MIB);
    char limit[32];
    snprintf(limit, sizeof limit, "%zu", (size_t)hk_usage_bytes() + 4 * MIB);
    CHECK_EQ(hk_option_set("limit_hard", limit), 0);
    CHECK_EQ(hk_extent_take(5 * MIB, HK_GRANULE_BYTES).base, 0);
    CHECK_EQ(hk_extent_refused_bytes(), 8 * MIB);
    CHECK_EQ(take(4 * MIB).base, FAR);
}

TEST_FRESH(where_nothing_can_be_mapped_metadata_comes_from_kept_ranges) {
    refuse(1, 8 * MIB);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (int i = 0; i < 4; i++) {
        unsigned char *block = hk_meta_alloc(MIB);
        REQUIRE(block != NULL);
        memset(block, 1, MIB);
    }
    CHECK_EQ(hk_extent_refused_bytes(), 4 * MIB);
    CHECK_EQ(used(), 0);
    CHECK(hk_extent_valid());
}

TEST_FRESH(a_repair_counts_what_is_in_the_lists) {
    refuse(2, 8 * MIB);
    fake_os.unmap_fails = false;
    give(take(MIB));
    hk_add_relaxed(&hk_extents[HK_EXTENTS_CACHED].bytes, 64 * KIB);
    hk_sub_relaxed(&hk_extents[HK_EXTENTS_REFUSED].bytes, 64 * KIB);
    CHECK(!hk_extent_valid());
    hk_extent_repair();
    CHECK(hk_extent_valid());
    CHECK_EQ(hk_extent_cached_bytes(), MIB);
    CHECK_EQ(hk_extent_refused_bytes(), 15 * MIB);
}

/* ---- Against a model ------------------------------------------------------------------------- */

enum { RANGES = 24 };

static struct hk_range model_ranges[RANGES];
static void *model_nodes[RANGES];

static size_t model_place(const struct hk_range *range) { return (size_t)(range - model_ranges); }

static void model_take(struct hk_range *range, uint64_t *seed) {
    void *node = hk_meta_alloc(HK_EXTENT_NODE_BYTES); /* of the block's span */
    if (node == NULL)
        return;
    size_t bytes = (test_random(seed) % 64 + 1) * HK_GRANULE_BYTES;
    size_t align = HK_GRANULE_BYTES << (test_random(seed) % 4 == 0 ? test_random(seed) % 6 : 0);
    *range = hk_extent_take(bytes, align);
    if (range->base == 0) {
        hk_meta_free(node, HK_EXTENT_NODE_BYTES);
        return;
    }
    model_nodes[model_place(range)] = node;
    CHECK_EQ(range->base % align, 0);
    CHECK(fake_os_is_mapped((void *)range->base, bytes));
    if (!range->dirty)
        for (size_t at = 0; at < bytes; at += HK_GRANULE_BYTES)
            CHECK_EQ(test_zeros((char *)range->base + at, 64), 64);
    for (size_t at = 0; at < bytes; at += HK_GRANULE_BYTES)
        test_fill((char *)range->base + at, 64, range->base);
}

static void model_give(struct hk_range *range, uint64_t *seed) {
    for (size_t at = 0; at < range->bytes; at += HK_GRANULE_BYTES)
        CHECK_EQ(test_intact((char *)range->base + at, 64, range->base), 64);
    void *node = model_nodes[model_place(range)];
    range->dirty = true;
    if (test_random(seed) % 4 == 0)
        hk_extent_unmap(*range, node, HK_EXTENT_NODE_BYTES);
    else
        hk_extent_give(*range, node, HK_EXTENT_NODE_BYTES);
    range->base = 0;
}

TEST_FRESH(whatever_call_fails_ranges_stay_apart_and_whole_and_in_the_end_none_is_lost) {
    uint64_t seed = test_seed(5);
    for (int step = 0; step < 20000; step++) {
        struct hk_range *range = &model_ranges[test_random(&seed) % RANGES];
        AT("step", step);
        if (range->base == 0)
            model_take(range, &seed);
        else
            model_give(range, &seed);
        fake_os.unmap_fails = test_random(&seed) % 3 == 0;
        fake_os.purge_fails = test_random(&seed) % 8 == 0;
        fake_os_fail_maps(1, test_random(&seed) % 3 == 0);
        if (step % 50 == 0) {
            purge(test_random(&seed) % 2 ? 0 : UINT64_MAX);
            CHECK(hk_extent_valid());
        }
    }
    fake_os.unmap_fails = false;
    fake_os_fail_maps(0, 0);
    for (int i = 0; i < RANGES; i++)
        if (model_ranges[i].base != 0)
            model_give(&model_ranges[i], &seed);
    purge(UINT64_MAX);
    CHECK_EQ(hk_extent_cached_bytes() + hk_extent_refused_bytes(), 0);
    CHECK_EQ(mapped(), 0);
    CHECK_EQ(used(), 0);
}
