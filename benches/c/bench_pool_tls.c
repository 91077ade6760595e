/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads replace random blocks of the seven pool sizes, each in its own working set. An operation
 * is one replacement: a free and a malloc.
 */
#include "bench.h"

static const uint32_t pool_sizes[] = {
    8 * BENCH_KIB,  16 * BENCH_KIB, 24 * BENCH_KIB, 32 * BENCH_KIB,
    40 * BENCH_KIB, 48 * BENCH_KIB, 52 * BENCH_KIB,
};

int main(int argc, char **argv) {
    bench_sizes sizes = {
        .choices = pool_sizes,
        .choice_count = sizeof pool_sizes / sizeof pool_sizes[0],
    };
    return bench_replace_main(
        argc, argv, &sizes,
        "bench_pool_tls THREADS ITERATIONS WORKING_SET SEED\n"
        "  ITERATIONS and WORKING_SET (live blocks) are those of each thread");
}
