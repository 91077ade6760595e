/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * How long a thread waits for its first block of 8 KiB: cold, and, where the allocator is hakmem,
 * after the thread has called hak_prewarm. All threads stay alive, as in a pool of workers; every
 * other thread pre-warms, so that both kinds meet the same state of the process.
 */
#include "bench.h"
#include "bench_hakmem.h"

#define USAGE                                                                                      \
    "bench_first_alloc [THREADS]\n"                                                                \
    "  THREADS  threads of each kind (64)"

#define BLOCK_BYTES (8 * BENCH_KIB)
#define THREADS_DEFAULT 64u

static hak_prewarm_function *prewarm; /* NULL: the allocator has none */
static pthread_barrier_t measured;    /* this thread is done: the next one may start */
static pthread_barrier_t finished;    /* all are done: all end */

static unsigned kinds; /* of threads: cold ones, and pre-warmed ones if there are any */
static uint64_t alloc_ns[2][BENCH_THREADS_MAX]; /* by kind */
static uint64_t prewarm_ns[BENCH_THREADS_MAX];

static void *body(void *argument) {
    unsigned index = (unsigned)(uintptr_t)argument, kind = index % kinds;
    uint64_t start = bench_now_ns(); /* once more than needed: its own first call is slow */
    if (kind == 1) {
        start = bench_now_ns();
        prewarm(HAK_PREWARM_ALL);
        prewarm_ns[index / kinds] = bench_now_ns() - start;
    }
    start = bench_now_ns();
    void *block = malloc(BLOCK_BYTES);
    alloc_ns[kind][index / kinds] = bench_now_ns() - start;
    if (block == NULL)
        bench_fail("malloc", ENOMEM);
    free(block);
    pthread_barrier_wait(&measured);
    pthread_barrier_wait(&finished);
    return NULL;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 1, USAGE);
    unsigned threads = (unsigned)bench_argument_or(1, THREADS_DEFAULT, 1, BENCH_THREADS_MAX);
    prewarm = bench_find_prewarm();
    kinds = prewarm != NULL ? 2 : 1;

    static pthread_t workers[2 * BENCH_THREADS_MAX];
    bench_barrier_init(&measured, 2);
    bench_barrier_init(&finished, kinds * threads + 1);
    for (unsigned i = 0; i < kinds * threads; i++) {
        workers[i] = bench_thread_start(body, (void *)(uintptr_t)i);
        pthread_barrier_wait(&measured);
    }
    pthread_barrier_wait(&finished);

    printf("cold-ns %llu", (unsigned long long)bench_median(alloc_ns[0], threads));
    if (prewarm != NULL)
        printf("  prewarmed-ns %llu  prewarm-ns %llu",
               (unsigned long long)bench_median(alloc_ns[1], threads),
               (unsigned long long)bench_median(prewarm_ns, threads));
    printf("  peak-rss-kb %llu\n", (unsigned long long)bench_peak_rss_kb());
    for (unsigned i = 0; i < kinds * threads; i++)
        bench_thread_join(workers[i]);
    return EXIT_SUCCESS;
}
