/* unit/watch.c - threads that are switched to the slow path from outside.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "thread/watch.h"

#include <hakmem.h>

#include "debug/validate.h"
#include "fresh.h"
#include "profile/profile.h"
#include "thread/bins.h"
#include "thread/thread.h"
#include "thread/threads.h"

enum { BLOCKS = 40 };

static pthread_barrier_t step;

/* A profile watches all threads. This one hardly ever takes a sample. */
static void watch(void) { CHECK_EQ(hk_profile_start(UINT64_MAX >> 8, HK_UNWINDER_TABLES), 0); }

static enum hk_cache_kind kind(void) { return hk_cache_get()->kind; }

static uint32_t cached(void) { return hk_bins_count(hk_thread_get(), HK_CLASS_112); }

/* Fills the bin, so that it can serve the next calls. */
static void fill_bin(void) {
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = hak_malloc(100);
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
    CHECK(cached() > 1);
}

TEST_FRESH(a_watched_thread_is_served_from_its_own_bins) {
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_OWN);
    watch();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);

    void *newest = hk_thread_get()->cache.bins[HK_CLASS_112].top[-1];
    uint32_t before = cached();
    void *block = hak_malloc(100);
    CHECK(block == newest);
    CHECK_EQ(cached(), before - 1);
    hak_free(block);
    CHECK_EQ(cached(), before);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
}

TEST_FRESH(a_thread_returns_to_its_cache_after_the_watch) {
    fill_bin();
    watch();
    hk_profile_stop();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_free(hak_malloc(100));
    CHECK_EQ(kind(), HK_CACHE_OWN);
    CHECK_EQ(hk_validate(), 0);
}

static void *is_watched(void *arg) {
    CHECK_EQ(kind(), HK_CACHE_UNINITIALIZED);
    void *block = hak_malloc(100);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_free(block);
    return arg;
}

TEST_FRESH(a_thread_that_starts_during_a_watch_is_watched) {
    watch();
    pthread_join(test_thread(is_watched, NULL), NULL);
}

static void *is_switched(void *arg) {
    fill_bin();
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    return arg;
}

TEST_FRESH(other_threads_are_watched_from_their_next_call_on) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(is_switched, NULL);
    pthread_barrier_wait(&step);
    watch();
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK_EQ(hk_validate(), 0);
}

/* Each makes one call after the trim, an allocation or a free. */
static void *is_trimmed(void *frees) {
    void *block = hak_malloc(100);
    fill_bin();
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    if (frees == NULL)
        CHECK(hak_malloc(2000) != NULL);
    else
        hak_free(block);
    CHECK_EQ(kind(), HK_CACHE_OWN);
    CHECK_LE(cached(), 1); /* the freed one */
    return NULL;
}

TEST_FRESH(a_trim_empties_the_cache_of_each_running_thread_at_its_next_call) {
    bool frees = true;
    pthread_barrier_init(&step, NULL, 3);
    pthread_t allocating = test_thread(is_trimmed, NULL);
    pthread_t freeing = test_thread(is_trimmed, &frees);
    pthread_barrier_wait(&step);
    fake_os.barrier_fails = 1; /* so that no drain empties them before */
    hak_trim();
    pthread_barrier_wait(&step);
    pthread_join(allocating, NULL);
    pthread_join(freeing, NULL);
    CHECK_EQ(hk_validate(), 0);
}

static void *allocates(void *arg) {
    fill_bin();
    return arg;
}

/* Its thread-local variables are gone, and writing to them could hit another thread. */
TEST_FRESH(the_parked_cache_of_an_ended_thread_has_no_place_to_switch) {
    pthread_join(test_thread(allocates, NULL), NULL);
    REQUIRE(hk_threads.parked != NULL);
    CHECK(hk_threads.parked->place == NULL);
    watch();
    fill_bin(); /* adopts it */
    CHECK(hk_thread_get()->place == &hk_cache);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
}

TEST_FRESH(a_thread_without_a_cache_stays_without_one) {
    fill_bin();
    struct hk_thread *thread = hk_thread_get();
    hk_thread_disable_cache();
    watch();
    CHECK_EQ(kind(), HK_CACHE_DISABLED);
    hak_free(hak_malloc(100));
    CHECK(hk_thread_get() == NULL);
    hk_profile_stop();
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    hk_thread_use_cache_locked(thread);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

static void *keeps_its_cache(void *arg) {
    fill_bin();
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_OWN);
    return arg;
}

TEST_FRESH(a_thread_that_counts_is_watched_alone) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(keeps_its_cache, NULL);
    pthread_barrier_wait(&step);
    fill_bin();
    hak_thread_count_start();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    fill_bin();
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);

    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_thread_count_stop();
    CHECK_EQ(kind(), HK_CACHE_OWN);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_thread_without_a_cache_yet_counts_from_its_first_call_on) {
    hak_thread_count_start();
    CHECK_EQ(kind(), HK_CACHE_UNINITIALIZED);
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_thread_count_stop();
    CHECK_EQ(kind(), HK_CACHE_OWN);
}

TEST_FRESH(neither_a_trim_nor_the_end_of_a_profile_ends_the_counting) {
    fill_bin();
    hak_thread_count_start();
    fake_os.barrier_fails = 1;
    hak_trim();
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    watch();
    fill_bin();
    hk_profile_stop();
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);

    watch();
    hak_thread_count_stop();
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED); /* by the profile */
    hk_profile_stop();
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_OWN);
}

TEST_FRESH(a_thread_that_has_given_up_its_cache_counts_without_one) {
    fill_bin();
    struct hk_thread *thread = hk_thread_get();
    hk_thread_disable_cache();
    hak_thread_count_start();
    CHECK_EQ(kind(), HK_CACHE_DISABLED);
    hak_free(hak_malloc(100));
    struct hak_thread_counters counters;
    CHECK_EQ(hak_thread_counters(&counters, sizeof counters), 1);
    CHECK_EQ(counters.bytes_allocated, 112);
    CHECK_EQ(counters.bytes_freed, 112);
    hak_thread_count_stop();
    CHECK_EQ(kind(), HK_CACHE_DISABLED);

    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    hk_thread_use_cache_locked(thread);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

/* ---- With a default heap --------------------------------------------------------------------- */

static void allocate_from(struct hak_heap *heap) {
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == heap);
    hak_free(block);
}

TEST_FRESH(a_thread_is_watched_while_it_counts_or_has_a_default_heap) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    REQUIRE(heap != NULL);
    fill_bin();
    for (int heap_ends_first = 0; heap_ends_first < 2; heap_ends_first++) {
        AT("heap ends first", heap_ends_first);
        hak_thread_count_start();
        hak_heap_set_default(heap);
        allocate_from(heap);
        CHECK_EQ(kind(), HK_CACHE_WATCHED);
        if (heap_ends_first)
            hak_heap_set_default(NULL);
        else
            hak_thread_count_stop();
        allocate_from(heap_ends_first ? NULL : heap);
        CHECK_EQ(kind(), HK_CACHE_WATCHED);
        if (heap_ends_first)
            hak_thread_count_stop();
        else
            hak_heap_set_default(NULL);
        CHECK_EQ(kind(), HK_CACHE_OWN);
    }
    hak_heap_destroy(heap);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(neither_a_trim_nor_the_end_of_a_profile_ends_the_default_heap) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    REQUIRE(heap != NULL);
    void *outside[] = {hak_malloc(1 << 20), hak_malloc(1 << 20)};
    hak_heap_set_default(heap);
    fake_os.barrier_fails = 1;
    hak_trim();
    hak_free(outside[0]); /* a slow call of the thread layer */
    allocate_from(heap);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    watch();
    allocate_from(heap);
    hk_profile_stop();
    hak_free(outside[1]);
    allocate_from(heap);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_heap_destroy(heap);
    CHECK_EQ(kind(), HK_CACHE_OWN);
}

TEST_FRESH(a_thread_without_a_cache_yet_has_a_default_heap_from_its_first_call_on) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    REQUIRE(heap != NULL);
    CHECK_EQ(kind(), HK_CACHE_UNINITIALIZED);
    hak_heap_set_default(heap);
    allocate_from(heap);
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    hak_heap_set_default(NULL);
    allocate_from(NULL);
    CHECK_EQ(kind(), HK_CACHE_OWN);
    hak_heap_destroy(heap);
}

/* Two modules may watch at the same time. */
TEST_FRESH(a_watch_lasts_until_its_last_watcher_ends_it) {
    fill_bin();
    watch();
    hk_watch_set(HK_WATCHER_GUARD, 7);
    CHECK_EQ(hk_watch_number(HK_WATCHER_GUARD), 7);
    CHECK(hk_watch_number(HK_WATCHER_PROFILE) != 0);

    hk_profile_stop();
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_WATCHED);
    CHECK_EQ(hk_watch_number(HK_WATCHER_PROFILE), 0);
    CHECK_EQ(hk_watch_number(HK_WATCHER_GUARD), 7);

    hk_watch_set(HK_WATCHER_GUARD, 0);
    fill_bin();
    CHECK_EQ(kind(), HK_CACHE_OWN);
}
