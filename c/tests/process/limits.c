/* limits.c - the callback for limits in a program with threads and forks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_LIMIT_HARD=100000000
// variant: HAKMEM_CHECKS=1
#include <hakmem.h>

#include "test.h"

enum { WORKERS = 8, ROUNDS = 200, BLOCKS = 100, BLOCK_BYTES = 200000 };

static unsigned inside, most_inside; /* atomic */
static unsigned reached[101];        /* atomic; by level */
static void *spare;                  /* atomic; memory that the callback frees */

static void shed(void *arg, const struct hak_limit *limit) {
    CHECK(arg == &spare);
    unsigned now = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST);
    if (now > __atomic_load_n(&most_inside, __ATOMIC_SEQ_CST))
        __atomic_store_n(&most_inside, now, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&reached[limit->level <= 100 ? limit->level : 0], 1, __ATOMIC_SEQ_CST);
    free(__atomic_exchange_n(&spare, NULL, __ATOMIC_ACQ_REL));
    free(HIDE(malloc(BLOCK_BYTES)));
    __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
}

static unsigned calls(unsigned level) { return __atomic_load_n(&reached[level], __ATOMIC_SEQ_CST); }

/* Holds up to 20 MB, and goes on without blocks that were refused. */
static void *work(void *arg) {
    void *blocks[BLOCKS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = malloc(BLOCK_BYTES);
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[i]);
    }
    return arg;
}

TEST(one_thread_at_a_time_is_in_the_callback_while_others_reach_the_limit) {
    pthread_t threads[WORKERS];
    void *base = malloc(75000000); /* one worker reaches 80 %, two the limit */
    hak_on_limit(shed, &spare);
    for (int i = 0; i < WORKERS; i++)
        threads[i] = test_thread(work, NULL);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    hak_on_limit(NULL, NULL);
    free(base);
    CHECK_EQ(__atomic_load_n(&most_inside, __ATOMIC_SEQ_CST), 1);
    CHECK(calls(80) + calls(90) + calls(100) > 0);
    CHECK_EQ(calls(0), 0);
    CHECK_EQ(hak_validate(), 0);
}

TEST(an_allocation_that_is_refused_gets_what_the_callback_frees) {
    hak_trim();
    spare = malloc(60000000);
    REQUIRE(spare != NULL);
    memset(spare, 1, 60000000);
    hak_on_limit(shed, &spare);
    void *block = malloc(80000000);
    CHECK(block != NULL);
    CHECK(spare == NULL);
    free(block);
    hak_on_limit(NULL, NULL);
}

static void reach_in_child(void *arg) {
    unsigned before = calls(80) + calls(90);
    void *block = malloc(85000000);
    CHECK(block != NULL);
    CHECK_EQ(calls(80) + calls(90), before + 1);
    free(block);
    (void)arg;
}

TEST(a_forked_child_has_the_callback_of_its_parent) {
    hak_trim();
    hak_on_limit(shed, &spare);
    CHECK_EXITED(test_in_child(reach_in_child, NULL));
    hak_on_limit(NULL, NULL);
}

TEST(a_struct_of_another_version_gets_the_common_fields) {
    struct {
        struct hak_limit limit;
        uint64_t more;
    } larger = {.more = 7};
    uint64_t first[3] = {7, 7, 7};
    hak_limit(&larger.limit, sizeof larger);
    CHECK_EQ(larger.more, 0);
    hak_limit((struct hak_limit *)(void *)first, 2 * sizeof first[0]);
    CHECK_EQ(first[1], larger.limit.limit);
    CHECK_EQ(first[2], 7);
}
