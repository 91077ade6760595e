/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the allocator's cache of one thread costs in resident memory: after the thread's first
 * malloc and free, and, where the allocator is hakmem, after a full hak_prewarm. The threads'
 * stacks are there before, and are not counted.
 */
#include "bench.h"
#include "bench_hakmem.h"

#define USAGE                                                                                      \
    "bench_thread_rss [THREADS]\n"                                                                 \
    "  THREADS  (64)"

#define THREADS_DEFAULT 64u

static hak_prewarm_function *prewarm; /* NULL: the allocator has none */
static pthread_barrier_t step;        /* all threads and main, between two steps */
static size_t prewarmed_bytes;        /* of one thread; written by thread 0 */

static void *body(void *argument) {
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step); /* main has looked: threads without a cache */
    void *volatile block = malloc(1);
    if (block == NULL)
        bench_fail("malloc", ENOMEM);
    free(block);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step); /* main has looked: threads that have allocated */
    if (prewarm != NULL) {
        size_t bytes = prewarm(HAK_PREWARM_ALL);
        if (argument != NULL)
            *(size_t *)argument = bytes;
    }
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step); /* main has looked: pre-warmed threads */
    return NULL;
}

/* Lets the threads take their next step; returns the RSS after it. */
static uint64_t rss_kb_after_step(void) {
    pthread_barrier_wait(&step);
    uint64_t rss = bench_rss_kb();
    pthread_barrier_wait(&step);
    return rss;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 1, USAGE);
    unsigned threads = (unsigned)bench_argument_or(1, THREADS_DEFAULT, 1, BENCH_THREADS_MAX);
    prewarm = bench_find_prewarm();
    if (bench_rss_kb() == 0)
        bench_fail("/proc/self/smaps_rollup", ENOTSUP);

    static pthread_t workers[BENCH_THREADS_MAX];
    bench_barrier_init(&step, threads + 1);
    for (unsigned i = 0; i < threads; i++)
        workers[i] = bench_thread_start(body, i == 0 ? &prewarmed_bytes : NULL);
    uint64_t before = rss_kb_after_step();
    uint64_t allocated = rss_kb_after_step();
    uint64_t prewarmed = rss_kb_after_step();

    printf("threads %u  first-alloc-kb-per-thread %.1f", threads,
           ((double)allocated - (double)before) / threads);
    if (prewarm != NULL)
        printf("  prewarmed-kb-per-thread %.1f  prewarmed-blocks-kb %zu",
               ((double)prewarmed - (double)before) / threads, prewarmed_bytes / BENCH_KIB);
    printf("  peak-rss-kb %llu\n", (unsigned long long)bench_peak_rss_kb());
    for (unsigned i = 0; i < threads; i++)
        bench_thread_join(workers[i]);
    return EXIT_SUCCESS;
}
