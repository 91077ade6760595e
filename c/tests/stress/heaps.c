/* stress/heaps.c - threads allocate from private heaps, free blocks of each other, and create,
 * destroy and merge heaps, while the process forks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// timeout: 120
// link: archive
// variant: HAKMEM_CHECKS=1
#include "hakmem.h"
#include "test.h"

enum { THREADS = 6, HEAPS = 4, SLOTS = 512, ROUNDS = 150, STEPS = 2000, FORKS = 40 };

/* Blocks that any thread may take out and free. */
static void *slots[SLOTS]; /* atomic */
static int stop;           /* atomic */

static size_t random_size(uint64_t *seed) {
    uint64_t kind = test_random(seed) % 200;
    if (kind == 0)
        return test_random(seed) % (6 << 20);
    return test_random(seed) % (kind < 10 ? 100000 : 1000) + 1;
}

/* Puts a block into a slot, and frees the one that was there. */
static void exchange(uint64_t *seed, void *block) {
    void **slot = &slots[test_random(seed) % SLOTS];
    block = __atomic_exchange_n(slot, block, __ATOMIC_ACQ_REL);
    if (block == NULL)
        return;
    size_t bytes = hak_usable_size(block);
    size_t *start = block;
    CHECK_EQ(*start, bytes);
    if (test_random(seed) % 8 == 0) {
        start = hak_realloc(start, random_size(seed) + sizeof *start);
        REQUIRE(start != NULL);
    }
    hak_free(start);
}

static void *allocate(struct hak_heap *heap, uint64_t *seed) {
    size_t size = random_size(seed) + sizeof size;
    size_t *block =
        test_random(seed) % 4 == 0 ? hak_heap_calloc(heap, 1, size) : hak_heap_malloc(heap, size);
    REQUIRE(block != NULL);
    *block = hak_usable_size(block);
    return block;
}

/* ---- Heaps that all threads share ------------------------------------------------------------ */

static struct hak_heap *shared[HEAPS];

static void *share(void *key) {
    uint64_t seed = (uintptr_t)key;
    for (int i = 0; i < ROUNDS * STEPS / 4; i++)
        exchange(&seed, allocate(shared[test_random(&seed) % HEAPS], &seed));
    return NULL;
}

static void run_all(void *(*work)(void *), size_t count) {
    pthread_t threads[THREADS];
    for (size_t i = 0; i < count; i++)
        threads[i] = test_thread(work, (void *)(i + 1));
    for (size_t i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
}

TEST(threads_share_heaps_and_free_blocks_of_each_other) {
    for (int i = 0; i < HEAPS; i++)
        shared[i] = hak_heap_new(NULL, 0);
    run_all(share, THREADS);
    CHECK_EQ(hak_validate(), 0);

    uint64_t blocks = 0, seen = 0;
    for (int i = 0; i < HEAPS; i++) {
        struct hak_heap_stats stats;
        hak_heap_stats(shared[i], &stats, sizeof stats);
        blocks += stats.blocks_live;
    }
    for (int i = 0; i < SLOTS; i++)
        seen += slots[i] != NULL;
    CHECK_EQ(blocks, seen);
    memset(slots, 0, sizeof slots);
    for (int i = 0; i < HEAPS; i++)
        hak_heap_destroy(shared[i]);
    CHECK_EQ(hak_validate(), 0);
}

/* ---- Heaps that come and go ------------------------------------------------------------------ */

/* Half of the heaps are destroyed with all of their blocks. The others are merged after their
 * blocks were given to other threads, which free them meanwhile. */
static void *come_and_go(void *key) {
    uint64_t seed = (uintptr_t)key;
    for (int round = 0; round < ROUNDS && !__atomic_load_n(&stop, __ATOMIC_RELAXED); round++) {
        struct hak_heap *heap = hak_heap_new(NULL, 0);
        REQUIRE(heap != NULL);
        int merges = round % 2;
        hak_heap_set_default(round % 3 == 0 ? heap : NULL);
        for (int i = 0; i < STEPS / 4; i++) {
            void *block = allocate(heap, &seed);
            if (merges)
                exchange(&seed, block);
            else if (test_random(&seed) % 2 == 0)
                hak_free(block);
        }
        if (round % 16 == 0)
            hak_trim(); /* while other threads end heaps and begin the next ones */
        merges ? hak_heap_merge(heap) : hak_heap_destroy(heap);
    }
    return NULL;
}

static void free_slots(void) {
    for (int i = 0; i < SLOTS; i++)
        hak_free(__atomic_exchange_n(&slots[i], NULL, __ATOMIC_ACQ_REL));
}

TEST(heaps_come_and_go_while_their_blocks_are_freed) {
    run_all(come_and_go, THREADS);
    CHECK_EQ(hak_validate(), 0);
    free_slots();
    CHECK_EQ(hak_validate(), 0);
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.heaps_private, 0);
    CHECK_EQ(stats.errors, 0);
}

/* ---- Forks ----------------------------------------------------------------------------------- */

static void *share_until_stopped(void *key) {
    uint64_t seed = (uintptr_t)key;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        exchange(&seed, allocate(shared[test_random(&seed) % HEAPS], &seed));
    return NULL;
}

static int count_block(void *arg, void *block, size_t bytes) {
    (void)block;
    *(size_t *)arg += bytes;
    return 1;
}

static void use_in_child(void *unused) {
    (void)unused;
    uint64_t seed = 77;
    for (int i = 0; i < HEAPS; i++) {
        size_t bytes = 0;
        for (int k = 0; k < 100; k++) {
            size_t *block = allocate(shared[i], &seed);
            if (k % 2 == 0)
                hak_free(block);
        }
        CHECK_EQ(hak_heap_visit(shared[i], count_block, &bytes), 0);
        CHECK(bytes > 0);
    }
    CHECK_EQ(hak_validate(), 0);
    for (int i = 0; i < SLOTS; i++)
        hak_free(slots[i]);
    for (int i = 0; i < HEAPS; i++)
        i % 2 == 0 ? hak_heap_destroy(shared[i]) : hak_heap_merge(shared[i]);
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

TEST(heaps_are_sound_in_a_child_that_is_forked_at_any_moment) {
    pthread_t threads[THREADS];
    for (int i = 0; i < HEAPS; i++)
        shared[i] = hak_heap_new(NULL, 0);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(i % 3 == 2 ? come_and_go : share_until_stopped, (void *)(i + 1));
    for (int i = 0; i < FORKS; i++) {
        AT("fork", i);
        CHECK_EXITED(test_in_child(use_in_child, NULL));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    free_slots();
    CHECK_EQ(hak_validate(), 0);
}
