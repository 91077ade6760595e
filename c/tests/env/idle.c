/* idle.c - memory is returned to the OS while the program is idle, after the delay and not before.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_DELAY_MS=300 HAKMEM_BACKGROUND=always
// link: archive preload
#include "test.h"

enum { MIB = 1024 * 1024, SMALL_BYTES = 40 * MIB, LARGE_BYTES = 5 * MIB, LARGE_COUNT = 12 };
enum { SIZE = 500, SMALL_COUNT = SMALL_BYTES / SIZE };

static void *small[SMALL_COUNT], *large[LARGE_COUNT];

static void hold(void) {
    for (size_t i = 0; i < SMALL_COUNT; i++)
        small[i] = memset(malloc(SIZE), 1, SIZE);
    for (size_t i = 0; i < LARGE_COUNT; i++)
        large[i] = memset(malloc(LARGE_BYTES), 1, LARGE_BYTES);
}

static void drop(void) {
    for (size_t i = 0; i < SMALL_COUNT; i++)
        free(small[i]);
    for (size_t i = 0; i < LARGE_COUNT; i++)
        free(large[i]);
}

/* Waits until RSS is at most `bytes`. The calling thread does not call the allocator meanwhile. */
static int rss_falls_to(size_t bytes, unsigned within_ms) {
    enum { LOOK_MS = 20 };
    for (unsigned ms = 0; ms < within_ms; ms += LOOK_MS) {
        if (test_rss() <= bytes)
            return 1;
        test_sleep_ms(LOOK_MS);
    }
    return 0;
}

TEST(an_idle_program_gives_freed_memory_back) {
    size_t before = test_rss();
    hold();
    CHECK_GE(test_rss(), before + SMALL_BYTES);
    drop();
    CHECK(rss_falls_to(before + 8 * MIB, 5000));
}

TEST(memory_that_is_used_again_at_once_is_not_given_back_meanwhile) {
    hold();
    drop();
    size_t dropped = test_rss();
    hold();
    CHECK_GE(dropped, (size_t)SMALL_BYTES);
    drop();
}

/* A third of the blocks stays. The remaining blocks are in groups, so no slab is free, but whole
 * pages are. */
TEST(an_idle_program_gives_free_pages_of_slabs_in_use_back) {
    enum { TOGETHER = 600 };
    hold();
    size_t with = test_rss();
    for (size_t i = 0; i < SMALL_COUNT; i++)
        if (i / TOGETHER % 3 != 0) {
            free(small[i]);
            small[i] = NULL;
        }
    CHECK(rss_falls_to(with - SMALL_BYTES / 2, 5000));
    for (size_t i = 0; i < SMALL_COUNT; i++)
        CHECK(!small[i] || *(char *)small[i] == 1);
    drop();
}
