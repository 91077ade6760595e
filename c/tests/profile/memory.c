/* profile/memory.c - the memory of samples and stacks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "profile.h"
#include "profile/samples.h"

enum { SAMPLES = 10000, LEVELS = 9, DEPTH = 20, BYTES_MAX = 2 << 20 };

static void *blocks[SAMPLES];

/* Calls itself from two places, so that each path of nine choices is a distinct stack. */
__attribute__((noinline)) static void *allocate(size_t path, unsigned level, size_t size) {
    void *block;
    if (level == 0)
        block = hak_malloc(size);
    else if (level > LEVELS || path % 2 == 0)
        block = allocate(level > LEVELS ? path : path / 2, level - 1, size);
    else
        block = allocate(path / 2, level - 1, size);
    __asm__ volatile("" : : "r"(block) : "memory"); /* no tail call */
    return block;
}

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

TEST(ten_thousand_samples_with_512_stacks_take_at_most_two_mebibytes) {
    profile_start(1);
    hak_free(allocate(0, DEPTH, 100));
    uint64_t before = stats().bytes_metadata;
    for (size_t i = 0; i < SAMPLES; i++) {
        blocks[i] = allocate(i % (1 << LEVELS), DEPTH, i * 37 % 5000);
        REQUIRE(blocks[i] != NULL);
    }
    CHECK_GE(hk_samples_size().stacks, 1 << LEVELS);
    test_print("# %llu bytes of metadata\n", (unsigned long long)(stats().bytes_metadata - before));
    CHECK_LE(stats().bytes_metadata - before, BYTES_MAX);

    for (size_t i = 0; i < SAMPLES; i++)
        hak_free(blocks[i]);
    hak_profile_stop();
    CHECK_EQ(hak_validate(), 0);
}
