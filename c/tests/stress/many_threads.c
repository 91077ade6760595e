/* many_threads.c - a thousand threads alive at once, and thousands one after another.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_PREWARM=all
// variant: HAKMEM_HEAPS=1
#include "hakmem.h"
#include "test.h"

enum { THREADS = 1000, STACK_BYTES = 65536, BLOCKS = 60 };

static pthread_barrier_t all_hold, all_free;

static void *hold_some(void *arg) {
    void *blocks[BLOCKS];
    uint64_t random = (uint64_t)(uintptr_t)arg;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = 1 + test_random(&random) % 2000;
        blocks[i] = memset(malloc(size), (int)i, size);
    }
    pthread_barrier_wait(&all_hold);
    pthread_barrier_wait(&all_free);
    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK_EQ(*(unsigned char *)blocks[i], i);
        free(blocks[i]);
    }
    return NULL;
}

/* Starts threads with small stacks. Returns the number of threads that the system allowed. */
static size_t start(pthread_t *threads, size_t count, void *(*run)(void *)) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    size_t started = 0;
    while (started < count &&
           pthread_create(&threads[started], &attributes, run, (void *)started) == 0)
        started++;
    pthread_attr_destroy(&attributes);
    return started;
}

TEST(a_thousand_threads_hold_blocks_at_once) {
    static pthread_t threads[THREADS];
    struct hak_stats before, with, after;
    free(malloc(1)); /* this thread has a cache, too */
    hak_stats(&before, sizeof before);
    pthread_barrier_init(&all_hold, NULL, THREADS + 1);
    pthread_barrier_init(&all_free, NULL, THREADS + 1);
    REQUIRE(start(threads, THREADS, hold_some) == THREADS);
    pthread_barrier_wait(&all_hold);
    hak_stats(&with, sizeof with);
    CHECK_EQ(with.threads, before.threads + THREADS);
    CHECK_EQ(hak_validate(), 0);
    pthread_barrier_wait(&all_free);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.threads, before.threads);
    CHECK_EQ(hak_validate(), 0);
}

static void *touch_and_end(void *arg) {
    free(memset(malloc(100 + (size_t)arg % 3000), 1, 100));
    return NULL;
}

TEST(thread_churn_leaves_nothing_behind) {
    enum { ROUNDS = 150, EACH = 30, ALLOWED = 8 * 1024 * 1024 };
    struct hak_stats before, after;
    pthread_t threads[EACH];
    for (size_t round = 0; round < ROUNDS; round++) {
        if (round == ROUNDS / 3)
            hak_stats(&before, sizeof before);
        size_t started = start(threads, EACH, touch_and_end);
        REQUIRE(started == EACH);
        for (size_t i = 0; i < started; i++)
            pthread_join(threads[i], NULL);
    }
    hak_stats(&after, sizeof after);
    CHECK_LE(after.bytes_mapped, before.bytes_mapped + ALLOWED);
    CHECK_LE(after.bytes_metadata, before.bytes_metadata + ALLOWED / 8);
    CHECK_EQ(after.threads, before.threads);
    CHECK_EQ(hak_validate(), 0);
}
