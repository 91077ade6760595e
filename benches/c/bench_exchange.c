/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads free each other's blocks: each puts a new block into a random place of one table that all share,
 * and frees the block that was there, of whichever thread. An operation is one such exchange.
 */
#include "bench.h"

#define USAGE                                                                                      \
    "bench_exchange THREADS ITERATIONS PLACES SEED\n"                                              \
    "  ITERATIONS  of each thread\n"                                                               \
    "  PLACES      of the table, for each thread"

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

typedef struct job {
    void **table; /* atomic */
    uint32_t places;
    uint64_t iterations;
    uint64_t seed;
    pthread_barrier_t started;
    pthread_barrier_t worked;
} job;

typedef struct worker {
    job *job;
    uint64_t index;
    bench_times *times;
    pthread_t thread;
} worker;

static void *body(void *argument) {
    worker *self = argument;
    job *job = self->job;
    bench_rng rng = bench_rng_seeded(job->seed, self->index);
    pthread_barrier_wait(&job->started);
    self->times->start_ns = bench_now_ns();
    for (uint64_t i = 0; i < job->iterations; i++) {
        uint64_t random = bench_random(&rng);
        void *block = bench_block(bench_size(&sizes, (uint32_t)(random >> 32)));
        void **place = &job->table[bench_below((uint32_t)random, job->places)];
        free(__atomic_exchange_n(place, block, __ATOMIC_ACQ_REL));
    }
    self->times->end_ns = bench_now_ns();
    pthread_barrier_wait(&job->worked);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5)
        bench_usage(USAGE);
    unsigned threads = (unsigned)bench_number(argv[1], 1, BENCH_THREADS_MAX, USAGE);
    job job = {
        .iterations = bench_number(argv[2], 1, UINT64_MAX / BENCH_THREADS_MAX, USAGE),
        .places =
            threads * (uint32_t)bench_number(argv[3], 1, INT32_MAX / BENCH_THREADS_MAX, USAGE),
        .seed = bench_number(argv[4], 0, UINT64_MAX, USAGE),
    };
    job.table = calloc(job.places, sizeof *job.table);
    if (job.table == NULL)
        bench_fail("calloc", ENOMEM);
    bench_barrier_init(&job.started, threads + 1);
    bench_barrier_init(&job.worked, threads + 1);

    static worker workers[BENCH_THREADS_MAX];
    static bench_times times[BENCH_THREADS_MAX];
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (worker){.job = &job, .index = i, .times = &times[i]};
        workers[i].thread = bench_thread_start(body, &workers[i]);
    }
    pthread_barrier_wait(&job.started);
    pthread_barrier_wait(&job.worked);
    bench_report(threads * job.iterations, bench_elapsed_ns(times, threads));
    for (unsigned i = 0; i < threads; i++)
        bench_thread_join(workers[i].thread);
    bench_slots_free(job.table, job.places);
    return EXIT_SUCCESS;
}
