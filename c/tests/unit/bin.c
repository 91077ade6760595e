/* unit/bin.c - the stack of pointers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/bin.h"

#include "test.h"

enum { CAPACITY = 4 };

static char blocks[CAPACITY + 1];
static void *array[1 + CAPACITY + 1];

static struct hk_bin make_bin(void) {
    memset(array, 0, sizeof array);
    array[1 + CAPACITY] = &array; /* behind the end: must stay */
    return (struct hk_bin){array + 1, array + 1 + CAPACITY};
}

TEST(the_newest_block_comes_first) {
    struct hk_bin bin = make_bin();
    for (int i = 0; i < CAPACITY; i++)
        CHECK(hk_bin_push(&bin, &blocks[i]));
    for (int i = CAPACITY; i-- > 0;)
        CHECK(hk_bin_pop(&bin) == &blocks[i]);
    CHECK(hk_bin_pop(&bin) == NULL);
}

TEST(an_empty_bin_stays_as_it_is) {
    struct hk_bin bin = make_bin();
    for (int i = 0; i < 3; i++)
        CHECK(hk_bin_pop(&bin) == NULL);
    CHECK(bin.top == array + 1);
    CHECK(hk_bin_push(&bin, &blocks[0]));
    CHECK(hk_bin_pop(&bin) == &blocks[0]);
}

TEST(a_full_bin_takes_nothing_more) {
    struct hk_bin bin = make_bin();
    for (int i = 0; i < CAPACITY; i++)
        CHECK(hk_bin_push(&bin, &blocks[i]));
    CHECK(!hk_bin_push(&bin, &blocks[CAPACITY]));
    CHECK(bin.top == bin.ceil);
    CHECK(array[1 + CAPACITY] == &array);
}

TEST(the_newest_block_is_not_taken_twice) {
    struct hk_bin bin = make_bin();
    CHECK(hk_bin_push(&bin, &blocks[0]));
    CHECK(!hk_bin_push(&bin, &blocks[0]));
    CHECK(bin.top == array + 2);
}

TEST(a_bin_without_an_array_is_empty_and_full) {
    struct hk_bin bin = HK_BIN_WITHOUT_ARRAY;
    CHECK(hk_bin_pop(&bin) == NULL);
    CHECK(!hk_bin_push(&bin, &blocks[0]));
    CHECK(hk_bin_nothing[0] == NULL);
}

TEST(null_is_not_taken_by_an_empty_bin) {
    struct hk_bin bin = make_bin(); /* a free of NULL then needs no test of its own */
    CHECK(!hk_bin_push(&bin, NULL));
}
