/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What one batch costs while nobody waits: taken from slabs, checked and put through a transfer
 * cache, and returned to its slabs, with the blocks belonging to one heap or, in random order, to
 * many. It bounds the time that a class lock is held. Unlike the other programs it contains hakmem,
 * as it calls functions that no library exports.
 */
#include "hakmem.c"

#include "bench.h"

enum { BATCH = HK_BATCH_MAX, BATCHES = 64, ROUNDS = 21, BLOCKS = BATCH * BATCHES };

static struct hk_heap *owners[HK_HEAPS_MAX];
static void *blocks[BLOCKS];
static uint64_t take_ns[ROUNDS];
static uint64_t give_ns[ROUNDS];
static uint64_t check_ns[ROUNDS];
static uint64_t transfer_ns[ROUNDS];
static struct hk_mistakes mistakes;

/* Takes all blocks from `count` heaps, in batches as large as can be. */
static void take(size_t class, uint32_t count) {
    uint32_t each = BLOCKS / count;
    for (uint32_t taken = 0; taken < BLOCKS;) {
        uint32_t left = each - taken % each;
        uint32_t got =
            hk_heap_take(owners[taken / each], class, blocks + taken, left < BATCH ? left : BATCH);
        if (got == 0)
            bench_fail("hk_heap_take", ENOMEM);
        taken += got;
    }
}

static void shuffle(bench_rng *rng) {
    for (uint32_t i = BLOCKS; i > 1; i--) {
        uint32_t j = bench_below((uint32_t)bench_random(rng), i);
        void *block = blocks[i - 1];
        blocks[i - 1] = blocks[j];
        blocks[j] = block;
    }
}

/* Puts a batch into the transfer cache and takes it out again. */
static void transfer(size_t class, void **batch) {
    if (hk_transfer_put(class, batch, BATCH, NULL).count != BATCH ||
        hk_transfer_take(class, batch, BATCH) != BATCH)
        bench_fail("hk_transfer_put", ENOMEM);
}

static double per_batch(uint64_t ns[ROUNDS]) { return (double)bench_median(ns, ROUNDS) / BATCHES; }

static void measure(size_t class, uint32_t count) {
    bench_rng rng = bench_rng_seeded(42, count);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint64_t start = bench_now_ns();
        take(class, count);
        take_ns[round] = bench_now_ns() - start;
        shuffle(&rng);
        start = bench_now_ns();
        for (uint32_t i = 0; i < BLOCKS; i += BATCH)
            hk_heap_check_batch(class, blocks + i, BATCH, &mistakes);
        check_ns[round] = bench_now_ns() - start;
        start = bench_now_ns();
        for (uint32_t i = 0; i < BLOCKS; i += BATCH)
            transfer(class, blocks + i);
        transfer_ns[round] = bench_now_ns() - start;
        start = bench_now_ns();
        for (uint32_t i = 0; i < BLOCKS; i += BATCH)
            hk_heap_give(class, blocks + i, BATCH, &mistakes);
        give_ns[round] = bench_now_ns() - start;
    }
    printf("%6u %6u %14.0f %14.0f %14.0f %14.0f\n", hk_classes[class].block_bytes, count,
           per_batch(take_ns), per_batch(check_ns), per_batch(transfer_ns), per_batch(give_ns));
    if (mistakes.count != 0)
        bench_fail("a batch", EINVAL);
}

int main(void) {
    hk_heaps_start(HK_HEAPS_MAX, 1);
    for (uint32_t i = 0; i < HK_HEAPS_MAX; i++) {
        struct hk_heap *fresh = hk_heap_create();
        owners[i] = fresh != NULL ? hk_heaps_choose(&fresh, 0) : NULL;
        if (owners[i] == NULL)
            bench_fail("hk_heap_create", ENOMEM);
        owners[i]->threads = 1; /* so the next one is chosen fresh */
    }
    hk_transfer_start(1);
    printf("batches of %u, ns\n%6s %6s %14s %14s %14s %14s\n", (unsigned)BATCH, "bytes", "heaps",
           "from slabs", "check", "transfer", "to slabs");
    for (uint32_t owners = 1; owners <= HK_HEAPS_MAX; owners *= 4)
        measure(hk_class_of(64), owners);
    return EXIT_SUCCESS;
}
