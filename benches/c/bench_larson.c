/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The server of Larson and Krishnan (1998): each thread replaces random blocks of 8 to 1024 bytes
 * in an array, then starts a successor that takes the array over, and ends. So most blocks are
 * freed by a thread that did not allocate them, and threads come and go. The work is fixed (the
 * original runs for a fixed time), so that runs can be compared. An operation is one replacement.
 */
#include "bench.h"

#define USAGE                                                                                      \
    "bench_larson [THREADS [ROUNDS [ITERATIONS [BLOCKS [SEED]]]]]\n"                               \
    "  THREADS     threads at a time (2)\n"                                                        \
    "  ROUNDS      generations of threads, one after the other (100)\n"                            \
    "  ITERATIONS  replacements in the life of a thread (50000)\n"                                 \
    "  BLOCKS      live blocks of each thread (5000)\n"                                            \
    "  SEED        (42)"

static const bench_sizes sizes = {.min = 8, .max = 1024};

static pthread_barrier_t start_line;
static pthread_barrier_t finish_line;

/* What the generations hand over. Aligned, so that no two lie on one cache line. */
typedef struct lineage {
    void **slots;
    uint32_t blocks;
    uint64_t iterations;
    uint64_t rounds_left;
    bench_rng rng;
    bench_times *times;
} __attribute__((aligned(64))) lineage;

static void *generation(void *argument);

/* Detached: no one waits for a generation, the last one meets main at the finish line. */
static void lineage_continue(lineage *line) {
    int error = pthread_detach(bench_thread_start(generation, line));
    if (error != 0)
        bench_fail("pthread_detach", error);
}

static void *generation(void *argument) {
    lineage *line = argument;
    bench_replace(line->slots, line->blocks, line->iterations, &sizes, &line->rng);
    if (--line->rounds_left > 0) {
        lineage_continue(line);
        return NULL;
    }
    line->times->end_ns = bench_now_ns();
    pthread_barrier_wait(&finish_line);
    return NULL;
}

static void *first_generation(void *argument) {
    lineage *line = argument;
    pthread_barrier_wait(&start_line);
    line->times->start_ns = bench_now_ns();
    return generation(line);
}

/* The argument at `index`, or `otherwise` when there are fewer. */
static uint64_t argument_or(int argc, char **argv, int index, uint64_t otherwise, uint64_t min,
                            uint64_t max) {
    return index < argc ? bench_number(argv[index], min, max, USAGE) : otherwise;
}

int main(int argc, char **argv) {
    if (argc > 6)
        bench_usage(USAGE);
    unsigned threads = (unsigned)argument_or(argc, argv, 1, 2, 1, BENCH_THREADS_MAX);
    uint64_t rounds = argument_or(argc, argv, 2, 100, 1, 1000000);
    uint64_t iterations = argument_or(argc, argv, 3, 50000, 1, 1000000000);
    uint32_t blocks = (uint32_t)argument_or(argc, argv, 4, 5000, 1, INT32_MAX);
    uint64_t seed = argument_or(argc, argv, 5, 42, 0, UINT64_MAX);

    static lineage lines[BENCH_THREADS_MAX];
    static bench_times times[BENCH_THREADS_MAX];
    bench_barrier_init(&start_line, threads + 1);
    bench_barrier_init(&finish_line, threads + 1);
    for (unsigned i = 0; i < threads; i++) {
        lines[i] = (lineage){
            .blocks = blocks,
            .iterations = iterations,
            .rounds_left = rounds,
            .rng = bench_rng_seeded(seed, i),
            .times = &times[i],
        };
        lines[i].slots = bench_slots_new(blocks, &sizes, &lines[i].rng);
        int error = pthread_detach(bench_thread_start(first_generation, &lines[i]));
        if (error != 0)
            bench_fail("pthread_detach", error);
    }
    pthread_barrier_wait(&start_line);
    pthread_barrier_wait(&finish_line);
    bench_report(threads * rounds * iterations, bench_elapsed_ns(times, threads));
    for (unsigned i = 0; i < threads; i++)
        bench_slots_free(lines[i].slots, blocks);
    return EXIT_SUCCESS;
}
