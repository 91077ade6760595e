/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Private heaps beside the heaps of malloc. For each size of blocks, one thread allocates BLOCKS
 * blocks and frees them in the same order, in turn with hak_malloc and in a private heap. The table
 * has the time of one allocation and of one free in a private heap, and the ratios to those of
 * hak_malloc and hak_free, as medians of ROUNDS. The next row creates a heap, allocates BLOCKS
 * blocks of mixed sizes, and destroys it. In the last table, several threads do the same with
 * 64-byte blocks in one heap: the time of one block and its free, with all threads together, and
 * the processor time that it takes.
 *
 * The program contains hakmem.
 */
#include "hakmem.c"

#include <pthread.h>
#include <time.h>

#include "bench.h"

#define USAGE                                                                                      \
    "bench_heaps ROUNDS [BLOCKS]\n"                                                                \
    "  BLOCKS  of each round, 1000 unless given"

enum { BLOCKS_DEFAULT = 1000, BLOCKS_MOST = 1000000, ROUNDS_MOST = 100000, SEED = 42 };
enum { THREADS_MOST = 4, REPEATS = 5, SHARED_BYTES = 64 };

static const struct row {
    const char *name;
    bench_sizes sizes;
} rows[] = {
    {"16 B", {.min = 16, .max = 16}},          {"64 B", {.min = 64, .max = 64}},
    {"1 KiB", {.min = 1024, .max = 1024}},     {"4 KiB", {.min = 4096, .max = 4096}},
    {"1 B to 1 KiB", {.min = 1, .max = 1024}}, {"1 B to 8 KiB", {.min = 1, .max = 8192}},
};

static size_t block_count;
static void **blocks;
static uint32_t *sizes;

/* Of one round, in nanoseconds. */
typedef struct times {
    uint64_t alloc;
    uint64_t free;
} times;

static times measure(struct hak_heap *heap) {
    uint64_t begin = bench_now_ns();
    for (size_t i = 0; i < block_count; i++)
        blocks[i] = heap != NULL ? hak_heap_malloc(heap, sizes[i]) : hak_malloc(sizes[i]);
    uint64_t filled = bench_now_ns();
    for (size_t i = 0; i < block_count; i++)
        hak_free(blocks[i]);
    return (times){filled - begin, bench_now_ns() - filled};
}

static void choose_sizes(const bench_sizes *range) {
    bench_rng rng = bench_rng_seeded(SEED, 0);
    for (size_t i = 0; i < block_count; i++)
        sizes[i] = (uint32_t)bench_size(range, (uint32_t)bench_random(&rng));
}

static void row(const struct row *row, size_t rounds, uint64_t *results) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    if (heap == NULL)
        bench_fail("hak_heap_new", errno);
    choose_sizes(&row->sizes);
    for (size_t i = 0; i < rounds; i++) {
        times plain = measure(NULL);
        times private = measure(heap);
        results[i] = plain.alloc;
        results[rounds + i] = plain.free;
        results[2 * rounds + i] = private.alloc;
        results[3 * rounds + i] = private.free;
    }
    hak_heap_destroy(heap);

    double medians[4];
    for (size_t i = 0; i < 4; i++)
        medians[i] = (double)bench_median(results + i * rounds, rounds) / (double)block_count;
    printf("%-14s %8.2f %8.2f %8.2f %8.2f\n", row->name, medians[2], medians[2] / medians[0],
           medians[3], medians[3] / medians[1]);
}

static void row_of_heaps(size_t rounds, uint64_t *results) {
    choose_sizes(&rows[4].sizes);
    for (size_t i = 0; i < rounds; i++) {
        uint64_t begin = bench_now_ns();
        struct hak_heap *heap = hak_heap_new(NULL, 0);
        for (size_t j = 0; j < block_count; j++)
            *(volatile char *)hak_heap_malloc(heap, sizes[j]) = 1;
        hak_heap_destroy(heap);
        results[i] = bench_now_ns() - begin;
    }
    printf("A heap of %zu blocks from 1 B to 1 KiB, from its creation to its end: %.2f us\n",
           block_count, (double)bench_median(results, rounds) / 1000);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static size_t shared_rounds;
static pthread_barrier_t shared_start;

static void *share(void *heap) {
    void **mine = bench_array(block_count, sizeof *mine);
    pthread_barrier_wait(&shared_start);
    for (size_t round = 0; round < shared_rounds; round++) {
        for (size_t i = 0; i < block_count; i++)
            mine[i] = heap != NULL ? hak_heap_malloc(heap, SHARED_BYTES) : hak_malloc(SHARED_BYTES);
        for (size_t i = 0; i < block_count; i++)
            hak_free(mine[i]);
    }
    free(mine);
    return NULL;
}

static uint64_t processor_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The time and the processor time of `threads` threads, in picoseconds for each block. */
static void run_threads(struct hak_heap *heap, size_t threads, uint64_t *ps,
                        uint64_t *processor_ps) {
    pthread_t ids[THREADS_MOST];
    pthread_barrier_init(&shared_start, NULL, (unsigned)threads + 1);
    for (size_t i = 0; i < threads; i++) {
        int error = pthread_create(&ids[i], NULL, share, heap);
        if (error != 0)
            bench_fail("pthread_create", error);
    }

    uint64_t processor = processor_ns();
    pthread_barrier_wait(&shared_start);
    uint64_t begin = bench_now_ns();
    for (size_t i = 0; i < threads; i++)
        pthread_join(ids[i], NULL);
    uint64_t count = threads * shared_rounds * block_count;
    *ps = (bench_now_ns() - begin) * 1000 / count;
    *processor_ps = (processor_ns() - processor) * 1000 / count;
    pthread_barrier_destroy(&shared_start);
}

static void row_of_threads(size_t threads) {
    uint64_t ps[4][REPEATS];
    double medians[4];
    for (size_t i = 0; i < REPEATS; i++) {
        struct hak_heap *heap = hak_heap_new(NULL, 0);
        if (heap == NULL)
            bench_fail("hak_heap_new", errno);
        run_threads(heap, threads, &ps[0][i], &ps[1][i]);
        run_threads(NULL, threads, &ps[2][i], &ps[3][i]);
        hak_heap_destroy(heap);
    }
    for (size_t i = 0; i < 4; i++)
        medians[i] = (double)bench_median(ps[i], REPEATS) / 1000;
    printf("%-14zu %8.1f %8.1f %8.1f %8.1f\n", threads, medians[0], medians[1], medians[2],
           medians[3]);
}

static void table_of_threads(size_t rounds) {
    shared_rounds = rounds;
    printf("%-14s %8s %8s %8s %8s\n", "threads", "heap ns", "CPU ns", "malloc", "CPU ns");
    for (size_t threads = 1; threads <= THREADS_MOST; threads *= 2)
        row_of_threads(threads);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 1, 2, USAGE);
    size_t rounds = bench_argument(1, 1, ROUNDS_MOST);
    block_count = bench_argument_or(2, BLOCKS_DEFAULT, 1, BLOCKS_MOST);
    blocks = bench_array(block_count, sizeof *blocks);
    sizes = bench_array(block_count, sizeof *sizes);
    uint64_t *results = bench_array(4 * rounds, sizeof *results);

    printf("%-14s %8s %8s %8s %8s\n", "blocks", "alloc ns", "ratio", "free ns", "ratio");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        row(&rows[i], rounds, results);
    row_of_heaps(rounds, results);
    table_of_threads(rounds);

    free(results);
    free(sizes);
    free(blocks);
    return EXIT_SUCCESS;
}
