/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Short tasks, each on a new thread. Each of THREADS workers starts a thread, waits for its end,
 * and starts the next one. A task frees the blocks that its predecessor left, fills an array of
 * SLOTS blocks, replaces as many of them, frees the array up to a few blocks for its successor, and
 * ends. One block in 16 is larger than 1 KiB. An operation is one block: a malloc and a free.
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

/* The state that the tasks of a worker pass on. Aligned, so that no two lie on one cache line. */
typedef struct worker {
    void *left[LEFT]; /* blocks of the last task; NULL before the first one */
    bench_rng rng;
} __attribute__((aligned(64))) worker;

static worker workers[BENCH_THREADS_MAX];

static void *new_block(uint64_t random) {
    bool is_larger = random % LARGER_ONE_IN == 0;
    return bench_block(
        bench_size(is_larger ? &larger_sizes : &small_sizes, (uint32_t)(random >> 32)));
}

static void *task(void *argument) {
    worker *self = argument;
    for (uint32_t i = 0; i < LEFT; i++)
        free(self->left[i]);

    void **slots = bench_array(slot_count, sizeof *slots);
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

static void work(unsigned index) {
    bench_begin(index);
    for (uint64_t i = 0; i < tasks; i++)
        bench_thread_join(bench_thread_start(task, &workers[index]));
    bench_end(index);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 4, 4, USAGE);
    unsigned threads = (unsigned)bench_argument(1, 1, BENCH_THREADS_MAX);
    tasks = bench_argument(2, 1, 1000000000);
    slot_count = (uint32_t)bench_argument(3, LEFT, 1000000);
    uint64_t seed = bench_argument(4, 0, UINT64_MAX);

    for (unsigned i = 0; i < threads; i++)
        workers[i].rng = bench_rng_seeded(seed, i);
    bench_team_run(threads, work, tasks * 2 * slot_count);
    for (unsigned i = 0; i < threads; i++) {
        for (uint32_t j = 0; j < LEFT; j++)
            free(workers[i].left[j]);
    }
    return EXIT_SUCCESS;
}
