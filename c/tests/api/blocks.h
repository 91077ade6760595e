/* blocks.h - sizes and alignments of the contract grid, and sets of live blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef TEST_BLOCKS_H
#define TEST_BLOCKS_H

#include "hakmem.h"
#include "test.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* The first and the last class, and the block size of a class as reported by the library. */
enum { FIRST_CLASS = 1 };

static TEST_UNUSED size_t class_bytes(unsigned index) {
    struct hak_class_stats stats;
    return hak_class_stats(index, &stats, sizeof stats) == 0 ? (size_t)stats.block_bytes : 0;
}

static TEST_UNUSED unsigned class_last(void) {
    unsigned index = FIRST_CLASS;
    while (class_bytes(index + 1))
        index++;
    return index;
}

/* Sizes above the last class: its boundary, granules, chunk sizes, and separate mappings. */
static const size_t large_sizes[] = {
    256 * KIB + 1, 300001,      320 * KIB - 1, 512 * KIB,    MIB - 1,         MIB, MIB + 1, 2 * MIB,
    3000007,       4 * MIB + 1, 8 * MIB - 16,  16 * MIB + 1, 32 * MIB + 4097,
};

enum { GRID_SIZES_MAX = 1024 };

/* Fills in every class boundary -1, 0, +1, and the large sizes. Returns the number of sizes. */
static TEST_UNUSED size_t grid_sizes(size_t *sizes) {
    size_t n = 0;
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        size_t boundary = class_bytes(index);
        sizes[n++] = boundary - 1;
        sizes[n++] = boundary;
        sizes[n++] = boundary + 1;
        REQUIRE(n + 3 + TEST_COUNT(large_sizes) < GRID_SIZES_MAX);
    }
    for (size_t i = 0; i < TEST_COUNT(large_sizes); i++)
        sizes[n++] = large_sizes[i];
    return n;
}

struct block {
    unsigned char *start;
    size_t bytes; /* usable */
    size_t size;  /* requested */
    size_t align;
    uint64_t key;
};

/* Small blocks are filled completely. In large blocks, only both ends and a spot in each 16 KiB are
 * filled, because a grid at 2 MiB alignment would otherwise need gigabytes. */
enum { WHOLE_BYTES = 64 * 1024, END_BYTES = 4096, SPOT_STEP = 16 * 1024, SPOT_BYTES = 8 };

static TEST_UNUSED void block_fill(const struct block *b) {
    if (b->bytes <= WHOLE_BYTES) {
        test_fill(b->start, b->bytes, b->key);
        return;
    }
    test_fill(b->start, END_BYTES, b->key);
    for (size_t at = SPOT_STEP; at < b->size; at += SPOT_STEP)
        test_fill(b->start + at, SPOT_BYTES, b->key);
    test_fill(b->start + b->bytes - END_BYTES, END_BYTES, b->key);
}

static TEST_UNUSED int block_intact(const struct block *b) {
    if (b->bytes <= WHOLE_BYTES)
        return test_intact(b->start, b->bytes, b->key) == b->bytes;
    int intact = test_intact(b->start, END_BYTES, b->key) == END_BYTES;
    for (size_t at = SPOT_STEP; at < b->size && at + SPOT_BYTES <= b->bytes - END_BYTES;
         at += SPOT_STEP)
        intact &= test_intact(b->start + at, SPOT_BYTES, b->key) == SPOT_BYTES;
    return intact && test_intact(b->start + b->bytes - END_BYTES, END_BYTES, b->key) == END_BYTES;
}

static TEST_UNUSED int block_compare(const void *a, const void *b) {
    const struct block *left = (const struct block *)a, *right = (const struct block *)b;
    return left->start < right->start ? -1 : left->start > right->start;
}

/* Sorts by address. This is a heap sort, because qsort of libc may allocate. */
static TEST_UNUSED void blocks_sort(struct block *blocks, size_t count) {
    for (size_t n = count, root = count / 2; n > 1;) {
        if (root > 0) {
            root--;
        } else {
            n--;
            struct block last = blocks[n];
            blocks[n] = blocks[0];
            blocks[0] = last;
        }
        for (size_t at = root, child; (child = 2 * at + 1) < n; at = child) {
            if (child + 1 < n && block_compare(&blocks[child], &blocks[child + 1]) < 0)
                child++;
            if (block_compare(&blocks[at], &blocks[child]) >= 0)
                break;
            struct block moved = blocks[at];
            blocks[at] = blocks[child];
            blocks[child] = moved;
        }
    }
}

/* Sorts the blocks and checks that they do not overlap. */
static TEST_UNUSED void blocks_check_apart(struct block *blocks, size_t count) {
    blocks_sort(blocks, count);
    for (size_t i = 1; i < count; i++) {
        AT("size align", blocks[i].size, blocks[i].align);
        CHECK_GE(blocks[i].start, blocks[i - 1].start + blocks[i - 1].bytes);
    }
}

/* Leaves free memory of all classes and of many large sizes, filled with non-zero bytes. */
static TEST_UNUSED void dirty_free_memory(void) {
    enum { PER_CLASS = 24 };
    unsigned char *blocks[PER_CLASS];
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++) {
        for (size_t i = 0; i < PER_CLASS; i++) {
            blocks[i] = (unsigned char *)hak_malloc(class_bytes(index));
            REQUIRE(blocks[i]);
            memset(blocks[i], 0xa5, hak_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < PER_CLASS; i++)
            hak_free(blocks[i]);
    }
    for (size_t i = 0; i < TEST_COUNT(large_sizes); i++) {
        unsigned char *block = (unsigned char *)hak_malloc(large_sizes[i]);
        REQUIRE(block);
        memset(block, 0x5a, hak_usable_size(block));
        hak_free(block);
    }
}

static TEST_UNUSED int with_checks(void) {
    const char *value = getenv("HAKMEM_CHECKS");
    return value && strcmp(value, "1") == 0;
}

static TEST_UNUSED uint64_t bytes_live(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats.bytes_live;
}

static TEST_UNUSED uint64_t class_live(unsigned index) {
    struct hak_class_stats stats;
    return hak_class_stats(index, &stats, sizeof stats) == 0 ? stats.blocks_live : UINT64_MAX;
}

/* Returns the class with blocks of exactly `bytes`, or 0 if there is none. */
static TEST_UNUSED unsigned class_of_bytes(size_t bytes) {
    for (unsigned index = FIRST_CLASS; class_bytes(index); index++)
        if (class_bytes(index) == bytes)
            return index;
    return 0;
}

#endif
