/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A large heap without holes, read at random: what huge pages are good for. Each block holds the
 * number of the next, so that one access waits for the other.
 */
#include "memory.h"

#define USAGE                                                                                      \
    "dense [MIB [ACCESSES]]\n"                                                                     \
    "  MIB       of blocks of 256 B  (1024)\n"                                                     \
    "  ACCESSES  timed, in thousands  (10000)"

#define BLOCK_BYTES 256u

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 2, USAGE);
    uint64_t mib = bench_argument_or(1, 1024, 1, 1 << 16);
    uint64_t accesses = bench_argument_or(2, 10000, 1, 1 << 24) * 1000;
    size_t count = mib * MEMORY_MIB / BLOCK_BYTES;
    uint64_t ***blocks = memory_table(count * sizeof *blocks);
    memory_start(NULL);
    for (size_t i = 0; i < count; i++)
        blocks[i] = memory_block(BLOCK_BYTES);
    /* One cycle through all blocks in random order (Sattolo), each pointing to the next. */
    bench_rng rng = bench_rng_seeded(42, 0);
    for (size_t i = count - 1; i > 0; i--) {
        size_t k = bench_random(&rng) % i;
        uint64_t **swapped = blocks[i];
        blocks[i] = blocks[k];
        blocks[k] = swapped;
    }
    for (size_t i = 0; i < count; i++)
        *blocks[i] = (uint64_t *)blocks[(i + 1) % count];
    uint64_t rss = memory_sample() - memory.start_rss_kb;
    uint64_t start = bench_now_ns();
    uint64_t **at = blocks[0];
    for (uint64_t i = 0; i < accesses; i++)
        at = (uint64_t **)*(uint64_t *volatile *)at;
    uint64_t ns = bench_now_ns() - start;
    memory_end();
    memory_figure_without_limit("ps_per_access", (int64_t)(ns * 1000 / accesses), "ps");
    memory_figure_without_limit("rss_permille_of_live", (int64_t)(rss * 1000 / (mib * BENCH_KIB)),
                                "1/1000");
    return at == NULL;
}
