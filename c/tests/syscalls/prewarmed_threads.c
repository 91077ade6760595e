/* prewarmed_threads.c - the memory cost of threads with prewarmed caches.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "hakmem.h"
#include "test.h"

enum { THREADS = 64, CACHED_MOST = 2 * 1000 * 1000, RSS_MOST = 128 * 1024 };

static pthread_barrier_t prewarmed, measured;

static void *prewarm(void *arg) {
    free(malloc(1));
    CHECK(hak_prewarm(HAK_PREWARM_ALL) > 0);
    pthread_barrier_wait(&prewarmed);
    pthread_barrier_wait(&measured);
    return arg;
}

/* RSS includes everything: stack, cache, and the library's own structures. Address space includes
 * only the cached blocks, because the slabs and chunks are shared by the threads of a heap and have
 * room for other blocks. */
TEST(a_prewarmed_thread_costs_less_than_2_mb_and_128_kib_of_rss) {
    pthread_t threads[THREADS];
    struct hak_stats before, after;
    pthread_barrier_init(&prewarmed, NULL, THREADS + 1);
    pthread_barrier_init(&measured, NULL, THREADS + 1);
    free(malloc(1));
    hak_stats(&before, sizeof before);
    size_t rss_before = test_rss();
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(prewarm, NULL);
    pthread_barrier_wait(&prewarmed);
    size_t rss = (test_rss() - rss_before) / THREADS;
    hak_stats(&after, sizeof after);
    size_t cached = (after.bytes_cached - before.bytes_cached) / THREADS;
    size_t slabs = (after.bytes_slabs - before.bytes_slabs) / THREADS;
    pthread_barrier_wait(&measured);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    test_print("    a thread: %zu bytes cached, of %zu in slabs; %zu bytes resident\n", cached,
               slabs, rss);
    CHECK_LE(cached, CACHED_MOST);
    CHECK_LE(rss, RSS_MOST);
}
