/* scavenger.c - the thread that gives memory back while the program is idle.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Each test has a child process of its own: there is one such thread a process, and a process that
 * was large once differs from one that never was.
 */
// env: HAKMEM_PURGE_DELAY_MS=200 HAKMEM_BACKGROUND=always
#include "test.h"

#include <dirent.h>
#include <hakmem.h>

#define MIB ((size_t)1 << 20)

enum {
    BLOCK_BYTES = 4096,
    BLOCKS_MAX = 128 * MIB / BLOCK_BYTES,
    PATIENCE_MS = 8000,
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

/* Reads a small file of /proc/self/task/TASK/; empty if it is not there. Does not allocate. */
static void read_of_task(const char *task, const char *file, char *text, size_t bytes) {
    char path[256];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, text, bytes - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = 0;
}

/* How many threads of that name there are; the id of the last in `task`, which may be NULL. */
static unsigned scavengers(char task[32]) {
    unsigned found = 0;
    DIR *tasks = opendir("/proc/self/task");
    REQUIRE(tasks);
    for (struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        char name[64];
        read_of_task(entry->d_name, "comm", name, sizeof name);
        if (strcmp(name, "hakmem-purge\n") != 0)
            continue;
        found++;
        if (task)
            snprintf(task, 32, "%.31s", entry->d_name);
    }
    closedir(tasks);
    return found;
}

/* Waits until there are `count`; says whether that came to be. */
static int scavengers_become(unsigned count) {
    for (int ms = 0; ms < PATIENCE_MS && scavengers(NULL) != count; ms += 10)
        test_sleep_ms(10);
    return scavengers(NULL) == count;
}

/* Whether the resident memory falls to `bytes`, while this thread does nothing but look. */
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
    CHECK_EQ(scavengers(NULL), 0);
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
    /* Its stack and the like are allocated here; it allocates nothing. */
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
    char task[32], status[4096];
    scavengers(task);
    read_of_task(task, "status", status, sizeof status);
    const char *line = strstr(status, "SigBlk:");
    REQUIRE(line);
    uint64_t blocked = strtoull(line + strlen("SigBlk:"), NULL, 16);
    /* A bit for each signal from 1. */
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        /* The kernel and libc keep these for themselves. */
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
        CHECK_EQ(scavengers(NULL), 0);
        size_t large = test_rss();
        /* Blocks of the parent count, too: the next slow path finds a large process. */
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
    CHECK_EQ(scavengers(NULL), 1);
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
    CHECK_EQ(scavengers(NULL), 0);
    /* Then slow paths do what they can. */
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
