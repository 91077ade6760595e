/* unit/drain.c - taking blocks out of the caches of other threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "thread/drain.h"

#include <hakmem.h>

#include "core/options.h"
#include "debug/validate.h"
#include "fresh.h"
#include "thread/bins.h"
#include "thread/thread.h"

enum { BLOCKS = 40, MIB = 1 << 20 };

static pthread_barrier_t step;
static void *blocks[BLOCKS];

static struct hk_thread *own(void) {
    struct hk_thread *thread = hk_thread_get();
    REQUIRE(thread != NULL);
    return thread;
}

static uint32_t cached(size_t class) { return hk_bins_count(own(), class); }

/* Fills the bin for 112 bytes with blocks in random order, and puts one block of 5 KiB into
 * a bin. */
static void fill_bins(void) {
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = hak_malloc(100);
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i * 7 % BLOCKS]);
    hak_free(hak_malloc(5000));
    CHECK(cached(HK_CLASS_112) >= BLOCKS / 2);
}

/* Runs `sleeper` until it reaches the barrier the second time, and drains in between. */
static void drain_during(void *(*sleeper)(void *)) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(sleeper, NULL);
    pthread_barrier_wait(&step);
    hk_drain_all();
    CHECK_EQ(hk_validate(), 0);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK_EQ(hk_validate(), 0);
}

static void sleep_now(void) {
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
}

static void *is_left_with_the_newest(void *arg) {
    fill_bins();
    void *newest = own()->cache.bins[HK_CLASS_112].top[-1];
    sleep_now();
    CHECK_EQ(cached(HK_CLASS_112), 1);
    CHECK(hak_malloc(100) == newest);
    CHECK_EQ(cached(HK_CLASS_112), 0);
    return arg;
}

TEST_FRESH(a_thread_that_may_be_in_the_middle_of_a_pop_keeps_the_newest_block_of_each_bin) {
    drain_during(is_left_with_the_newest);
}

static void *is_left_with_nothing(void *arg) {
    fill_bins();
    hak_free(hak_malloc(MIB));
    sleep_now();
    CHECK_EQ(cached(HK_CLASS_112), 0);
    CHECK_EQ(cached(HK_CLASS_5120), 0);
    CHECK_EQ(own()->large.bytes, 0);
    return arg;
}

TEST_FRESH(a_thread_that_sleeps_keeps_nothing) {
    fake_os.threads_sleep = true;
    drain_during(is_left_with_nothing);
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.bytes_large_cached, 0);
}

static void *goes_on_as_before(void *arg) {
    void *after[4 * BLOCKS];
    fill_bins();
    sleep_now();
    for (size_t i = 0; i < 4 * BLOCKS; i++)
        memset(after[i] = hak_malloc(100), (int)i, 100);
    for (size_t i = 0; i < 4 * BLOCKS; i++) {
        CHECK_EQ(*(unsigned char *)after[i], i);
        hak_free(after[i]);
    }
    return arg;
}

TEST_FRESH(after_a_drain_the_bins_fill_and_empty_as_before) {
    fake_os.threads_sleep = true;
    drain_during(goes_on_as_before);
    fake_os.threads_sleep = false;
    drain_during(goes_on_as_before);
}

static void *frees_up_to_the_end_of_its_array(void *arg) {
    fill_bins();
    uint32_t capacity = own()->capacity[HK_CLASS_112];
    void *taken[1000];
    REQUIRE(capacity < 1000);
    sleep_now();
    for (uint32_t i = 0; i < capacity; i++)
        taken[i] = hak_malloc(100);
    for (uint32_t i = 0; i < capacity; i++)
        hak_free(taken[i]);
    CHECK(cached(HK_CLASS_112) <= own()->capacity[HK_CLASS_112]);
    return arg;
}

TEST_FRESH(a_bin_has_its_whole_array_again_after_a_drain) {
    drain_during(frees_up_to_the_end_of_its_array);
}

static void *sees_a_double_free(void *arg) {
    fill_bins();
    void *block = hak_malloc(100);
    sleep_now();
    hak_free(block);
    hak_free(block);
    const char *errors = fake_os_take_errors();
    CHECK(strstr(errors, "already free") != NULL);
    return arg;
}

TEST_FRESH(a_double_free_after_a_drain_is_reported_and_no_single_free_is) {
    hak_option_set("on_error", "continue");
    drain_during(sees_a_double_free);
}

static void *is_within_a_slow_call(void *arg) {
    fill_bins();
    hk_tcache_enter(own());
    uint32_t before = cached(HK_CLASS_112);
    sleep_now();
    CHECK_EQ(cached(HK_CLASS_112), before);
    hk_tcache_leave(own());
    return arg;
}

TEST_FRESH(a_thread_within_a_slow_call_is_left_alone) {
    fake_os.threads_sleep = true;
    drain_during(is_within_a_slow_call);
}

static void *keeps_all(void *arg) {
    fill_bins();
    uint32_t before = cached(HK_CLASS_112);
    sleep_now();
    CHECK_EQ(cached(HK_CLASS_112), before);
    for (uint32_t i = 0; i < before; i++)
        CHECK(own()->floor[HK_CLASS_112][i] != NULL);
    return arg;
}

TEST_FRESH(without_a_barrier_nothing_is_taken) {
    fake_os.threads_sleep = true;
    fake_os.barrier_fails = 1;
    drain_during(keeps_all);
}

TEST_FRESH(without_the_second_barrier_the_bounds_are_taken_back) {
    fake_os.threads_sleep = true;
    fake_os.barrier_fails = 2;
    drain_during(keeps_all);
}

static void *idle_is_what_does_nothing(void *arg) {
    fill_bins();
    sleep_now();
    return arg;
}

TEST_FRESH(the_second_look_at_a_thread_that_did_nothing_drains_it) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(idle_is_what_does_nothing, NULL);
    pthread_barrier_wait(&step);
    struct hak_stats before, looked, drained;
    hak_stats(&before, sizeof before);
    CHECK(hk_drain_idle()); /* the thread was running */
    hak_stats(&looked, sizeof looked);
    CHECK_EQ(looked.bytes_cached, before.bytes_cached);
    CHECK(hk_drain_idle()); /* it took blocks */
    hak_stats(&drained, sizeof drained);
    CHECK(drained.bytes_cached < before.bytes_cached);
    CHECK(!hk_drain_idle());
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

TEST_FRESH(the_own_cache_is_never_drained) {
    fake_os.threads_sleep = true;
    fill_bins();
    uint32_t before = cached(HK_CLASS_112);
    hk_drain_all();
    CHECK_EQ(cached(HK_CLASS_112), before);
}

TEST_FRESH(slots_that_a_drain_had_bounded_at_a_fork_are_dropped) {
    fill_bins();
    struct hk_thread *thread = own();
    uint32_t before = cached(HK_CLASS_112);
    thread->floor[HK_CLASS_112][3] = NULL;
    hk_drain_repair(thread);
    CHECK_EQ(cached(HK_CLASS_112), before - 1);
    CHECK_EQ(hk_validate(), 0);
}
