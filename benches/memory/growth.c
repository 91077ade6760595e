/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A vector that doubles until it has its final size, and writes each byte once. How much more than
 * the vector is ever resident?
 */
#include "memory.h"

#define USAGE                                                                                      \
    "growth [MIB]\n"                                                                               \
    "  MIB  final size  (1024)"

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 1, USAGE);
    size_t final = bench_argument_or(1, 1024, 1, 1 << 20) * MEMORY_MIB;
    memory_start(NULL);
    uint64_t start = bench_now_ns();
    char *vector = NULL;
    for (size_t size = 64, filled = 0; filled < final; filled = size, size *= 2) {
        size = size < final ? size : final;
        vector = realloc(vector, size);
        if (vector == NULL)
            bench_fail("realloc", ENOMEM);
        memset(vector + filled, 1, size - filled);
        atomic_store_explicit(&memory.live_bytes, (long long)size, memory_order_relaxed);
    }
    uint64_t ms = (bench_now_ns() - start) / 1000000;
    uint64_t peak = bench_peak_rss_kb() - memory.start_rss_kb;
    /* The last byte of each page is there still. */
    for (size_t at = 4095; at < final; at += 4096) {
        if (vector[at] != 1)
            bench_fail("the vector's contents", EIO);
    }
    memory_end();
    free(vector);
    memory_figure_without_limit("ms", (int64_t)ms, "ms");
    memory_figure("peak_permille_of_final", (int64_t)(peak * 1000 / (final / BENCH_KIB)), 1050,
                  "1/1000");
    return EXIT_SUCCESS;
}
