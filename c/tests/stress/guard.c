/* stress/guard.c - the guard starts and stops while threads allocate, free blocks of each other and
 * exit, and while the process forks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// timeout: 240
#include <hakmem.h>
#include <stdbool.h>

#include "../test.h"

enum { STARTS = 10000, WORKERS = 3, BLOCKS = 64, STEPS = 400, FORKS = 20, SIZE_MOST = 20000 };

static struct shared {
    unsigned char *block; /* atomic; freed by the thread that takes it */
} shared[BLOCKS];

static bool over;        /* atomic */
static uint64_t guarded; /* atomic; guarded blocks so far */

/* The first byte of a block determines its contents. */
static void fill(unsigned char *block, size_t size, unsigned char value) {
    block[0] = value;
    block[size - 1] = value;
    if (hak_usable_size(block) == size && size % 16 != 0)
        __atomic_add_fetch(&guarded, 1, __ATOMIC_RELAXED);
}

static void *work_once(void *arg) {
    uint64_t state = (uintptr_t)arg;
    for (int i = 0; i < STEPS; i++) {
        uint64_t random = test_random(&state);
        size_t size = 2 + random % (random % 8 == 0 ? SIZE_MOST : 300);
        unsigned char *block = random & 64 ? hak_malloc(size) : hak_calloc(1, size);
        REQUIRE(block != NULL);
        CHECK((random & 64) != 0 || (block[0] == 0 && block[size - 1] == 0));
        fill(block, size, (unsigned char)random);
        if (random & 128) {
            size_t larger = size + random % 100;
            block = hak_realloc(block, larger);
            REQUIRE(block != NULL);
            CHECK_EQ(block[0], (unsigned char)random);
            CHECK_EQ(block[size - 1], (unsigned char)random);
        }
        block = __atomic_exchange_n(&shared[random % BLOCKS].block, block, __ATOMIC_ACQ_REL);
        hak_free(block);
    }
    return NULL;
}

/* Starts one thread after the other. */
static void *work(void *arg) {
    uintptr_t seed = (uintptr_t)arg;
    while (!__atomic_load_n(&over, __ATOMIC_RELAXED))
        pthread_join(test_thread(work_once, (void *)(seed += WORKERS)), NULL);
    return NULL;
}

/* In a child, the guard keeps running, and blocks of vanished threads may be freed. */
static void fork_once(void) {
    pid_t child = fork();
    if (child == 0) {
        work_once((void *)(uintptr_t)7);
        _exit(hak_validate() == 0 && test_state.failures == 0 ? 0 : 1);
    }
    int status = 1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    CHECK_EQ(status, 0);
}

TEST(the_guard_starts_and_stops_ten_thousand_times_under_load) {
    pthread_t threads[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        threads[i] = test_thread(work, (void *)(i + 1));

    for (int i = 0; i < STARTS; i++) {
        AT("start", i);
        CHECK_EQ(hak_guard_start(1 + (uint64_t)i % 20, 100), 0);
        if (i % 100 == 0)
            work_once((void *)(uintptr_t)(i + 1000));
        if (i % (STARTS / FORKS) == 0)
            fork_once();
        hak_guard_stop();
    }

    __atomic_store_n(&over, true, __ATOMIC_RELAXED);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(shared[i].block);

    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK(guarded > 100);
    CHECK_EQ(stats.errors, 0);
    CHECK_EQ(hak_validate(), 0);
}
