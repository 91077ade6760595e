/* trim.c - malloc_trim returns blocks freed by other threads, and limits caches of sleeping
 * threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=3600000 HAKMEM_PURGE_THREAD_MB=0
#include "test.h"

#include <hakmem.h>
#include <malloc.h>
#include <sched.h>
#include <stdbool.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { THREADS = 8, BLOCKS = 400, REPLACED = 20000, TOTAL_MIB = 64 };

static struct worker {
    pthread_barrier_t *freed, *trimmed, *done;
    bool works_on; /* after the trim */
    uint64_t seed;
} workers[THREADS];

static size_t mixed_size(uint64_t *seed) {
    uint64_t random = test_random(seed);
    size_t power = (size_t)1 << (4 + random % 12);
    return power + (random >> 32) % power;
}

static void *touched_block(uint64_t *seed) {
    size_t size = mixed_size(seed);
    void *block = malloc(size);
    if (!block)
        _exit(1);
    return memset(block, 1, size);
}

static void *run(void *arg) {
    struct worker *worker = arg;
    void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++)
        blocks[i] = touched_block(&worker->seed);
    for (size_t i = 0; i < REPLACED; i++) {
        void **block = &blocks[test_random(&worker->seed) % BLOCKS];
        free(*block);
        *block = touched_block(&worker->seed);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    pthread_barrier_wait(worker->freed);
    pthread_barrier_wait(worker->trimmed);
    /* Each of these calls misses the cache. The trim has requested to empty the cache at such a
     * call. */
    for (int i = 0; worker->works_on && i < 4; i++)
        free(HIDE(malloc(300 * KIB)));
    pthread_barrier_wait(worker->done);
    pthread_barrier_wait(worker->done);
    return NULL;
}

static size_t cached_bytes(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now.bytes_cached;
}

/* Returns the bytes still cached after threads have freed everything and the main thread has
 * trimmed. */
static size_t cached_after_trim(bool works_on, size_t *rss_above_start) {
    pthread_barrier_t freed, trimmed, done;
    pthread_t threads[THREADS];
    pthread_barrier_init(&freed, NULL, THREADS + 1);
    pthread_barrier_init(&trimmed, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    size_t start = test_rss();
    for (size_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){&freed, &trimmed, &done, works_on, test_seed(42) + i};
        threads[i] = test_thread(run, &workers[i]);
    }
    pthread_barrier_wait(&freed);
    CHECK_EQ(malloc_trim(0), 1);
    pthread_barrier_wait(&trimmed);
    pthread_barrier_wait(&done);
    if (works_on)
        malloc_trim(0);
    size_t cached = cached_bytes();
    size_t rss = test_rss();
    *rss_above_start = rss > start ? rss - start : 0;
    pthread_barrier_wait(&done);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return cached;
}

/* Returns the value of the option, or 8 MiB per CPU that the process may use. */
static size_t total_bytes(void) {
    char text[32];
    REQUIRE(hak_option_get("cache_total_mb", text, sizeof text) == 0);
    size_t total = strtoull(text, NULL, 10) * MIB;
    cpu_set_t cpus;
    REQUIRE(sched_getaffinity(0, sizeof cpus, &cpus) == 0);
    return total ? total : (size_t)CPU_COUNT(&cpus) * 8 * MIB;
}

/* A sleeping thread keeps its cache: at most thread_cache_kb each, and cache_total_mb in total. */
TEST(sleeping_threads_keep_no_more_than_the_documented_bound) {
    char text[32];
    REQUIRE(hak_option_get("thread_cache_kb", text, sizeof text) == 0);
    size_t each = strtoull(text, NULL, 10) * KIB, total = total_bytes();
    size_t bound = THREADS * each < total ? THREADS * each : total;
    size_t rss, cached = cached_after_trim(false, &rss);
    test_print(
        "    %d sleeping threads: %zu KiB cached after a trim, RSS %zu KiB above the start\n",
        THREADS, cached / KIB, rss / KIB);
    CHECK_LE(cached, bound);
    /* A cached block holds at most one page more than its own size, and there are few classes and
     * bins. */
    CHECK_LE(rss, bound + 8 * MIB);
}

TEST(threads_that_run_on_empty_their_caches_when_asked) {
    size_t rss, cached = cached_after_trim(true, &rss);
    test_print("    %d running threads: %zu KiB cached after a trim, RSS %zu KiB above the start\n",
               THREADS, cached / KIB, rss / KIB);
    CHECK_LE(cached, THREADS * 64 * KIB);
    CHECK_LE(rss, 4 * MIB);
}

/* ---- Memory of another thread's heap --------------------------------------------------------- */

static pthread_barrier_t filled, freed_here;
static void *handed[TOTAL_MIB * 256];

static void *fill(void *unused) {
    (void)unused;
    for (size_t i = 0; i < TEST_COUNT(handed); i++) {
        handed[i] = malloc(4096);
        if (!handed[i])
            _exit(1);
        memset(handed[i], 1, 4096);
    }
    pthread_barrier_wait(&filled);
    pthread_barrier_wait(&freed_here); /* alive, asleep, and owns the heap */
    return NULL;
}

TEST(a_trim_gives_back_memory_of_the_heaps_of_other_threads) {
    pthread_barrier_init(&filled, NULL, 2);
    pthread_barrier_init(&freed_here, NULL, 2);
    malloc_trim(0);
    size_t start = test_rss();
    pthread_t thread = test_thread(fill, NULL);
    pthread_barrier_wait(&filled);
    CHECK_GE(test_rss(), start + (TOTAL_MIB - 1) * MIB);
    for (size_t i = 0; i < TEST_COUNT(handed); i++)
        free(handed[i]);
    CHECK_GE(test_rss(), start + (TOTAL_MIB - 8) * MIB);
    CHECK_GE(hak_trim(), (TOTAL_MIB - 8) * MIB);
    CHECK_LE(test_rss(), start + 4 * MIB);
    pthread_barrier_wait(&freed_here);
    pthread_join(thread, NULL);
}

TEST(malloc_trim_says_whether_anything_went_back) {
    malloc_trim(0);
    CHECK_EQ(malloc_trim(0), 0);
    void *block = malloc(MIB);
    REQUIRE(block);
    memset(block, 1, MIB);
    free(block);
    CHECK_EQ(malloc_trim(0), 1);
}
