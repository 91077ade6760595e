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

static uint64_t rounds;
static uint64_t iterations;
static uint32_t blocks;

/* The state that generations hand over. Aligned, so that no two lie on one cache line. */
typedef struct lineage {
    unsigned index;
    void **slots;
    uint64_t rounds_done;
    bench_rng rng;
} __attribute__((aligned(64))) lineage;

static lineage lines[BENCH_THREADS_MAX];

static void *generation(void *argument);

/* Detached, because main does not join generations. It waits for the bench_end of the last ones. */
static void start_generation(lineage *line) {
    int error = pthread_detach(bench_thread_start(generation, line));
    if (error != 0)
        bench_fail("pthread_detach", error);
}

static void *generation(void *argument) {
    lineage *line = argument;
    if (line->rounds_done == 0)
        bench_begin(line->index);
    bench_replace(line->slots, blocks, iterations, &sizes, &line->rng);
    if (++line->rounds_done < rounds)
        start_generation(line);
    else
        bench_end(line->index);
    return NULL;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 5, USAGE);
    unsigned threads = (unsigned)bench_argument_or(1, 2, 1, BENCH_THREADS_MAX);
    rounds = bench_argument_or(2, 100, 1, 1000000);
    iterations = bench_argument_or(3, 50000, 1, 1000000000);
    blocks = (uint32_t)bench_argument_or(4, 5000, 1, INT32_MAX);
    uint64_t seed = bench_argument_or(5, 42, 0, UINT64_MAX);

    bench_team_init(threads);
    for (unsigned i = 0; i < threads; i++) {
        lines[i] = (lineage){.index = i, .rng = bench_rng_seeded(seed, i)};
        lines[i].slots = bench_slots_new(blocks, &sizes, &lines[i].rng);
        start_generation(&lines[i]);
    }
    uint64_t elapsed_ns = bench_team_wait();
    bench_report(threads * rounds * iterations, elapsed_ns);
    for (unsigned i = 0; i < threads; i++)
        bench_slots_free(lines[i].slots, blocks);
    return EXIT_SUCCESS;
}
