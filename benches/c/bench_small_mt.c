/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads replace random blocks of 16 to 1024 bytes, each in its own working set. An operation is one
 * replacement: a free and a malloc.
 */
#include "bench.h"

int main(int argc, char **argv) {
    bench_sizes sizes = {.min = 16, .max = BENCH_KIB};
    return bench_replace_main(
        argc, argv, &sizes,
        "bench_small_mt THREADS ITERATIONS WORKING_SET SEED\n"
        "  ITERATIONS and WORKING_SET (live blocks) are those of each thread");
}
