/* sleepers.c - the memory of threads that sleep after heavy work is returned.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: preload
// needs: cc
#include <malloc.h>
#include <stdbool.h>

#include "test.h"

enum { THREADS = 200, SLOTS = 400, STEPS = 60000, KIB = 1024, LEFT_KIB = 34 };

static pthread_barrier_t worked, over;
static bool works;

static void *work_then_sleep(void *arg) {
    uint64_t random = (uint64_t)(uintptr_t)arg;
    void *blocks[SLOTS] = {NULL};
    for (int i = 0; works && i < STEPS; i++) {
        void **slot = &blocks[test_random(&random) % SLOTS];
        size_t bytes = 8 + test_random(&random) % (i % 50 == 0 ? 20000 : 1000);
        free(*slot);
        *slot = memset(malloc(bytes), 1, bytes);
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(blocks[i]);
    pthread_barrier_wait(&worked);
    pthread_barrier_wait(&over);
    return NULL;
}

static pthread_t threads[THREADS];

static void start_threads(bool work) {
    works = work;
    pthread_barrier_init(&worked, NULL, THREADS + 1);
    pthread_barrier_init(&over, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(work_then_sleep, (void *)(i + 1));
    pthread_barrier_wait(&worked);
    test_sleep_ms(50); /* until they sleep */
}

static void end_threads(void) {
    pthread_barrier_wait(&over);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static size_t rss_of_idle_threads(void) {
    start_threads(false);
    malloc_trim(0);
    size_t rss = test_rss();
    end_threads();
    return rss;
}

static size_t kib_a_thread(size_t rss) {
    return test_rss() > rss ? (test_rss() - rss) / KIB / THREADS : 0;
}

TEST(a_trim_leaves_34_kib_of_a_thread_that_worked_hard_and_sleeps) {
    size_t base = rss_of_idle_threads();
    start_threads(true);
    malloc_trim(0);
    CHECK(kib_a_thread(base) <= LEFT_KIB);
    end_threads();
}

TEST(so_do_three_purge_delays) {
    size_t base = rss_of_idle_threads();
    start_threads(true);
    for (int i = 0; i < 50 && kib_a_thread(base) > LEFT_KIB; i++)
        test_sleep_ms(100);
    CHECK(kib_a_thread(base) <= LEFT_KIB);
    end_threads();
}
