/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Four threads allocate blocks of 16 B to 64 KiB and free them, all or all but every KEEPth; then
 * the process is idle. How much memory stays resident? The threads live on: a server's do.
 */
#include "memory.h"

#define USAGE                                                                                      \
    "burst [MIB [KEEP [SECONDS]]]\n"                                                               \
    "  MIB      allocated by all threads together  (512)\n"                                        \
    "  KEEP     every KEEPth block is kept; 0: none  (0)\n"                                        \
    "  SECONDS  idle before the last look  (5)"

#define THREADS 4u
#define ALLOWED_KB 8192 /* above what must be there */

static size_t thread_bytes;
static uint64_t keep_every;
static pthread_barrier_t allocated, looked;

static struct burst {
    void **blocks;
    size_t count;
    size_t count_max;
} bursts[THREADS];

static void body(unsigned index) {
    struct burst *burst = &bursts[index];
    bench_rng rng = bench_rng_seeded(42, index);
    for (size_t bytes = 0; bytes < thread_bytes && burst->count < burst->count_max;) {
        size_t size = memory_size(&rng, 4, 16);
        burst->blocks[burst->count++] = memory_block(size);
        bytes += size;
    }
    pthread_barrier_wait(&allocated);
    pthread_barrier_wait(&looked);
    for (size_t i = 0; i < burst->count; i++) {
        if (keep_every != 0 && i % keep_every == 0)
            continue;
        memory_block_free(burst->blocks[i]);
        burst->blocks[i] = NULL;
    }
    bench_end(index);
}

/* KiB of the OS pages in which a block lies that was not freed: a bit for each page there can be,
 * which are touched only where blocks are. */
static uint64_t held_kb(void) {
    const size_t pages_max = (size_t)1 << (47 - 12);
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uint8_t *seen = mmap(NULL, pages_max / 8, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (seen == MAP_FAILED)
        bench_fail("mmap", errno);
    uint64_t held = 0;
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < bursts[t].count; i++) {
            uintptr_t block = (uintptr_t)bursts[t].blocks[i];
            if (block == 0)
                continue;
            uintptr_t last = (block + *(size_t *)block - 1) / page;
            for (uintptr_t at = block / page; at <= last; at++) {
                held += (seen[at / 8] >> at % 8 & 1) == 0;
                seen[at / 8] |= (uint8_t)(1u << at % 8);
            }
        }
    }
    munmap(seen, pages_max / 8);
    return held * page / BENCH_KIB;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 3, USAGE);
    uint64_t mib = bench_argument_or(1, 512, 1, 1 << 20);
    keep_every = bench_argument_or(2, 0, 0, 1 << 20);
    uint64_t seconds = bench_argument_or(3, 5, 1, 3600);
    thread_bytes = mib * MEMORY_MIB / THREADS;
    bench_barrier_init(&allocated, THREADS + 1);
    bench_barrier_init(&looked, THREADS + 1);
    for (size_t t = 0; t < THREADS; t++) {
        bursts[t].count_max = thread_bytes / 4096 + 4096; /* the mean size is twice that */
        bursts[t].blocks = memory_table(bursts[t].count_max * sizeof(void *));
    }
    memory_start(NULL);
    bench_team_start(THREADS, body);
    pthread_barrier_wait(&allocated);
    uint64_t peak = memory_sample(), live = memory_live_kb();
    pthread_barrier_wait(&looked);
    bench_team_wait();
    memory_sleep_ms(seconds * 1000);
    uint64_t rss = memory_end();
    memory_figure_without_limit("peak_percent_of_live",
                                (int64_t)((peak - memory.start_rss_kb) * 100 / live), "%");
    if (keep_every == 0) {
        memory_figure("rss_above_start", (int64_t)(rss - memory.start_rss_kb), ALLOWED_KB, "KiB");
    } else {
        uint64_t held = held_kb();
        memory_figure_without_limit("pages_with_live_blocks", (int64_t)held, "KiB");
        memory_figure("rss", (int64_t)rss, (int64_t)held * 5 / 4 + ALLOWED_KB, "KiB");
    }
    bench_team_join();
    return EXIT_SUCCESS;
}
