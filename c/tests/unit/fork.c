/* unit/fork.c - the state of a child after a fork in a multi-threaded process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "api/fork.h"

#include <hakmem.h>

#include "debug/validate.h"
#include "fresh.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static pthread_barrier_t step;

static void *cache_and_wait(void *arg) {
    void *blocks[100];
    for (int i = 0; i < 100; i++)
        blocks[i] = hak_malloc(64);
    for (int i = 1; i < 100; i++)
        hak_free(blocks[i]);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    hak_free(blocks[0]);
    return arg;
}

static void check_child(void *live_before) {
    struct hak_stats now = stats();
    CHECK_EQ(now.threads, 1);
    CHECK_EQ(now.bytes_live, *(uint64_t *)live_before);
    CHECK_EQ(hk_validate(), 0);
    void *blocks[200];
    for (int i = 0; i < 200; i++) {
        blocks[i] = hak_malloc((size_t)i * 50 + 1);
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, (size_t)i * 50 + 1);
    }
    for (int i = 0; i < 200; i++)
        hak_free(blocks[i]);
    CHECK_EQ(stats().bytes_live, *(uint64_t *)live_before);
    hak_trim();
    CHECK_EQ(stats().bytes_cached, 0);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(in_the_child_the_caches_of_other_threads_have_gone_home) {
    hk_fork_install();
    void *own = hak_malloc(64);
    pthread_barrier_init(&step, NULL, 4);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++)
        threads[i] = test_thread(cache_and_wait, NULL);
    pthread_barrier_wait(&step);
    CHECK_EQ(stats().threads, 4);
    uint64_t live = stats().bytes_live;
    CHECK_EQ(live, 4 * 64);
    struct test_child child = test_in_child(check_child, &live);
    CHECK_EXITED(child);
    CHECK_EQ(stats().threads, 4); /* in the parent nothing changed */
    CHECK_EQ(stats().bytes_live, live);
    pthread_barrier_wait(&step);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    hak_free(own);
    CHECK_EQ(stats().bytes_live, 0);
    CHECK_EQ(hk_validate(), 0);
}

static bool stop;

static void *work_until_stopped(void *key) {
    uint64_t seed = (uintptr_t)key;
    void *blocks[64] = {NULL};
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        size_t i = test_random(&seed) % 64;
        hak_free(blocks[i]);
        blocks[i] = hak_malloc(test_random(&seed) % 5000 + 1);
    }
    for (int i = 0; i < 64; i++)
        hak_free(blocks[i]);
    return NULL;
}

static void work_in_child(void *arg) {
    (void)arg;
    for (int i = 1; i < 2000; i++) {
        void *block = hak_malloc((size_t)i * 10);
        CHECK(block != NULL);
        hak_free(block);
    }
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(children_of_busy_processes_find_all_structures_whole) {
    hk_fork_install();
    pthread_t threads[2];
    for (uintptr_t i = 0; i < 2; i++)
        threads[i] = test_thread(work_until_stopped, (void *)(i + 1));
    for (int i = 0; i < 40; i++) {
        hak_free(hak_malloc(100));
        struct test_child child = test_in_child(work_in_child, NULL);
        AT("fork", i);
        CHECK_EXITED(child);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hk_validate(), 0);
    CHECK_EQ(stats().bytes_live, 0);
}
