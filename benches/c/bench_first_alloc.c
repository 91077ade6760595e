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

typedef struct worker {
    bool warm;
    uint64_t prewarm_ns;
    uint64_t alloc_ns;
    pthread_t thread;
} worker;

static void *body(void *argument) {
    worker *self = argument;
    uint64_t start = bench_now_ns(); /* once more than needed: its own first call is slow */
    if (self->warm) {
        start = bench_now_ns();
        prewarm(HAK_PREWARM_ALL);
        self->prewarm_ns = bench_now_ns() - start;
    }
    start = bench_now_ns();
    void *block = malloc(BLOCK_BYTES);
    self->alloc_ns = bench_now_ns() - start;
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

    static worker workers[2 * BENCH_THREADS_MAX];
    unsigned kinds = prewarm != NULL ? 2 : 1;
    bench_barrier_init(&measured, 2);
    bench_barrier_init(&finished, kinds * threads + 1);
    for (unsigned i = 0; i < kinds * threads; i++) {
        workers[i].warm = i % kinds == 1;
        workers[i].thread = bench_thread_start(body, &workers[i]);
        pthread_barrier_wait(&measured);
    }
    pthread_barrier_wait(&finished);

    static uint64_t cold[BENCH_THREADS_MAX], warm[BENCH_THREADS_MAX], filling[BENCH_THREADS_MAX];
    for (unsigned i = 0; i < threads; i++)
        cold[i] = workers[i * kinds].alloc_ns;
    printf("cold-ns %llu", (unsigned long long)bench_median(cold, threads));
    if (prewarm != NULL) {
        for (unsigned i = 0; i < threads; i++) {
            warm[i] = workers[i * kinds + 1].alloc_ns;
            filling[i] = workers[i * kinds + 1].prewarm_ns;
        }
        printf("  prewarmed-ns %llu  prewarm-ns %llu",
               (unsigned long long)bench_median(warm, threads),
               (unsigned long long)bench_median(filling, threads));
    }
    printf("  peak-rss-kb %llu\n", (unsigned long long)bench_peak_rss_kb());
    for (unsigned i = 0; i < kinds * threads; i++)
        bench_thread_join(workers[i].thread);
    return EXIT_SUCCESS;
}
