/* limits.c - limit_soft returns all free memory, limit_hard makes allocations fail.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_LIMIT_SOFT=100000000 HAKMEM_LIMIT_HARD=200000000 HAKMEM_PURGE_DELAY_MS=3600000 HAKMEM_PURGE_THREAD_MB=0
#include "test.h"

#include <hakmem.h>

#define SOFT ((size_t)100000000)
#define HARD ((size_t)200000000)
#define MIB ((size_t)1 << 20)

enum { BLOCKS_MAX = 400000 };
static void *blocks[BLOCKS_MAX];

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

/* Allocates and touches blocks up to `bytes` or until memory is exhausted. Returns their number. */
static size_t hold(size_t block_bytes, size_t bytes) {
    size_t count = 0;
    while (count < BLOCKS_MAX && (count + 1) * block_bytes <= bytes) {
        blocks[count] = malloc(block_bytes);
        if (blocks[count] == NULL)
            break;
        memset(blocks[count++], 1, block_bytes);
    }
    return count;
}

static void release(size_t count) {
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
}

TEST(statistics_and_report_show_the_limits) {
    CHECK_EQ(stats().limit_soft, SOFT);
    CHECK_EQ(stats().limit_hard, HARD);
    char value[32];
    CHECK_EQ(hak_option_get("limit_soft", value, sizeof value), 0);
    CHECK_STR(value, "100000000");
    CHECK_EQ(hak_option_get("limit_hard", value, sizeof value), 0);
    CHECK_STR(value, "200000000");
}

/* Below the soft limit, no memory is returned (the delay is an hour). Above it, all free
 * memory is. */
TEST(above_the_soft_limit_everything_free_goes_back) {
    size_t start = test_rss();
    release(hold(4096, SOFT * 8 / 10));
    CHECK_GE(test_rss(), start + SOFT * 7 / 10);
    /* Allocate blocks that do not fit into the free memory, which consists of slabs and runs of 64
     * KiB. */
    void *large = malloc(40 * MIB);
    REQUIRE(large);
    memset(large, 1, 40 * MIB);
    test_sleep_ms(20); /* at most once per millisecond */
    for (int i = 0; i < 200; i++)
        free(HIDE(malloc(300000)));
    CHECK_LE(test_rss(), start + 40 * MIB + 16 * MIB);
    CHECK_LE(stats().bytes_used, SOFT);
    free(large);
}

static void refused(size_t block_bytes) {
    AT("block bytes", block_bytes);
    errno = 0;
    size_t count = hold(block_bytes, 2 * HARD);
    int error = errno;
    CHECK_LE(count * block_bytes, HARD);
    CHECK_GE(count * block_bytes, HARD * 8 / 10);
    CHECK_EQ(error, ENOMEM);
    CHECK_LE(stats().bytes_used, HARD);
    /* The program can continue. Freed memory can be allocated again. */
    release(count);
    hak_trim();
    void *again = malloc(block_bytes);
    CHECK(again);
    free(again);
}

TEST(at_the_hard_limit_small_blocks_are_refused) { refused(1000); }
TEST(at_the_hard_limit_pages_are_refused) { refused(20000); }
TEST(at_the_hard_limit_runs_are_refused) { refused(700000); }
TEST(at_the_hard_limit_mappings_are_refused) { refused(9 * MIB); }

TEST(a_block_beyond_the_hard_limit_is_refused_at_once) {
    errno = 0;
    CHECK(HIDE(malloc(HARD + MIB)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(HIDE(calloc(2, HARD)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    char *small = malloc(100);
    REQUIRE(small);
    memset(small, 7, 100);
    errno = 0;
    CHECK(HIDE(realloc(small, HARD + MIB)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(small[0], 7);
    CHECK_EQ(small[99], 7);
    free(small);
}

/* Free memory that cannot serve the request is returned before an allocation fails. */
TEST(what_is_free_makes_room_below_the_hard_limit) {
    size_t count = hold(4096, HARD * 7 / 10);
    CHECK_GE(count * 4096, HARD * 6 / 10);
    release(count);
    void *large = malloc(HARD * 6 / 10);
    CHECK(large);
    free(large);
}

static void after_fork(void *unused) {
    (void)unused;
    CHECK(HIDE(malloc(HARD + MIB)) == NULL);
    CHECK_EQ(stats().limit_hard, HARD);
}

TEST(a_forked_child_has_the_limits) { CHECK_EXITED(test_in_child(after_fork, NULL)); }

TEST(the_limits_can_be_lifted_while_the_program_runs) {
    CHECK_EQ(hak_option_set("limit_hard", "0"), 0);
    void *large = malloc(HARD + MIB);
    CHECK(large);
    free(large);
    CHECK_EQ(hak_option_set("limit_hard", "200000000"), 0);
    CHECK(HIDE(malloc(HARD + MIB)) == NULL);
}
