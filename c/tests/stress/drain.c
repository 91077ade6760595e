/* drain.c - caches are drained while their threads use them.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_THREAD_CACHE_KB=16
// variant: HAKMEM_CHECKS=fast
// timeout: 120
#include "hakmem.h"
#include "test.h"

enum { THREADS = 6, SLOTS = 200, BYTES_MAX = 3000 };

static uint32_t stopped; /* atomic */
static uint64_t drains;  /* atomic */

struct stamp {
    size_t bytes;
    uint64_t owner;
};

/* Each thread stamps its blocks, so a block that was given to two threads is detected. */
static void *stamp(uint64_t owner, uint64_t *random) {
    struct stamp *block;
    size_t bytes = sizeof *block + test_random(random) % BYTES_MAX;
    block = malloc(bytes);
    memset(block, (int)owner, bytes);
    *block = (struct stamp){bytes, owner};
    return block;
}

static void check_stamp(const struct stamp *block, uint64_t owner) {
    CHECK_EQ(block->owner, owner);
    CHECK_EQ(((const unsigned char *)block)[block->bytes - 1],
             block->bytes > sizeof *block ? (unsigned char)owner : owner >> 56);
}

/* Works in bursts of different length, so that drains find threads both running and asleep. */
static void *work(void *arg) {
    uint64_t owner = (uint64_t)(uintptr_t)arg, random = owner;
    struct stamp *blocks[SLOTS] = {NULL};
    while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
        for (uint64_t i = 0; i < 2000 * owner; i++) {
            struct stamp **slot = &blocks[test_random(&random) % SLOTS];
            if (*slot != NULL)
                check_stamp(*slot, owner);
            free(*slot);
            *slot = test_random(&random) % 3 ? stamp(owner, &random) : NULL;
        }
        if (owner % 2)
            test_sleep_ms(1 + owner);
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(blocks[i]);
    return NULL;
}

static void *trim_often(void *arg) {
    while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
        hak_trim();
        __atomic_add_fetch(&drains, 1, __ATOMIC_RELAXED);
    }
    return arg;
}

TEST(no_block_is_handed_out_twice_while_caches_are_drained) {
    pthread_t workers[THREADS], trimmer;
    for (size_t i = 0; i < THREADS; i++)
        workers[i] = test_thread(work, (void *)(uintptr_t)(i + 1));
    trimmer = test_thread(trim_often, NULL);
    for (int i = 0; i < 20; i++) {
        test_sleep_ms(100);
        CHECK_EQ(hak_validate(), 0);
    }
    __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(workers[i], NULL);
    pthread_join(trimmer, NULL);
    CHECK(drains > 20);
    CHECK_EQ(hak_validate(), 0);
}

/* A realloc to the same size makes no slow call. With checks=fast, it searches the bin. */
static void *resize_often(void *arg) {
    enum { BLOCKS = 16, BLOCK_BYTES = 100 };
    void *blocks[BLOCKS], *live = malloc(BLOCK_BYTES);
    while (!__atomic_load_n(&stopped, __ATOMIC_RELAXED)) {
        for (size_t i = 0; i < BLOCKS; i++)
            blocks[i] = malloc(BLOCK_BYTES);
        for (size_t i = 0; i < BLOCKS; i++)
            free(blocks[i]);
        for (size_t i = 0; i < 3000; i++)
            CHECK_EQ(live = realloc(live, BLOCK_BYTES), live);
    }
    free(live);
    return arg;
}

TEST(a_realloc_may_search_a_bin_while_it_is_drained) {
    stopped = 0;
    pthread_t resizer = test_thread(resize_often, NULL);
    for (size_t i = 0; i < 5000; i++)
        hak_trim();
    __atomic_store_n(&stopped, 1, __ATOMIC_RELAXED);
    pthread_join(resizer, NULL);
    CHECK_EQ(hak_validate(), 0);
}
