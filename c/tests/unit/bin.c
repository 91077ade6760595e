/* unit/bin.c - the stack of pointers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/bin.h"

#include "test.h"

enum { CAPACITY = 4, CLASS = HK_CLASS_64 };

static char blocks[CAPACITY + 1];
static void *array[HK_BIN_BELOW + CAPACITY + 1];
static struct hk_cache cache;

static void make_bin(void) {
    memset(array, 0, sizeof array);
    array[HK_BIN_BELOW + CAPACITY] = &array; /* after the end, must not change */
    cache.bins[CLASS].top = array + HK_BIN_BELOW;
    cache.bins[CLASS].ceil = array + HK_BIN_BELOW + CAPACITY;
}

static bool push(int i) { return hk_bin_push(&cache.bins[CLASS], &blocks[i]); }

TEST(the_newest_block_comes_first) {
    make_bin();
    for (int i = 0; i < CAPACITY; i++)
        CHECK(push(i));
    for (int i = CAPACITY; i-- > 0;)
        CHECK(hk_bin_pop(&cache.bins[CLASS]) == &blocks[i]);
    CHECK(hk_bin_pop(&cache.bins[CLASS]) == NULL);
}

TEST(an_empty_bin_stays_as_it_is) {
    make_bin();
    for (int i = 0; i < 3; i++)
        CHECK(hk_bin_pop(&cache.bins[CLASS]) == NULL);
    CHECK(cache.bins[CLASS].top == array + HK_BIN_BELOW);
    CHECK(push(0));
    CHECK(hk_bin_pop(&cache.bins[CLASS]) == &blocks[0]);
}

TEST(a_full_bin_takes_nothing_more) {
    make_bin();
    for (int i = 0; i < CAPACITY; i++)
        CHECK(push(i));
    CHECK(!push(CAPACITY));
    CHECK(cache.bins[CLASS].top == cache.bins[CLASS].ceil);
    CHECK(array[HK_BIN_BELOW + CAPACITY] == &array);
}

TEST(neither_of_the_two_newest_blocks_is_taken_twice) {
    make_bin();
    CHECK(push(0));
    CHECK(!push(0));
    CHECK(push(1));
    CHECK(!push(0));
    CHECK(!push(1));
    CHECK(cache.bins[CLASS].top == array + HK_BIN_BELOW + 2);
}

TEST(a_block_that_was_taken_out_may_come_back) {
    make_bin();
    CHECK(push(0) && push(1));
    CHECK(hk_bin_pop(&cache.bins[CLASS]) == &blocks[1] &&
          hk_bin_pop(&cache.bins[CLASS]) == &blocks[0]);
    CHECK(push(1) && push(0));
}

TEST(a_bin_without_an_array_is_empty_and_full) {
    cache.bins[CLASS].top = cache.bins[CLASS].ceil = HK_BIN_WITHOUT_ARRAY;
    CHECK(hk_bin_pop(&cache.bins[CLASS]) == NULL);
    CHECK(!push(0));
    for (int i = 0; i < HK_BIN_BELOW; i++)
        CHECK(hk_bin_nothing[i] == NULL);
}

TEST(null_is_not_taken_by_an_empty_bin) {
    make_bin(); /* a free of NULL then needs no separate test */
    CHECK(!hk_bin_push(&cache.bins[CLASS], NULL));
}
