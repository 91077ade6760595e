/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Private heaps beside the heaps of malloc. For each size of blocks, one thread allocates BLOCKS blocks and
 * frees them in the same order, in turn with hak_malloc and in a private heap. The table has the time of one
 * allocation and of one free in a private heap, and the ratios to those of hak_malloc and hak_free, as medians
 * of ROUNDS. The last row creates a heap, allocates BLOCKS blocks of mixed sizes, and destroys it.
 *
 * The program contains hakmem.
 */
#include "hakmem.c"

#include "bench.h"

#define USAGE                                                                                      \
    "bench_heaps ROUNDS [BLOCKS]\n"                                                                \
    "  BLOCKS  of each round, 1000 unless given"

enum { BLOCKS_DEFAULT = 1000, BLOCKS_MOST = 1000000, ROUNDS_MOST = 100000, SEED = 42 };

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

static void *array(size_t count, size_t bytes) {
    void *array = calloc(count, bytes);
    if (array == NULL)
        bench_fail("calloc", ENOMEM);
    return array;
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

int main(int argc, char **argv) {
    if (argc != 2 && argc != 3)
        bench_usage(USAGE);
    size_t rounds = bench_number(argv[1], 1, ROUNDS_MOST, USAGE);
    block_count = argc == 3 ? bench_number(argv[2], 1, BLOCKS_MOST, USAGE) : BLOCKS_DEFAULT;
    blocks = array(block_count, sizeof *blocks);
    sizes = array(block_count, sizeof *sizes);
    uint64_t *results = array(4 * rounds, sizeof *results);

    printf("%-14s %8s %8s %8s %8s\n", "blocks", "alloc ns", "ratio", "free ns", "ratio");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        row(&rows[i], rounds, results);
    row_of_heaps(rounds, results);

    free(results);
    free(sizes);
    free(blocks);
    return EXIT_SUCCESS;
}
