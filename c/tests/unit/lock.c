/* unit/lock.c - exclusion, waiting, and the order of locks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "fresh.h"
#include "os/lock.h"

enum { THREADS = 4, ROUNDS = 20000 };

static struct hk_lock lock;
static uint64_t counter; /* under the lock; two fields, so that a torn update is visible */
static uint64_t counter_twice;

static void *count_up(void *arg) {
    for (int i = 0; i < ROUNDS; i++) {
        hk_lock(&lock, HK_RANK_META);
        CHECK_EQ(counter_twice, counter * 2);
        counter++;
        if (i % 64 == 0)
            sched_yield();
        counter_twice = counter * 2;
        hk_unlock(&lock, HK_RANK_META);
    }
    return arg;
}

TEST(threads_that_count_under_a_lock_lose_nothing) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = test_thread(count_up, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(counter, THREADS * ROUNDS);
    CHECK_EQ(lock.word, 0);
}

static void *take_and_release(void *arg) {
    hk_lock(arg, HK_RANK_META);
    hk_unlock(arg, HK_RANK_META);
    return NULL;
}

TEST(a_thread_that_has_to_wait_sleeps_and_is_counted) {
    struct hk_lock held = {0};
    uint64_t before = hk_load_relaxed(&hk_lock_counts.sleeps);
    hk_lock(&held, HK_RANK_META);
    pthread_t thread = test_thread(take_and_release, &held);
    while (hk_load_relaxed(&hk_lock_counts.sleeps) == before)
        test_sleep_ms(1);
    CHECK_EQ(hk_load_relaxed(&held.word), hk_lock_self() | HK_LOCK_WAITERS);
    hk_unlock(&held, HK_RANK_META);
    pthread_join(thread, NULL);
    CHECK_EQ(held.word, 0);
}

/* Takes a held lock with `take` and releases it, until the thread sleeps. Reports the number of
 * contended acquisitions of each rank meanwhile. */
static void find_taken(void *(*take)(void *), uint64_t found[HK_RANK_COUNT]) {
    struct hk_lock held = {0};
    uint64_t before = hk_load_relaxed(&hk_lock_counts.sleeps);
    for (int rank = 0; rank < HK_RANK_COUNT; rank++)
        found[rank] = hk_load_relaxed(&hk_lock_counts.busy[rank]);
    hk_lock(&held, HK_RANK_META);
    pthread_t thread = test_thread(take, &held);
    while (hk_load_relaxed(&hk_lock_counts.sleeps) == before)
        test_sleep_ms(1);
    hk_unlock(&held, HK_RANK_META);
    pthread_join(thread, NULL);
    for (int rank = 0; rank < HK_RANK_COUNT; rank++)
        found[rank] = hk_load_relaxed(&hk_lock_counts.busy[rank]) - found[rank];
}

TEST(a_lock_found_taken_is_counted_once_and_for_its_rank) {
    uint64_t found[HK_RANK_COUNT];
    find_taken(take_and_release, found);
    for (int rank = 0; rank < HK_RANK_COUNT; rank++)
        CHECK_EQ(found[rank], rank == HK_RANK_META);
}

TEST(a_lock_without_contention_is_never_found_taken) {
    struct hk_lock own = {0};
    struct hk_lock_counts before = hk_lock_counts;
    for (int i = 0; i < 1000; i++)
        take_and_release(&own);
    CHECK(hk_lock_try(&own, HK_RANK_META));
    CHECK(!hk_lock_try(&own, HK_RANK_META));
    hk_unlock(&own, HK_RANK_META);
    CHECK(memcmp(&before, &hk_lock_counts, sizeof before) == 0);
}

TEST(trying_takes_a_free_lock_and_leaves_a_held_one) {
    struct hk_lock own = {0};
    CHECK(hk_lock_try(&own, HK_RANK_META));
    CHECK(!hk_lock_try(&own, HK_RANK_META));
    hk_unlock(&own, HK_RANK_META);
    CHECK(hk_lock_try(&own, HK_RANK_META));
    hk_unlock(&own, HK_RANK_META);
}

/* ---- Orphaned locks -------------------------------------------------------------------------- */

static struct hk_lock orphan;
static pthread_barrier_t step;
static struct hk_lock *repaired;
static unsigned repairs;

static void note_repair(struct hk_lock *lock) {
    repaired = lock;
    repairs++;
}

static void *hold_until_the_end(void *arg) {
    hk_lock(&orphan, HK_RANK_META);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    hk_unlock(&orphan, HK_RANK_META);
    return arg;
}

/* Runs `run` in a child that is forked while another thread holds the lock. */
static void fork_with_orphan(void (*run)(void *)) {
    hk_os_generation();
    hk_lock_set_repair(HK_RANK_META, note_repair);
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(hold_until_the_end, NULL);
    pthread_barrier_wait(&step);
    struct test_child child = test_in_child(run, NULL);
    CHECK_EXITED(child);
    CHECK_EQ(repairs, 0); /* nothing has happened in the parent */
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

static void lock_orphan(void *unused) {
    (void)unused;
    hk_lock(&orphan, HK_RANK_META);
    CHECK_EQ(repairs, 1);
    CHECK(repaired == &orphan);
    hk_unlock(&orphan, HK_RANK_META);
    hk_lock(&orphan, HK_RANK_META);
    hk_unlock(&orphan, HK_RANK_META);
    CHECK_EQ(repairs, 1);
}

TEST_FRESH(a_forked_child_takes_over_a_lock_of_a_vanished_thread_and_repairs_once) {
    fork_with_orphan(lock_orphan);
}

static void try_orphan(void *unused) {
    (void)unused;
    CHECK(hk_lock_try(&orphan, HK_RANK_META));
    CHECK_EQ(repairs, 1);
    hk_unlock(&orphan, HK_RANK_META);
}

TEST_FRESH(trying_takes_over_a_lock_of_a_vanished_thread_too) { fork_with_orphan(try_orphan); }

static void keep_own_lock(void *unused) {
    (void)unused;
    CHECK(!hk_lock_try(&orphan, HK_RANK_META));
    CHECK_EQ(repairs, 0);
    hk_unlock(&orphan, HK_RANK_META);
    CHECK(hk_lock_try(&orphan, HK_RANK_META));
    CHECK_EQ(repairs, 0);
    hk_unlock(&orphan, HK_RANK_META);
}

TEST_FRESH(a_lock_that_the_forking_thread_holds_stays_its_own_in_the_child) {
    hk_os_generation();
    hk_lock_set_repair(HK_RANK_META, note_repair);
    hk_lock(&orphan, HK_RANK_META);
    struct test_child child = test_in_child(keep_own_lock, NULL);
    CHECK_EXITED(child);
    hk_unlock(&orphan, HK_RANK_META);
}

static void fork_again(void *unused) {
    lock_orphan(unused);
    hk_lock(&orphan, HK_RANK_META);
    struct test_child child = test_in_child(keep_own_lock, NULL);
    (void)child;
    hk_unlock(&orphan, HK_RANK_META);
}

TEST_FRESH(a_child_of_a_child_knows_its_own_locks) { fork_with_orphan(fork_again); }

static struct hk_lock by_rank[HK_RANK_COUNT];

TEST(locks_can_be_held_together_in_the_order_of_their_table) {
    for (int rank = 0; rank < HK_RANK_COUNT; rank++)
        hk_lock(&by_rank[rank], rank);
    for (int rank = HK_RANK_COUNT; rank-- > 0;)
        hk_unlock(&by_rank[rank], rank);
}

TEST_FRESH(taking_locks_out_of_order_aborts_with_the_place) {
    hk_lock(&by_rank[HK_RANK_ARENA], HK_RANK_ARENA);
    CHECK(FAKE_OS_ABORTS(hk_lock(&by_rank[HK_RANK_CLASS], HK_RANK_CLASS)));
    const char *errors = fake_os_take_errors();
    CHECK_CONTAINS(errors, "hakmem: internal error: ");
    CHECK_CONTAINS(errors, "lock.c:");
}

TEST_FRESH(taking_two_locks_of_one_rank_aborts) {
    hk_lock(&by_rank[HK_RANK_CLASS], HK_RANK_CLASS);
    struct hk_lock other = {0};
    CHECK(FAKE_OS_ABORTS(hk_lock(&other, HK_RANK_CLASS)));
    CHECK_CONTAINS(fake_os_take_errors(), "lock.c:");
}

TEST_FRESH(releasing_a_lock_that_is_not_held_aborts) {
    CHECK(FAKE_OS_ABORTS(hk_unlock(&by_rank[HK_RANK_META], HK_RANK_META)));
    CHECK_CONTAINS(fake_os_take_errors(), "lock.c:");
}
