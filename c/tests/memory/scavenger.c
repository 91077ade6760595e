/* scavenger.c - the background thread returns memory while the program is idle.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Each test runs in its own child process, because there is one scavenger per process, and a
 * process that was once large behaves differently.
 */
// env: HAKMEM_PURGE_DELAY_MS=200 HAKMEM_BACKGROUND=always
#include "../process/process.h"

enum {
    BLOCK_BYTES = 4096,
    BLOCKS_MAX = 128 * MIB / BLOCK_BYTES,
};
static void *blocks[BLOCKS_MAX];

static void hold(size_t mib) {
    for (size_t i = 0; i < mib * MIB / BLOCK_BYTES; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        REQUIRE(blocks[i]);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
}

static void release(size_t mib) {
    for (size_t i = 0; i < mib * MIB / BLOCK_BYTES; i++)
        free(blocks[i]);
}

/* Waits until there are `count` threads. Returns whether that happened. */
static int scavengers_become(unsigned count) {
    for (int ms = 0; ms < PATIENCE_MS && scavengers() != count; ms += 10)
        test_sleep_ms(10);
    return scavengers() == count;
}

/* Returns whether resident memory falls to `bytes` while this thread only polls it. */
static int rss_falls_to(size_t bytes) {
    for (int ms = 0; ms < PATIENCE_MS && test_rss() > bytes; ms += 10)
        test_sleep_ms(10);
    return test_rss() <= bytes;
}

static void stay_small(void *unused) {
    (void)unused;
    hold(8);
    release(8);
    hold(8);
    test_sleep_ms(500);
    CHECK_EQ(scavengers(), 0);
}

TEST(a_small_process_has_no_thread) { CHECK_EXITED(test_in_child(stay_small, NULL)); }

static void grow_large(void *unused) {
    (void)unused;
    size_t start = test_rss();
    hold(100);
    REQUIRE(scavengers_become(1));
    CHECK_GE(test_rss(), start + 90 * MIB);
    release(100);
    CHECK(rss_falls_to(start + 8 * MIB));
}

TEST(a_large_process_has_one_that_gives_back_while_the_process_sleeps) {
    CHECK_EXITED(test_in_child(grow_large, NULL));
}

static void *sleep_until_woken(void *barrier) {
    pthread_barrier_wait((pthread_barrier_t *)barrier);
    return NULL;
}

static void grow_with_threads(void *unused) {
    (void)unused;
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, 2);
    /* libc allocates its stack and other data in this thread. The scavenger itself allocates
     * nothing. */
    pthread_t thread = test_thread(sleep_until_woken, &barrier);
    hold(100);
    CHECK(scavengers_become(1));
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
}

TEST(there_is_one_for_all_threads) { CHECK_EXITED(test_in_child(grow_with_threads, NULL)); }

static void look_at_mask(void *unused) {
    (void)unused;
    hold(100);
    REQUIRE(scavengers_become(1));
    char status[4096];
    read_of_task(find_scavengers().task, "status", status, sizeof status);
    const char *line = strstr(status, "SigBlk:");
    REQUIRE(line);
    uint64_t blocked = strtoull(line + strlen("SigBlk:"), NULL, 16);
    /* One bit per signal, starting with signal 1. */
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        /* The kernel and libc reserve these. */
        if (signal == SIGKILL || signal == SIGSTOP || (signal > SIGSYS && signal < SIGRTMIN))
            continue;
        AT("signal", signal);
        CHECK(blocked >> (signal - 1) & 1);
    }
}

TEST(it_blocks_all_signals) { CHECK_EXITED(test_in_child(look_at_mask, NULL)); }

static void grow_and_shrink(void *unused) {
    (void)unused;
    hold(100);
    REQUIRE(scavengers_become(1));
    release(100);
    CHECK(scavengers_become(0));
    hold(100);
    CHECK(scavengers_become(1));
}

TEST(it_ends_when_the_process_has_become_small_and_comes_again) {
    CHECK_EXITED(test_in_child(grow_and_shrink, NULL));
}

static void fork_large(void *unused) {
    (void)unused;
    hold(100);
    REQUIRE(scavengers_become(1));
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        CHECK_EQ(scavengers(), 0);
        size_t large = test_rss();
        /* Blocks of the parent count, too, so the next slow path finds a large process. */
        void *more[1000];
        for (size_t i = 0; i < TEST_COUNT(more); i++) {
            more[i] = malloc(BLOCK_BYTES);
            REQUIRE(more[i]);
        }
        CHECK(scavengers_become(1));
        release(100);
        for (size_t i = 0; i < TEST_COUNT(more); i++)
            free(more[i]);
        CHECK(rss_falls_to(large - 80 * MIB));
        _exit(test_state.failures != 0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_EQ(status, 0);
    CHECK_EQ(scavengers(), 1);
}

TEST(a_forked_child_starts_without_and_gets_its_own) {
    CHECK_EXITED(test_in_child(fork_large, NULL));
}

static void switch_off(void *unused) {
    (void)unused;
    REQUIRE(hak_option_set("purge_thread_mb", "0") == 0);
    hold(100);
    release(100);
    hold(100);
    test_sleep_ms(500);
    CHECK_EQ(scavengers(), 0);
    /* Slow paths then return as much memory as they can. */
    release(100);
    size_t full = test_rss();
    for (int i = 0; i < 10; i++) {
        test_sleep_ms(150);
        for (int k = 0; k < 100; k++)
            free(HIDE(malloc(300000)));
    }
    CHECK_LE(test_rss(), full - 80 * MIB);
}

TEST(it_can_be_switched_off) { CHECK_EXITED(test_in_child(switch_off, NULL)); }
