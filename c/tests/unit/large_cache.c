/* unit/large_cache.c - the large-block cache of a thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "thread/large_cache.h"

#include "core/options.h"
#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "thread/bins.h"
#include "thread/park.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"

#define MIB ((size_t)1 << 20)

static struct hk_thread *record(void) {
    struct hk_thread *thread = hk_thread_get();
    REQUIRE(thread != NULL);
    return thread;
}

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

/* Moves enough bytes to raise the thread's budget to the maximum. */
static void earn(void) {
    for (int i = 0; i < 1000; i++)
        hak_free(hak_malloc(MIB));
    hk_bins_empty(record());
}

static void *keep(size_t size) {
    void *block = hak_malloc(size);
    hak_free(block);
    return block;
}

TEST_FRESH(a_freed_block_is_the_next_of_its_size_in_granules) {
    earn();
    char *block = keep(MIB);
    CHECK_EQ(record()->large.bytes, MIB);
    CHECK(hak_malloc(MIB - 50000) == block);
    CHECK_EQ(record()->large.bytes, 0);
    CHECK_EQ(hak_usable_size(block), (MIB - 50000 + 4095) / 4096 * 4096);
    CHECK_EQ(hk_validate(), 0);
    hak_free(block);
    CHECK(hak_malloc(MIB + 1) != block);
    CHECK(hak_malloc(MIB - 65536) != block);
}

TEST_FRESH(a_kept_block_has_the_alignment_that_is_asked_for) {
    earn();
    char *block = keep(MIB);
    size_t align = (size_t)1 << 17;
    while ((uintptr_t)block % align == 0)
        align *= 2;
    void *aligned = hak_alloc(MIB, align);
    CHECK_EQ((uintptr_t)aligned % align, 0);
    CHECK(aligned != block);
}

TEST_FRESH(a_kept_block_is_zeroed_for_calloc) {
    earn();
    unsigned char *block = hak_malloc(MIB);
    test_fill(block, MIB, 1);
    hak_free(block);
    CHECK(hak_calloc(1, MIB) == block);
    CHECK_EQ(test_zeros(block, MIB), MIB);
}

TEST_FRESH(a_thread_that_has_moved_little_keeps_nothing) {
    keep(MIB);
    CHECK_EQ(record()->large.bytes, 0);
}

TEST_FRESH(a_size_that_was_not_asked_for_lately_is_not_kept) {
    earn();
    void *old = hak_malloc(MIB);
    for (size_t i = 1; i <= HK_LARGE_CACHE_WANTED; i++)
        CHECK(hak_malloc((1 + i) * MIB / 2 + MIB) != NULL);
    hak_free(old);
    CHECK_EQ(record()->large.bytes, 0);
}

TEST_FRESH(what_is_kept_stays_within_the_limit_of_a_thread) {
    CHECK_EQ(hak_option_set("thread_cache_kb", "3072"), 0);
    earn();
    void *blocks[HK_LARGE_CACHE_MAX];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(MIB);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    CHECK(record()->large.bytes > 0);
    CHECK_LE(record()->large.bytes + record()->capacity_bytes, 3 * MIB);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(where_all_places_are_taken_another_block_gives_way) {
    earn();
    struct hk_large_cache *kept = &record()->large;
    void *blocks[HK_LARGE_CACHE_MAX + 1];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(512 * 1024);
    for (size_t i = 0; i < HK_LARGE_CACHE_MAX; i++)
        hak_free(blocks[i]);
    CHECK_EQ(kept->bytes, HK_LARGE_CACHE_MAX * 512 * 1024);
    CHECK(hak_malloc(MIB) != NULL); /* it allocates blocks, so it may cache more frees */
    hak_free(blocks[HK_LARGE_CACHE_MAX]);
    CHECK_EQ(kept->bytes, HK_LARGE_CACHE_MAX * 512 * 1024);
    size_t gone = 0;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        gone += hk_pagemap_find(blocks[i]) == NULL;
    CHECK_EQ(gone, 1);
    CHECK(hk_pagemap_find(blocks[HK_LARGE_CACHE_MAX]) != NULL);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_thread_that_frees_many_blocks_in_a_row_keeps_none) {
    earn();
    void *blocks[HK_LARGE_CACHE_MAX + 1];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        blocks[i] = hak_malloc(512 * 1024);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    CHECK_EQ(record()->large.bytes, 0);
    CHECK_EQ(stats().bytes_large, 0);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(what_two_looks_find_kept_goes) {
    earn();
    void *block = keep(MIB);
    struct hk_large_cache *kept = &record()->large;
    hk_large_cache_scan(kept);
    CHECK_EQ(kept->bytes, MIB);
    CHECK(hak_malloc(MIB) == block);
    hak_free(block);
    hk_large_cache_scan(kept);
    CHECK_EQ(kept->bytes, MIB);
    hk_large_cache_scan(kept);
    CHECK_EQ(kept->bytes, 0);
    CHECK(hk_pagemap_find(block) == NULL);
}

TEST_FRESH(a_trim_frees_what_is_kept) {
    earn();
    void *block = keep(MIB);
    hak_trim();
    CHECK_EQ(record()->large.bytes, 0);
    CHECK(hk_pagemap_find(block) == NULL);
    CHECK_EQ(hk_validate(), 0);
}

static void *keep_one(void *block) {
    earn();
    *(void **)block = keep(MIB);
    return NULL;
}

TEST_FRESH(the_end_of_a_thread_frees_what_it_kept) {
    void *block = NULL;
    pthread_join(test_thread(keep_one, &block), NULL);
    CHECK(block != NULL && hk_pagemap_find(block) == NULL);
    CHECK_EQ(stats().bytes_large, 0);
}

TEST_FRESH(kept_bytes_are_not_live_but_kept_for_reuse) {
    earn();
    uint64_t before = stats().bytes_large_cached;
    void *block = hak_malloc(MIB);
    CHECK_EQ(stats().bytes_large, MIB);
    hak_free(block);
    CHECK_EQ(stats().bytes_large, 0);
    CHECK_EQ(stats().bytes_large_cached, before + MIB);
}

TEST_FRESH(a_second_free_or_use_of_a_kept_block_is_reported_and_changes_nothing) {
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    earn();
    void *block = keep(MIB);
    hak_free(block);
    CHECK_CONTAINS(fake_os_take_errors(), "free(): ");
    hak_dealloc(block, MIB, 16);
    CHECK_CONTAINS(fake_os_take_errors(), "already free");
    CHECK(hak_realloc(block, 2 * MIB) == NULL);
    CHECK_CONTAINS(fake_os_take_errors(), "already free");
    CHECK_EQ(hak_usable_size(block), 0);
    CHECK_CONTAINS(fake_os_take_errors(), "already free");
    CHECK_EQ(record()->large.bytes, MIB);
    CHECK(hak_malloc(MIB) == block);
    CHECK(hak_malloc(MIB) != block);
}
