/* larson.c - a server workload: replaces random blocks, and passes them to the next thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "hakmem.h"
#include "test.h"

enum {
    LINES = 3,
    GENERATIONS = 20,
    BLOCKS = 1000,
    REPLACEMENTS = 6000,
    SIZE_MOST = 1500,
    FILL = 0x5c
};

struct line {
    void *blocks[BLOCKS];
    uint64_t random;
};

static struct line lines[LINES];

static void *serve(void *arg) {
    struct line *line = arg;
    for (size_t i = 0; i < REPLACEMENTS; i++) {
        uint64_t r = test_random(&line->random);
        void **block = &line->blocks[r % BLOCKS];
        size_t size = 1 + (r >> 32) % SIZE_MOST;
        if (*block)
            CHECK_EQ(*(unsigned char *)*block, FILL);
        free(*block);
        *block = malloc(size);
        REQUIRE(*block);
        memset(*block, FILL, size);
    }
    return NULL;
}

/* Each generation of threads works on the blocks of the previous one. */
static void *serve_for_generations(void *arg) {
    for (unsigned generation = 0; generation < GENERATIONS; generation++)
        pthread_join(test_thread(serve, arg), NULL);
    return NULL;
}

TEST(threads_work_on_the_blocks_of_those_before_them) {
    struct hak_stats before, after;
    test_let_libc_keep_threads(2 * LINES);
    hak_stats(&before, sizeof before);
    pthread_t threads[LINES];
    for (size_t i = 0; i < LINES; i++) {
        lines[i].random = test_seed(5) + i;
        threads[i] = test_thread(serve_for_generations, &lines[i]);
    }
    for (size_t i = 0; i < LINES; i++) {
        pthread_join(threads[i], NULL);
        for (size_t b = 0; b < BLOCKS; b++)
            free(lines[i].blocks[b]);
    }
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_live, before.bytes_live);
    CHECK_EQ(hak_validate(), 0);
}
