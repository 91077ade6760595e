/* mixed.c - hak_* functions and libc's functions use the same heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// link: archive shared
// variant: HAKMEM_CHECKS=1
#include "blocks.h"

#include <malloc.h>

/* musl has the function of hakmem only, and no declaration. */
void *pvalloc(size_t size);

static const size_t spread[] = {0,       1,        17,        100,       1024,    1025,
                                8 * KIB, 50 * KIB, 200 * KIB, 256 * KIB, MIB + 1, 40 * MIB};

TEST(hak_free_frees_blocks_of_malloc) {
    uint64_t live = bytes_live();
    for (size_t i = 0; i < TEST_COUNT(spread); i++) {
        hak_free(malloc(spread[i]));
        hak_free(calloc(2, spread[i]));
        hak_free(memalign(64, spread[i]));
        hak_free(valloc(spread[i]));
        hak_free(pvalloc(spread[i]));
        hak_free(realloc(NULL, spread[i]));
    }
    CHECK_EQ(bytes_live(), live);
}

TEST(free_frees_blocks_of_hak_functions) {
    uint64_t live = bytes_live();
    for (size_t i = 0; i < TEST_COUNT(spread); i++) {
        free(hak_malloc(spread[i]));
        free(hak_calloc(2, spread[i]));
        free(hak_aligned_alloc(64, spread[i]));
        free(hak_alloc(spread[i], 8));
        free(hak_alloc_zeroed(spread[i], 4096));
        free(hak_realloc(NULL, spread[i]));
        free(hak_reallocarray(NULL, 3, spread[i]));
    }
    CHECK_EQ(bytes_live(), live);
}

TEST(each_realloc_takes_blocks_of_the_other) {
    for (size_t i = 1; i < TEST_COUNT(spread); i++)
        for (size_t j = 1; j < TEST_COUNT(spread) - 1; j++) {
            AT("from to", spread[i], spread[j]);
            size_t kept = spread[i] < spread[j] ? spread[i] : spread[j];
            unsigned char *p = malloc(spread[i]), *q = hak_malloc(spread[i]);
            REQUIRE(p && q);
            test_fill(p, kept, 1);
            test_fill(q, kept, 2);
            p = hak_realloc(p, spread[j]);
            q = realloc(q, spread[j]);
            REQUIRE(p && q);
            CHECK_EQ(test_intact(p, kept, 1), kept);
            CHECK_EQ(test_intact(q, kept, 2), kept);
            free(p);
            hak_free(q);
        }
}

TEST(both_names_of_usable_size_agree) {
    for (size_t i = 0; i < TEST_COUNT(spread); i++) {
        void *p = malloc(spread[i]), *q = hak_malloc(spread[i]);
        CHECK_EQ(malloc_usable_size(p), hak_usable_size(p));
        CHECK_EQ(malloc_usable_size(q), malloc_usable_size(p));
        free(q);
        hak_free(p);
    }
}

TEST(blocks_of_malloc_count_as_live) {
    uint64_t live = bytes_live();
    void *p = malloc(1000);
    CHECK_EQ(bytes_live() - live, hak_usable_size(p));
    free(p);
    CHECK_EQ(bytes_live(), live);
}
