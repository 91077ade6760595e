/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads replace random blocks, each in its own working set. An operation is one replacement: a
 * free and a malloc. Each row of the table is a program, whose name is defined when it is compiled.
 */
#include "bench.h"

#define USAGE                                                                                      \
    BENCH_NAME " THREADS ITERATIONS WORKING_SET SEED\n"                                            \
               "  ITERATIONS and WORKING_SET (live blocks) are those of each thread"

static const uint32_t pool_sizes[] = {
    8 * BENCH_KIB,  16 * BENCH_KIB, 24 * BENCH_KIB, 32 * BENCH_KIB,
    40 * BENCH_KIB, 48 * BENCH_KIB, 52 * BENCH_KIB,
};

static const struct row {
    const char *name;
    bench_sizes sizes;
} rows[] = {
    {"bench_small_mt", {.min = 16, .max = BENCH_KIB}},
    {"bench_mid_large_mt", {.min = 8 * BENCH_KIB, .max = 32 * BENCH_KIB}},
    {"bench_pool_tls",
     {.choices = pool_sizes, .choice_count = sizeof pool_sizes / sizeof pool_sizes[0]}},
};

static const bench_sizes *sizes;
static uint64_t iterations;
static uint32_t working_set;
static uint64_t seed;

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(seed, index);
    void **slots = bench_slots_new(working_set, sizes, &rng);
    bench_begin(index);
    bench_replace(slots, working_set, iterations, sizes, &rng);
    bench_end(index);
    bench_slots_free(slots, working_set);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 4, 4, USAGE);
    unsigned threads = (unsigned)bench_argument(1, 1, BENCH_THREADS_MAX);
    iterations = bench_argument(2, 1, UINT64_MAX / BENCH_THREADS_MAX);
    working_set = (uint32_t)bench_argument(3, 1, INT32_MAX);
    seed = bench_argument(4, 0, UINT64_MAX);
    const struct row *row = rows;
    while (strcmp(row->name, BENCH_NAME) != 0)
        row++;
    sizes = &row->sizes;
    bench_team_run(threads, body, iterations);
    return EXIT_SUCCESS;
}
