/* limits.c - a hard limit makes allocations fail, and has no effect below it.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_LIMIT_HARD=67108864
// variant: HAKMEM_CHECKS=1
#include "hakmem.h"
#include "test.h"

enum { LIMIT = 64 * 1024 * 1024, BLOCKS_MOST = 1 << 20 };

static void *blocks[BLOCKS_MOST];

/* Allocates and touches memory until it is exhausted, then frees it all. Returns its size
 * in bytes. */
static size_t use_all(size_t size) {
    size_t count = 0;
    errno = 0;
    while (count < BLOCKS_MOST && (blocks[count] = malloc(size)) != NULL)
        memset(blocks[count++], 1, size);
    CHECK_LE(count + 1, BLOCKS_MOST);
    CHECK_EQ(errno, ENOMEM);
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    return count * size;
}

TEST(allocations_fail_at_the_limit_and_work_again_below_it) {
    static const size_t sizes[] = {200, 5000, 50000, 1000000, 20000000};
    for (size_t round = 0; round < 2; round++)
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            AT("size", sizes[i]);
            size_t bytes = use_all(sizes[i]);
            CHECK_LE(bytes, LIMIT);
            CHECK_GE(bytes, LIMIT / 2);
        }
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_block_that_could_not_grow_is_intact) {
    unsigned char *p = malloc(30000000);
    REQUIRE(p);
    test_fill(p, 1000, 1);
    errno = 0;
    CHECK(!realloc(p, LIMIT + 1));
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(test_intact(p, 1000, 1), 1000);
    free(p);
}

TEST(resident_memory_stays_below_the_limit) {
    use_all(3000);
    CHECK_LE(test_rss(), (size_t)LIMIT + LIMIT / 4);
}

TEST(the_statistics_name_the_limit) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.limit_hard, LIMIT);
    CHECK_LE(stats.bytes_used, LIMIT);
}
