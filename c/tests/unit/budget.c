/* unit/budget.c - the size of a thread cache: what a thread earns by its refills and flushes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "thread/budget.h"

#include "fresh.h"
#include "thread/thread.h"
#include "thread/tunables.h"

enum { CLASS = HK_CLASS_1024, OTHER = HK_CLASS_512 };

#define MIB ((size_t)1 << 20)

static struct hk_thread *record(void) {
    struct hk_thread *thread = hk_thread_get();
    REQUIRE(thread != NULL);
    return thread;
}

static size_t budget(void) {
    hk_budget_set(record());
    return record()->budget;
}

static void flush(size_t class, size_t bytes) { hk_budget_note_flush(record(), class, bytes); }
static void refill(size_t class, size_t bytes) { hk_budget_note_refill(record(), class, bytes); }

TEST_FRESH(a_thread_starts_with_a_part_of_the_total) { CHECK_EQ(budget(), THREAD_START_MAX); }

TEST_FRESH(refills_of_flushed_classes_raise_the_budget) {
    size_t before = budget();
    flush(CLASS, 12000);
    refill(CLASS, 12000);
    CHECK_EQ(budget(), before + 12000 * THREAD_REGRET_FACTOR);
}

TEST_FRESH(refills_of_other_classes_do_not) {
    size_t before = budget();
    flush(CLASS, 12000);
    refill(OTHER, 12000);
    CHECK_EQ(budget(), before);
    refill(CLASS, 0); /* forgets the flush */
    refill(CLASS, 12000);
    CHECK_EQ(budget(), before + 12000 / THREAD_MOVED_PART);
}

/* Flushes and refills `bytes`, a part of which are regret. */
static void move(size_t bytes, size_t regret) {
    flush(CLASS, bytes);
    refill(CLASS, regret);
    refill(CLASS, bytes - regret);
}

TEST_FRESH(rare_regret_earns_a_moderate_budget) {
    size_t before = budget();
    move(40 * MIB, 4 * MIB);
    CHECK_EQ(budget(), before + THREAD_REGRET_MODERATE);
    CHECK_EQ(record()->regret_bytes, 4 * MIB);
}

TEST_FRESH(frequent_regret_earns_more_however_long_the_thread_runs) {
    for (int i = 0; i < 1000; i++) {
        move(40 * MIB, 8 * MIB);
        AT("round", i);
        CHECK_EQ(budget(), hk_budget_limit());
    }
}

TEST_FRESH(bytes_in_one_direction_raise_the_budget_and_in_both_do_not) {
    size_t before = budget();
    refill(CLASS, 64 * MIB);
    CHECK_EQ(budget(), before + 64 * MIB / THREAD_MOVED_PART);
    flush(OTHER, 64 * MIB);
    CHECK_EQ(budget(), before);
    flush(OTHER, 32 * MIB);
    CHECK_EQ(budget(), before + 32 * MIB / THREAD_MOVED_PART);
}

TEST_FRESH(a_large_block_is_regretted_if_the_flushed_one_would_have_suited) {
    flush(HK_CLASS_NONE, 2 * MIB);
    refill(HK_CLASS_NONE, 2 * MIB + 1); /* a vector that grows */
    CHECK_EQ(record()->regret_bytes, 0);
    flush(HK_CLASS_NONE, 2 * MIB);
    refill(HK_CLASS_NONE, MIB - 1);
    CHECK_EQ(record()->regret_bytes, 0);
    refill(HK_CLASS_NONE, 2 * MIB); /* The flushed one served the refill before. */
    CHECK_EQ(record()->regret_bytes, 0);
    flush(HK_CLASS_NONE, 2 * MIB);
    refill(HK_CLASS_NONE, 2 * MIB);
    CHECK_EQ(record()->regret_bytes, 2 * MIB);
}

TEST_FRESH(no_budget_exceeds_the_limit_of_a_thread) {
    flush(CLASS, SIZE_MAX / 4);
    refill(CLASS, SIZE_MAX / 4);
    CHECK_EQ(budget(), hk_budget_limit());
}
