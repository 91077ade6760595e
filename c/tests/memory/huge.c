/* huge.c - large heaps use huge pages, small heaps do not, and huge pages return free memory.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=200
#include "test.h"

#include <hakmem.h>
#include <sys/resource.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { BLOCKS = 200000 };

static void *blocks[BLOCKS];

/* Returns a value from /proc/self/smaps_rollup, in bytes. Does not call malloc. */
static size_t smaps(const char *name) {
    char text[8192];
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    REQUIRE(file != NULL);
    size_t read = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[read] = '\0';
    const char *line = strstr(text, name);
    REQUIRE(line != NULL);
    return strtoul(line + strlen(name), NULL, 10) * KIB;
}

static size_t huge_bytes(void) { return smaps("AnonHugePages:"); }

static void require_huge_pages(void) {
    char text[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
    if (file != NULL) {
        CHECK(fgets(text, sizeof text, file) != NULL);
        fclose(file);
    }
    if (strstr(text, "[madvise]") == NULL)
        SKIP("no huge pages on request");
    void *probe = hak_malloc(16 * MIB);
    memset(probe, 1, 16 * MIB);
    size_t got = huge_bytes();
    hak_free(probe);
    hak_trim();
    if (got < 8 * MIB)
        SKIP("the kernel has no huge pages left");
}

/* Allocates about 64 MiB of blocks and touches all of their pages. */
static void fill(uint64_t seed) {
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = test_random(&seed) % 640 + 8;
        blocks[i] = memset(hak_malloc(size), 1, size);
    }
}

static void free_all(void) {
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(blocks[i]);
}

/* Makes slow calls, in which a single-threaded program returns memory. */
static void wait_for_decay(void) {
    for (int i = 0; i < 60; i++) {
        test_sleep_ms(20);
        for (int j = 0; j < 40; j++)
            hak_free(hak_malloc(300 * KIB + (size_t)j * 4 * KIB));
    }
}

static long faults(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_minflt;
}

static void in_small_program(void *unused) {
    (void)unused;
    for (size_t i = 0; i < 3 * KIB; i++)
        memset(hak_malloc(KIB), 1, KIB);
    CHECK_EQ(huge_bytes(), 0);
}

TEST(a_heap_below_the_threshold_has_no_huge_page) {
    CHECK_EXITED(test_in_child(in_small_program, NULL));
}

static void with_blocks_of_many_sizes(void *unused) {
    (void)unused;
    for (size_t size = 16; size <= 64 * KIB; size += size / 16 / 16 * 16 + 16)
        memset(hak_malloc(size), 1, size);
    for (size_t i = 0; i < 256; i++)
        memset(hak_malloc(KIB), 1, KIB); /* four slabs */
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_GE(stats.bytes_slabs, 5 * MIB);
    CHECK_EQ(stats.bytes_huge, 0);
    CHECK_EQ(huge_bytes(), 0);
}

TEST(a_heap_of_many_slabs_that_hold_little_has_no_huge_page) {
    CHECK_EXITED(test_in_child(with_blocks_of_many_sizes, NULL));
}

TEST(a_large_heap_lies_in_huge_pages) {
    require_huge_pages();
    long before = faults();
    fill(test_seed(1));
    CHECK_GE(huge_bytes() * 100, test_rss() * 85);
    CHECK_LE(faults() - before, 3000); /* 17,000 with small pages */
    free_all();
    hak_trim();
}

/* About 170 MiB. Slabs of the small blocks take longer to fill than the huge page around them, and
 * longer to become free. */
static void fill_with_two_speeds(uint64_t seed) {
    for (size_t i = 0; i < BLOCKS; i++) {
        uint64_t random = test_random(&seed);
        size_t size = random % 8 == 0 ? 16 + random / 8 % 16 * 16 : 1000;
        blocks[i] = memset(hak_malloc(size), 1, size);
    }
}

TEST(blocks_that_are_freed_in_order_leave_their_huge_pages_whole_for_the_next_ones) {
    require_huge_pages();
    CHECK_EQ(hak_option_set("purge_delay_ms", "86400000"), 0); /* however slow the machine is */
    uint64_t seed = test_seed(4);
    fill_with_two_speeds(seed);
    free_all();
    long before = faults();
    fill_with_two_speeds(seed);
    CHECK_LE(faults() - before, 1000); /* 6371 if each page is broken up that is partly free */
    free_all();
    hak_trim();
    CHECK_EQ(hak_option_set("purge_delay_ms", "200"), 0);
}

TEST(what_is_free_leaves_huge_pages_and_the_next_burst_gets_them_again) {
    require_huge_pages();
    size_t start = test_rss();
    for (uint64_t round = 0; round < 2; round++) {
        AT("round", round);
        fill(test_seed(2 + round));
        CHECK_GE(huge_bytes(), 40 * MIB);
        free_all();
        wait_for_decay();
        CHECK_LE(test_rss(), start + 8 * MIB);
    }
}

TEST(blocks_that_stay_do_not_keep_the_huge_pages_around_them) {
    require_huge_pages();
    size_t start = test_rss();
    fill(test_seed(4));
    for (size_t i = 0; i < BLOCKS; i++)
        if (i / 500 % 16 != 0) /* every 16th run of 500 stays, in total 4 MiB */
            hak_free(blocks[i]);
    wait_for_decay();
    CHECK_LE(test_rss(), start + 24 * MIB);
    for (size_t i = 0; i < BLOCKS; i++)
        if (i / 500 % 16 == 0)
            hak_free(blocks[i]);
    hak_trim();
}

TEST(buffers_of_which_little_is_used_hold_little) {
    require_huge_pages();
    size_t start = test_rss();
    fill(test_seed(5));
    size_t filled = test_rss();
    static char *buffers[1000];
    for (size_t i = 0; i < TEST_COUNT(buffers); i++) {
        buffers[i] = hak_malloc(64 * KIB);
        memset(buffers[i], 1, 100);
    }
    CHECK_LE(test_rss() - filled, 8 * MIB);
    for (size_t i = 0; i < TEST_COUNT(buffers); i++)
        hak_free(buffers[i]);
    free_all();
    hak_trim();
    CHECK_LE(test_rss(), start + 8 * MIB);
}

TEST(a_mapping_of_its_own_lies_in_huge_pages_also_after_it_grew) {
    require_huge_pages();
    char *block = hak_malloc(8 * MIB);
    memset(block, 1, 8 * MIB);
    CHECK_GE(huge_bytes(), 8 * MIB);
    for (size_t size = 16 * MIB; size <= 64 * MIB; size *= 2) {
        block = hak_realloc(block, size);
        REQUIRE(block != NULL);
        memset(block + size / 2, 1, size / 2);
        AT("MiB", size / MIB);
        CHECK_GE(huge_bytes() * 100, size * 85);
    }
    hak_free(block);
    hak_trim();
}
