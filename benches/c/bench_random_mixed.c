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
    if (argc != 4 && argc != 5)
        bench_usage(USAGE);
    uint64_t iterations = bench_number(argv[1], 1, UINT64_MAX, USAGE);
    bench_sizes sizes = {
        .min = SIZE_MIN,
        .max = (uint32_t)bench_number(argv[2], SIZE_MIN, SIZE_MAX_BYTES, USAGE),
    };
    bench_rng rng = bench_rng_seeded(bench_number(argv[3], 0, UINT64_MAX, USAGE), 0);
    uint32_t working_set = WORKING_SET_DEFAULT;
    if (argc == 5)
        working_set = (uint32_t)bench_number(argv[4], 1, INT32_MAX, USAGE);

    void **slots = bench_slots_new(working_set, &sizes, &rng);
    uint64_t start = bench_now_ns();
    bench_replace(slots, working_set, iterations, &sizes, &rng);
    bench_report(iterations, bench_now_ns() - start);
    bench_slots_free(slots, working_set);
    return EXIT_SUCCESS;
}
