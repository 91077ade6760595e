/* thread_ends.c - allocation during thread exit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// flags: -rdynamic
// libs: -ldl
#include "process.h"

#include <dlfcn.h>
#include <limits.h>

/* ---- Wrappers of the functions for thread keys ----------------------------------------------- */

static int wrapping = 1;       /* until a test examines threads that do not allocate */
static unsigned wrapped_calls; /* atomic */

static void wrap(void) {
    static __thread int inside;
    if (inside++ == 0 && wrapping) {
        __atomic_fetch_add(&wrapped_calls, 1, __ATOMIC_RELAXED);
        free(memset(HIDE(malloc(3000)), 1, 3000));
        free(HIDE(malloc(3 * MIB)));
    }
    inside--;
}

int pthread_key_create(pthread_key_t *key, void (*destructor)(void *)) {
    void *found = dlsym(RTLD_NEXT, "pthread_key_create");
    int (*real)(pthread_key_t *, void (*)(void *));
    memcpy(&real, &found, sizeof found);
    wrap();
    return real(key, destructor);
}

int pthread_setspecific(pthread_key_t key, const void *value) {
    void *found = dlsym(RTLD_NEXT, "pthread_setspecific");
    int (*real)(pthread_key_t, const void *);
    memcpy(&real, &found, sizeof found);
    wrap();
    return real(key, value);
}

/* ---- Keys ------------------------------------------------------------------------------------ */

static pthread_key_t early_key, late_key;
static __thread int rounds;
static int first_round_to_allocate; /* of a test */

static void allocate_from_round(void *value) {
    if (++rounds >= first_round_to_allocate) {
        char *blocks[200];
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            memset(blocks[i] = malloc(1000), 1, 1000);
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            free(blocks[i]);
        free(HIDE(malloc(3 * MIB)));
    }
    if (rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(early_key, value);
}

static void replace_block(void *value) {
    free(value);
    if (rounds < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(late_key, malloc(700));
}

__attribute__((constructor(101))) static void make_early_key(void) {
    pthread_key_create(&early_key, allocate_from_round);
}

static void make_late_key(void) {
    static int made;
    free(HIDE(malloc(1)));
    if (!made++)
        REQUIRE(pthread_key_create(&late_key, replace_block) == 0);
}

/* Uses few pages of the stack, so that most memory is the allocator's. */
static void run_threads(unsigned count, unsigned at_once, void *(*run)(void *)) {
    enum { AT_ONCE_MOST = 16 };
    pthread_t threads[AT_ONCE_MOST];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 << 10);
    for (unsigned i = 0; i < count; i += at_once) {
        for (unsigned k = 0; k < at_once; k++)
            REQUIRE(pthread_create(&threads[k], &small, run, NULL) == 0);
        for (unsigned k = 0; k < at_once; k++)
            pthread_join(threads[k], NULL);
    }
}

static void *end_with_early_key(void *arg) {
    pthread_setspecific(early_key, &early_key);
    return arg;
}

static void *end_with_both_keys(void *arg) {
    pthread_setspecific(early_key, &early_key);
    pthread_setspecific(late_key, malloc(700));
    return arg;
}

static uint64_t threads_with_cache(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.threads;
}

struct end {
    int first_round;
    unsigned at_once;
    void *(*run)(void *);
};

static void end_threads(void *arg) {
    struct end end = *(struct end *)arg;
    make_late_key();
    first_round_to_allocate = end.first_round;
    wrapping = 0;
    run_threads(320, end.at_once, end.run);
    size_t before = test_rss(); /* of as few threads as happened to run together */
    run_threads(1600, end.at_once, end.run);
    AT("first_round at_once", end.first_round, end.at_once);
    /* and up to three huge pages. 1600 lost caches would be more than twice that. */
    CHECK_LE(test_rss(), before + end.at_once * (256 << 10) + 6 * MIB);
    CHECK_LE(threads_with_cache(), 8 + 2 * end.at_once); /* the search for lost caches needs 8 */
    CHECK_EQ(hak_validate(), 0);
}

TEST(threads_that_allocate_first_in_any_round_of_destructors_leave_nothing_behind) {
    for (int round = 1; round <= PTHREAD_DESTRUCTOR_ITERATIONS; round++) {
        struct end end = {round, 1, end_with_early_key};
        CHECK_EXITED(in_child(end_threads, &end));
    }
}

TEST(so_do_many_such_threads_at_once) {
    struct end end = {PTHREAD_DESTRUCTOR_ITERATIONS, 8, end_with_early_key};
    CHECK_EXITED(in_child(end_threads, &end));
    end.at_once = 16;
    CHECK_EXITED(in_child(end_threads, &end));
}

TEST(destructors_of_keys_older_and_newer_than_ours_may_allocate_and_free) {
    struct end end = {1, 4, end_with_both_keys};
    CHECK_EXITED(in_child(end_threads, &end));
}

static void stay_single(void *unused) {
    (void)unused;
    wrapping = 0;
    first_round_to_allocate = PTHREAD_DESTRUCTOR_ITERATIONS;
    free(HIDE(malloc(1)));
    run_threads(16, 16, end_with_early_key);
    /* A joined thread still exists for a moment. If all of them were there at once, there is a
     * scavenger until it has given their memory back. */
    CHECK(BECOMES(tasks() == 1, PATIENCE_MS));
    load_free(load_make(100 * MIB, 1000));
    CHECK_EQ(tasks(), 1);
}

static void end_wrapped(void *unused) {
    (void)unused;
    make_late_key();
    first_round_to_allocate = 2;
    run_threads(100, 4, end_with_both_keys);
    CHECK_GE(wrapped_calls, 100);
    CHECK_EQ(hak_validate(), 0);
}

TEST(caches_of_ended_threads_do_not_count_as_threads_of_the_program) {
    CHECK_EXITED(in_child(stay_single, NULL));
}

TEST(wrappers_of_the_functions_for_keys_may_allocate) { CHECK_EXITED(in_child(end_wrapped, NULL)); }

/* ---- Threads that do not exit ---------------------------------------------------------------- */

static void *churn_for_ever(void *arg) {
    for (uint64_t seed = 1;; seed++)
        churn(seed, 100);
    return arg;
}

static void exit_with_detached(void *unused) {
    (void)unused;
    for (int i = 0; i < 4; i++)
        pthread_detach(test_thread(churn_for_ever, NULL));
    test_sleep_ms(20);
    exit(0);
}

TEST(a_process_may_exit_while_detached_threads_allocate) {
    for (int i = 0; i < 10; i++)
        CHECK_EXITED(in_child(exit_with_detached, NULL));
}
