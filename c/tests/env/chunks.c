/* chunks.c - the three variables of the arena determine the chunk sizes of a heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_HEAPS=2 HAKMEM_HUGE_PAGE_MB=0
#include "hakmem.h"
#include "test.h"

#define MIB ((uint64_t)1024 * 1024)

/* The growth of the heap's address space at each map call, in order. */
enum { CHUNKS_MOST = 12 };

struct growth {
    unsigned count;
    uint64_t mib[CHUNKS_MOST];
};

static struct growth *growth; /* shared with the child */

/* Runs in a new thread, so that its heap has no chunk yet. */
static void *allocate_64_mib(void *arg) {
    struct hak_stats before, after;
    hak_stats(&before, sizeof before);
    /* Spans of 32 KiB come from chunks, regardless of the limit of mappings. */
    for (uint64_t bytes = 0; bytes < 64 * MIB && growth->count < CHUNKS_MOST; bytes += 32768) {
        CHECK(hak_malloc(32768));
        hak_stats(&after, sizeof after);
        if (after.bytes_mapped - before.bytes_mapped >= MIB)
            growth->mib[growth->count++] = (after.bytes_mapped - before.bytes_mapped) / MIB;
        if (after.bytes_mapped != before.bytes_mapped)
            before = after;
    }
    return arg;
}

static void allocate_in_a_new_heap(void *arg) {
    hak_free(hak_malloc(1)); /* the first heap is this thread's */
    pthread_join(test_thread(allocate_64_mib, arg), NULL);
}

static void check_growth(const char *init, const char *most, const char *levels,
                         const uint64_t *expected) {
    growth = mmap(NULL, sizeof *growth, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE((void *)growth != MAP_FAILED);
    CHECK_EQ(hak_option_set("pool_tls_arena_mb_init", init), 0);
    CHECK_EQ(hak_option_set("pool_tls_arena_mb_max", most), 0);
    CHECK_EQ(hak_option_set("pool_tls_arena_growth_levels", levels), 0);
    struct test_child child = test_in_child(allocate_in_a_new_heap, NULL);
    CHECK_EXITED(child);
    for (unsigned i = 0; expected[i]; i++) {
        AT("chunk", i);
        CHECK_EQ(growth->mib[i], expected[i]);
    }
}

TEST(chunks_are_as_large_as_all_before_them_up_to_8_by_default) {
    check_growth("1", "8", "3", (uint64_t[]){1, 1, 2, 4, 8, 8, 0});
}
TEST(the_first_chunk_is_of_the_initial_size) {
    check_growth("4", "8", "3", (uint64_t[]){4, 4, 8, 8, 0});
}
TEST(no_chunk_is_above_the_maximum) { check_growth("1", "2", "3", (uint64_t[]){1, 1, 2, 2, 2, 0}); }
TEST(chunks_double_as_often_as_there_are_levels) {
    check_growth("1", "64", "1", (uint64_t[]){1, 1, 2, 2, 0});
}
TEST(chunks_of_zero_levels_do_not_grow) {
    check_growth("2", "64", "0", (uint64_t[]){2, 2, 2, 2, 0});
}
TEST(many_levels_reach_large_chunks) {
    check_growth("1", "64", "6", (uint64_t[]){1, 1, 2, 4, 8, 16, 0});
}
