/* fork.c - a process forks from one thread while others allocate.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PURGE_DELAY_MS=1
// variant: HAKMEM_GUARD_RATE=50 HAKMEM_GUARD_SLOTS=1000
#include "hakmem.h"
#include "test.h"

enum { FORKS = 200, WORKERS = 3, SLOTS = 300 };

static int ending; /* atomic */

static void work(uint64_t seed, size_t steps) {
    void *blocks[SLOTS] = {0};
    uint64_t random = seed;
    for (size_t i = 0; i < steps; i++) {
        uint64_t r = test_random(&random);
        void **block = &blocks[r % SLOTS];
        free(*block);
        size_t size = r % 100 == 0 ? (r >> 20) % 2000000 : (r >> 20) % 3000;
        *block = malloc(size);
        if (*block && size)
            *(char *)*block = 1;
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(blocks[i]);
}

static void *work_until_the_end(void *arg) {
    for (uint64_t seed = (uint64_t)(uintptr_t)arg; !__atomic_load_n(&ending, __ATOMIC_ACQUIRE);)
        work(seed++, 2000);
    return NULL;
}

static void *work_a_little(void *arg) {
    work((uint64_t)(uintptr_t)arg, 300);
    return NULL;
}

/* The child has one thread, and a heap that other threads were using at the fork. */
static void live_as_a_child(void *arg) {
    unsigned char *inherited = arg;
    CHECK_EQ(test_intact(inherited, 5000, 3), 5000);
    free(inherited);
    work(77, 500);
    pthread_join(test_thread(work_a_little, (void *)5), NULL);
    hak_trim();
    CHECK_EQ(hak_validate(), 0);
}

TEST(children_forked_while_threads_allocate_have_sound_heaps) {
    pthread_t threads[WORKERS];
    for (size_t i = 0; i < WORKERS; i++)
        threads[i] = test_thread(work_until_the_end, (void *)(i * 1000));
    for (size_t i = 0; i < FORKS; i++) {
        unsigned char *block = malloc(5000);
        REQUIRE(block);
        test_fill(block, 5000, 3);
        struct test_child child = test_in_child(live_as_a_child, block);
        AT("fork", i);
        CHECK_EXITED(child);
        CHECK_EQ(test_intact(block, 5000, 3), 5000);
        free(block);
    }
    __atomic_store_n(&ending, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hak_validate(), 0);
}

static void fork_again(void *arg) {
    int generation = *(int *)arg - 1;
    work((uint64_t)generation, 300);
    if (generation > 0) {
        struct test_child child = test_in_child(fork_again, &generation);
        CHECK_EXITED(child);
    }
    CHECK_EQ(hak_validate(), 0);
}

TEST(children_of_children_have_sound_heaps) {
    int generations = 10;
    struct test_child child = test_in_child(fork_again, &generations);
    CHECK_EXITED(child);
}

static void *fork_from_here(void *arg) {
    unsigned char *block = malloc(5000);
    test_fill(block, 5000, 3);
    struct test_child child = test_in_child(live_as_a_child, block);
    CHECK_EXITED(child);
    free(block);
    return arg;
}

TEST(a_thread_may_fork_too) {
    for (size_t i = 0; i < 20; i++)
        pthread_join(test_thread(fork_from_here, NULL), NULL);
    CHECK_EQ(hak_validate(), 0);
}
