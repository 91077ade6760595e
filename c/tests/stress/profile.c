/* stress/profile.c - profiles start and stop while threads allocate, start, exit and fork.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// timeout: 300
// variant: HAKMEM_CHECKS=fast
// env: HAKMEM_PURGE_THREAD_MB=0
#include <hakmem.h>

#include "test.h"

/* ThreadSanitizer does not support threads in a forked child. */
#if defined(__SANITIZE_THREAD__)
enum { FORKS_EVERY = 1 << 30 };
#else
enum { FORKS_EVERY = 200 };
#endif

enum { ROUNDS = 10000, WORKERS = 3, SLOTS = 200, SHARED = 64, STEPS = 400 };

static int ending;           /* atomic */
static void *shared[SHARED]; /* atomic; blocks that any thread may free */

static void write_nothing(void *arg, const char *text, size_t bytes) {
    (void)text;
    *(size_t *)arg += bytes;
}

static void work(uint64_t *random, size_t steps) {
    void *blocks[SLOTS] = {0};
    for (size_t i = 0; i < steps; i++) {
        uint64_t r = test_random(random);
        size_t size = r % 200 == 0 ? (r >> 20) % 1500000 : (r >> 20) % 2000;
        void **block = &blocks[r % SLOTS];
        if (r % 3 == 0) {
            void *resized = hak_realloc(*block, size + 1);
            REQUIRE(resized != NULL);
            *block = resized;
        } else {
            hak_free(*block);
            *block = hak_malloc(size);
            REQUIRE(*block != NULL);
        }
        memset(*block, 1, size < 64 ? size : 64);
        if (r % 5 == 0)
            *block = __atomic_exchange_n(&shared[(r >> 8) % SHARED], *block, __ATOMIC_ACQ_REL);
    }
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(blocks[i]);
}

static void *work_briefly(void *arg) {
    uint64_t random = (uintptr_t)arg + 1;
    work(&random, STEPS / 4);
    return NULL;
}

/* Works, and starts a thread now and then. */
static void *work_until_the_end(void *arg) {
    uint64_t random = (uintptr_t)arg + 1;
    while (!__atomic_load_n(&ending, __ATOMIC_ACQUIRE)) {
        work(&random, STEPS);
        pthread_join(test_thread(work_briefly, (void *)(uintptr_t)random), NULL);
    }
    return NULL;
}

static void live_as_a_child(void *unused) {
    struct hak_profile_options options = {.rate = 1000};
    size_t written = 0;
    uint64_t random = 9;
    (void)unused;
    work(&random, STEPS);
    pthread_join(test_thread(work_briefly, (void *)5), NULL);
    hak_profile_stop();
    CHECK_EQ(hak_profile_start(&options, sizeof options), 0);
    work(&random, STEPS);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_PPROF, write_nothing, &written), 0);
    CHECK(written > 100);
    hak_profile_stop();
    CHECK_EQ(hak_validate(), 0);
}

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static void start_and_stop(size_t rounds) {
    static const uint64_t rates[] = {1, 1000, 20000, 524288};
    uint64_t random = rounds;
    size_t written = 0;
    for (size_t i = 0; i < rounds; i++) {
        struct hak_profile_options options = {.rate = rates[i % TEST_COUNT(rates)]};
        AT("round", i);
        CHECK_EQ(hak_profile_start(&options, sizeof options), 0);
        work(&random, 10);
        if (i % 100 == 0)
            CHECK_EQ(hak_profile_write(HAK_PROFILE_PPROF, write_nothing, &written), 0);
        if (i % FORKS_EVERY == FORKS_EVERY - 1) {
            struct test_child child = test_in_child(live_as_a_child, NULL);
            CHECK_EXITED(child);
        }
        hak_profile_stop();
        work(&random, 10);
    }
    CHECK(written > 0);
}

static void run_under_load(size_t rounds) {
    pthread_t threads[WORKERS];
    __atomic_store_n(&ending, 0, __ATOMIC_RELEASE);
    for (size_t i = 0; i < WORKERS; i++)
        threads[i] = test_thread(work_until_the_end, (void *)(i * 1000));
    start_and_stop(rounds);
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < SHARED; i++) {
        hak_free(shared[i]);
        shared[i] = NULL;
    }
}

/* libc keeps a few blocks for the stacks of threads, and for the library of the unwinder. */
TEST(no_block_is_lost_when_profiles_start_and_stop_under_load) {
    enum { BYTES_OF_LIBC = 8192 };
    size_t written = 0;
    run_under_load(100);
    struct hak_stats before = stats();
    run_under_load(ROUNDS);
    struct hak_stats after = stats();

    CHECK_EQ(hak_validate(), 0);
    CHECK_LE(after.bytes_live, before.bytes_live + BYTES_OF_LIBC);
    CHECK_EQ(after.errors, 0);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_COLLAPSED, write_nothing, &written), 0);
    CHECK_EQ(written, 0); /* all sampled blocks are free */
}
