/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Short tasks, each on a new thread. Each of THREADS workers starts a thread, waits for its end, and starts
 * the next one. A task frees the blocks that its predecessor left, fills an array of SLOTS blocks, replaces
 * as many of them, frees the array up to a few blocks for its successor, and ends. One block in 16 is
 * larger than 1 KiB. An operation is one block: a malloc and a free.
 */
#include "bench.h"

#define USAGE                                                                                      \
    "bench_churn THREADS TASKS SLOTS SEED\n"                                                       \
    "  TASKS  of each worker\n"                                                                    \
    "  SLOTS  live blocks of a task"

enum { LEFT = 8, LARGER_ONE_IN = 16 };

static const bench_sizes small_sizes = {.min = 16, .max = BENCH_KIB};
static const bench_sizes larger_sizes = {.min = BENCH_KIB + 1, .max = 32 * BENCH_KIB};

static uint64_t tasks;
static uint32_t slot_count;
static pthread_barrier_t start_line;
static pthread_barrier_t finish_line;

/* A worker and the state that its tasks pass on. Aligned, so that no two lie on one cache line. */
typedef struct worker {
    void *left[LEFT]; /* blocks of the last task; NULL before the first one */
    bench_rng rng;
    bench_times *times;
    pthread_t thread;
} __attribute__((aligned(64))) worker;

static void *new_block(uint64_t random) {
    bool is_larger = random % LARGER_ONE_IN == 0;
    return bench_block(
        bench_size(is_larger ? &larger_sizes : &small_sizes, (uint32_t)(random >> 32)));
}

static void *task(void *argument) {
    worker *self = argument;
    for (uint32_t i = 0; i < LEFT; i++)
        free(self->left[i]);

    void **slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL)
        bench_fail("calloc", ENOMEM);
    for (uint32_t i = 0; i < slot_count; i++)
        slots[i] = new_block(bench_random(&self->rng));
    for (uint32_t i = 0; i < slot_count; i++) {
        void **slot = &slots[bench_below((uint32_t)bench_random(&self->rng), slot_count)];
        free(*slot);
        *slot = new_block(bench_random(&self->rng));
    }

    for (uint32_t i = 0; i < LEFT; i++)
        self->left[i] = slots[i];
    for (uint32_t i = LEFT; i < slot_count; i++)
        free(slots[i]);
    free(slots);
    return NULL;
}

static void *work(void *argument) {
    worker *self = argument;
    pthread_barrier_wait(&start_line);
    self->times->start_ns = bench_now_ns();
    for (uint64_t i = 0; i < tasks; i++)
        bench_thread_join(bench_thread_start(task, self));
    self->times->end_ns = bench_now_ns();
    pthread_barrier_wait(&finish_line);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 5)
        bench_usage(USAGE);
    unsigned threads = (unsigned)bench_number(argv[1], 1, BENCH_THREADS_MAX, USAGE);
    tasks = bench_number(argv[2], 1, 1000000000, USAGE);
    slot_count = (uint32_t)bench_number(argv[3], LEFT, 1000000, USAGE);
    uint64_t seed = bench_number(argv[4], 0, UINT64_MAX, USAGE);

    static worker workers[BENCH_THREADS_MAX];
    static bench_times times[BENCH_THREADS_MAX];
    bench_barrier_init(&start_line, threads);
    bench_barrier_init(&finish_line, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        workers[i] = (worker){.rng = bench_rng_seeded(seed, i), .times = &times[i]};
        workers[i].thread = bench_thread_start(work, &workers[i]);
    }
    pthread_barrier_wait(&finish_line);
    bench_report(threads * tasks * 2 * slot_count, bench_elapsed_ns(times, threads));

    for (unsigned i = 0; i < threads; i++) {
        bench_thread_join(workers[i].thread);
        for (uint32_t j = 0; j < LEFT; j++)
            free(workers[i].left[j]);
    }
    return EXIT_SUCCESS;
}
