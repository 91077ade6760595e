/* unit/out_of_memory.c - runs a scenario in which each system call fails once, or from there on.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * In all cases, calls that get no memory return NULL and set ENOMEM, existing blocks are intact,
 * all invariants hold, and no unused memory stays mapped afterwards.
 */
// link: fake_os
// timeout: 300
#include <hakmem.h>

#include "core/extent.h"
#include "core/meta.h"
#include "core/pagemap.h"
#include "core/usage.h"
#include "debug/validate.h"
#include "fresh.h"
#include "profile/profile.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define LEAF_BYTES (((size_t)1 << 16) * sizeof(void *)) /* the pagemap never frees leaves */

enum { SLOTS = 400 };

static struct slot {
    unsigned char *block;
    size_t size;
} slots[SLOTS];

static unsigned failures_seen;
static bool profiles; /* all blocks are sampled */

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

/* A call that returned NULL must have set errno. */
static void note_failure(void) {
    CHECK_EQ(errno, ENOMEM);
    failures_seen++;
}

/* The number of bytes of a block that contain a pattern. */
static size_t patterned(size_t size) { return size < 8 * KIB ? size : 8 * KIB; }

static void fill(size_t i, unsigned char *block, size_t size) {
    slots[i] = (struct slot){block, size};
    block[size - 1] = 1;
    test_fill(block, patterned(size), i);
}

static void check_slot(size_t i) {
    AT("slot size", i, slots[i].size);
    CHECK_EQ(test_intact(slots[i].block, patterned(slots[i].size), i), patterned(slots[i].size));
}

static void allocate(size_t i, size_t size) {
    errno = 0;
    void *block = hak_malloc(size);
    if (block == NULL)
        note_failure();
    else
        fill(i, block, size);
}

static void allocate_zeroed(size_t i, size_t size) {
    errno = 0;
    void *block = hak_calloc(1, size);
    if (block == NULL) {
        note_failure();
        return;
    }
    CHECK_EQ(test_zeros(block, size), size);
    fill(i, block, size);
}

static void allocate_aligned(size_t i, size_t size, size_t align) {
    errno = 0;
    void *block = hak_aligned_alloc(align, size);
    if (block == NULL) {
        note_failure();
        return;
    }
    CHECK_EQ((uintptr_t)block % align, 0);
    fill(i, block, size);
}

static void resize(size_t i, size_t size) {
    if (slots[i].block == NULL)
        return;
    errno = 0;
    unsigned char *block = hak_realloc(slots[i].block, size);
    if (block == NULL) {
        note_failure();
        check_slot(i);
        return;
    }
    size_t kept = patterned(slots[i].size < size ? slots[i].size : size);
    CHECK_EQ(test_intact(block, kept, i), kept);
    fill(i, block, size);
}

static void release(size_t i) {
    if (slots[i].block == NULL)
        return;
    check_slot(i);
    errno = 7;
    hak_free(slots[i].block);
    CHECK_EQ(errno, 7);
    slots[i] = (struct slot){NULL, 0};
}

/* Slots 0 to 99. Frees half of them to the cache of a thread, which then exits. */
static void *work_in_thread(void *arg) {
    for (size_t i = 0; i < 100; i++)
        allocate(i, 16 + i * 97);
    for (size_t i = 0; i < 100; i += 2)
        release(i);
    return arg;
}

/* Slots 250 to 279: large blocks grow in place and by moving, shrink, and are freed, with trims in
 * between. */
static void work_with_large_blocks(void) {
    for (size_t i = 250; i < 280; i++) {
        fake_os.resize_fails = i % 2 == 0;
        if (i % 3 == 0)
            allocate_aligned(i, i * 40 * KIB, (size_t)64 * KIB << i % 8);
        else
            allocate(i, i * 20 * KIB);
        resize(i, 9 * MIB + i * KIB);
        if (i % 5 == 0)
            resize(i, 40 * MIB);
        if (i % 4 == 0)
            resize(i, 5 * MIB);
        if (i % 2 == 0)
            release(i - (i > 251));
        if (i % 8 == 0)
            hak_trim();
    }
    for (size_t i = 250; i < 280; i++)
        release(i);
}

static void scenario(void) {
    hak_prewarm(HAK_PREWARM_TINY);
    for (size_t i = 100; i < 200; i++)
        allocate(i, (size_t)8 << i % 16);
    pthread_join(test_thread(work_in_thread, NULL), NULL);
    for (size_t i = 200; i < 220; i++)
        allocate_zeroed(i, i * i);
    for (size_t i = 220; i < 240; i++)
        allocate_aligned(i, i * 10, (size_t)16 << i % 14);
    allocate(240, MIB);
    allocate(241, 6 * MIB);
    allocate_zeroed(242, 5 * MIB);
    resize(240, 3 * MIB);
    resize(241, 12 * MIB);
    resize(242, 300 * KIB);
    for (size_t i = 100; i < 200; i += 3)
        resize(i, slots[i].size * 3 + 1);
    for (size_t i = 1; i < 240; i += 2)
        release(i);
    hak_trim();
    work_with_large_blocks();
    for (size_t i = 243; i < SLOTS; i++)
        allocate(i, i * 7919 % 60000 + 1);
}

/* Runs the scenario. `count` calls of a kind fail, starting with number `first`. */
struct failing {
    enum fake_os_call kind;
    uint64_t first;
    uint64_t count;
};

static uint32_t leaves_mapped(void) {
    static const uintptr_t leaf_reach = (uintptr_t)1 << 32;
    uint32_t leaves = 0;
    fake_os_fail_maps(1, FAKE_OS_ALL); /* if a leaf already exists, none is mapped */
    for (uintptr_t at = 0; at < (uintptr_t)1 << 47; at += leaf_reach)
        leaves += hk_pagemap_reserve(at);
    fake_os_fail_maps(0, 0);
    return leaves;
}

/* The class map has one generation, or none if it could not be mapped. */
static size_t class_map_bytes(void) {
    return hk_class_map_get()->limit_1 != 0 ? 256 * KIB + 4 * KIB : 0;
}

static void run_failing(void *arg) {
    struct failing *failing = arg;
    CHECK_EQ(hak_option_set("purge_thread_mb", "0"), 0);
    CHECK_EQ(hak_option_set("huge_page_mb", "1"), 0);
    CHECK_EQ(hak_option_set("large_cache_mb", "30"), 0);
    if (profiles)
        CHECK_EQ(hk_profile_start(1, HK_UNWINDER_TABLES), 0);
    fake_os_fail(failing->kind, failing->first, failing->count);
    scenario();
    fake_os_fail(failing->kind, 0, 0);
    fake_os.resize_fails = false;
    test_tell((void *)(uintptr_t)fake_os_calls(failing->kind));

    CHECK_EQ(hk_validate(), 0);
    CHECK(hk_extent_valid());
    size_t live = 0;
    for (size_t i = 0; i < SLOTS; i++) {
        if (slots[i].block != NULL) {
            check_slot(i);
            live += hak_usable_size(slots[i].block);
        }
    }
    CHECK_EQ(stats().bytes_live, live);
    for (size_t i = 0; i < SLOTS; i++)
        release(i);
    hak_trim();
    CHECK_EQ(hk_validate(), 0);
    struct hak_stats after = stats();
    CHECK_EQ(after.bytes_live, 0);
    CHECK_EQ(after.bytes_cached, 0);
    CHECK_EQ(after.bytes_slabs, 0);
    CHECK_EQ(after.bytes_dirty, 0);
    CHECK_EQ(hk_extent_refused_bytes(), 0);
    CHECK_EQ(hk_usage_bytes(), hk_meta_bytes());
    CHECK_EQ(fake_os_mapped(), hk_meta_bytes() + class_map_bytes() + leaves_mapped() * LEAF_BYTES);
    if (failing->kind != FAKE_OS_MAP || failing->first == 0)
        CHECK_EQ(failures_seen, 0);
    else if (failing->first == 1 && failing->count == FAKE_OS_ALL)
        CHECK(failures_seen > 300);
    CHECK_STR(fake_os_take_errors(), "");
}

/* The number of calls of a kind in the scenario if all calls succeed. */
static uint64_t count_calls(enum fake_os_call kind) {
    struct failing none = {kind, 0, 0};
    struct test_child child = test_in_child(run_failing, &none);
    CHECK_EXITED(child);
    return (uintptr_t)child.pointer;
}

/* Runs the scenario with every `step`th call of a kind as the first failure. */
static void check_all(enum fake_os_call kind, uint64_t step, uint64_t count) {
    uint64_t calls = count_calls(kind);
    CHECK(calls >= 4);
    for (uint64_t first = 1; first <= calls; first += step) {
        struct failing failing = {kind, first, count};
        struct test_child child = test_in_child(run_failing, &failing);
        AT("kind first", kind, first);
        CHECK_EXITED(child);
    }
}

TEST(any_single_map_call_may_fail) { check_all(FAKE_OS_MAP, 1, 1); }
TEST(any_three_map_calls_in_a_row_may_fail) { check_all(FAKE_OS_MAP, 2, 3); }
TEST(memory_may_end_at_any_map_call) { check_all(FAKE_OS_MAP, 1, FAKE_OS_ALL); }

TEST(any_single_unmap_call_may_fail) { check_all(FAKE_OS_UNMAP, 1, 1); }
TEST(from_any_unmap_call_on_all_may_fail) { check_all(FAKE_OS_UNMAP, 3, FAKE_OS_ALL); }
TEST(any_resize_in_place_may_fail) { check_all(FAKE_OS_RESIZE, 1, 1); }
TEST(any_move_may_fail) { check_all(FAKE_OS_MOVE, 1, 1); }
TEST(all_moves_may_fail) { check_all(FAKE_OS_MOVE, 100, FAKE_OS_ALL); }
TEST(any_purge_may_fail) { check_all(FAKE_OS_PURGE, 7, 2); }
TEST(from_any_purge_on_all_may_fail) { check_all(FAKE_OS_PURGE, 40, FAKE_OS_ALL); }
TEST(any_advice_about_huge_pages_may_fail) { check_all(FAKE_OS_HUGE, 1, 1); }

TEST(any_map_call_may_fail_while_all_blocks_are_sampled) {
    profiles = true;
    check_all(FAKE_OS_MAP, 1, 1);
    check_all(FAKE_OS_MAP, 3, FAKE_OS_ALL);
    profiles = false;
}

/* Both unmapping and purging fail. */
static void run_with_both_failing(void *arg) {
    fake_os.unmap_fails = true;
    fake_os.purge_fails = true;
    struct failing none = {FAKE_OS_MAP, 0, 0};
    scenario();
    for (size_t i = 0; i < SLOTS; i++)
        release(i);
    fake_os.unmap_fails = false;
    fake_os.purge_fails = false;
    run_failing(&none);
    (void)arg;
}

TEST(purge_and_unmap_may_both_fail) {
    struct test_child child = test_in_child(run_with_both_failing, NULL);
    CHECK_EXITED(child);
}
