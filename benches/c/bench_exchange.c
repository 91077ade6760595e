/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads free each other's blocks: each puts a new block into a random place of one table that all
 * share, and frees the block that was there, of whichever thread. An operation is one such
 * exchange.
 */
#include "bench.h"

#define USAGE                                                                                      \
    "bench_exchange THREADS ITERATIONS PLACES SEED\n"                                              \
    "  ITERATIONS  of each thread\n"                                                               \
    "  PLACES      of the table, for each thread"

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

static void **table; /* atomic */
static uint32_t places;
static uint64_t iterations;
static uint64_t seed;

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(seed, index);
    bench_begin(index);
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t random = bench_random(&rng);
        void *block = bench_block(bench_size(&sizes, (uint32_t)(random >> 32)));
        void **place = &table[bench_below((uint32_t)random, places)];
        free(__atomic_exchange_n(place, block, __ATOMIC_ACQ_REL));
    }
    bench_end(index);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 4, 4, USAGE);
    unsigned threads = (unsigned)bench_argument(1, 1, BENCH_THREADS_MAX);
    iterations = bench_argument(2, 1, UINT64_MAX / BENCH_THREADS_MAX);
    places = threads * (uint32_t)bench_argument(3, 1, INT32_MAX / BENCH_THREADS_MAX);
    seed = bench_argument(4, 0, UINT64_MAX);
    table = bench_array(places, sizeof *table);
    bench_team_run(threads, body, iterations);
    bench_slots_free(table, places);
    return EXIT_SUCCESS;
}
