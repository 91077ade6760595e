/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One thread replaces random blocks of 16 to SIZE bytes in a working set. An operation is one
 * replacement: a free and a malloc.
 */
#include "bench.h"

#define USAGE                                                                                      \
    "bench_random_mixed ITERATIONS SIZE SEED [WORKING_SET]\n"                                      \
    "  SIZE         largest block in bytes, at least 16\n"                                         \
    "  WORKING_SET  number of live blocks, 2048 unless given"

#define SIZE_MIN 16u
#define SIZE_MAX_BYTES (1u << 30)
#define WORKING_SET_DEFAULT 2048u

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 3, 4, USAGE);
    uint64_t iterations = bench_argument(1, 1, UINT64_MAX);
    bench_sizes sizes = {
        .min = SIZE_MIN,
        .max = (uint32_t)bench_argument(2, SIZE_MIN, SIZE_MAX_BYTES),
    };
    bench_rng rng = bench_rng_seeded(bench_argument(3, 0, UINT64_MAX), 0);
    uint32_t working_set = (uint32_t)bench_argument_or(4, WORKING_SET_DEFAULT, 1, INT32_MAX);

    void **slots = bench_slots_new(working_set, &sizes, &rng);
    uint64_t start = bench_now_ns();
    bench_replace(slots, working_set, iterations, &sizes, &rng);
    bench_report(iterations, bench_now_ns() - start);
    bench_slots_free(slots, working_set);
    return EXIT_SUCCESS;
}
