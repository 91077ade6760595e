/* thread_counters.c - the bytes that a thread allocates and frees.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -Wno-use-after-free
#include <limits.h>

#include "counters.h"

#define MIB ((size_t)1 << 20)

static const size_t sizes[] = {0,      1,      8,       9,       16,      100,    1024,
                               1025,   5000,   8192,    33000,   70000,   140000, 262144,
                               262145, 500000, 3 * MIB, 5 * MIB, 40 * MIB};

/* ---- Each function --------------------------------------------------------------------------- */

enum { WAYS = 9 };

static void *allocate(unsigned way, size_t size) {
    void *block = NULL;
    switch (way) {
    case 0:
        return malloc(size);
    case 1:
        return calloc(1, size);
    case 2:
        return realloc(NULL, size);
    case 3:
        return hak_alloc(size, 8);
    case 4:
        return hak_alloc_zeroed(size, 64);
    case 5:
        return aligned_alloc(4096, size);
    case 6:
        return hak_malloc(size);
    case 7:
        return hak_calloc(size, 1);
    default:
        CHECK_EQ(posix_memalign(&block, 131072, size), 0);
        return block;
    }
}

static void release(unsigned way, void *block, size_t size) {
    switch (way) {
    case 0:
        hak_free_sized(block, size);
        return;
    case 3:
        hak_dealloc(block, size, 8);
        return;
    case 4:
        hak_dealloc(block, size, 64);
        return;
    case 5:
        hak_free_aligned_sized(block, 4096, size);
        return;
    default:
        free(block);
    }
}

/* Repeated, so that the blocks come from new memory, heaps, bins and large-block caches. */
TEST(each_function_counts_the_usable_bytes) {
    hak_thread_count_start();
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned way = 0; way < WAYS; way++) {
            for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
                AT("round way size", round, way, sizes[i]);
                struct hak_thread_counters before = counters();
                void *block = HIDE(allocate(way, sizes[i]));
                REQUIRE(block != NULL);
                size_t bytes = hak_usable_size(block);
                CHECK_COUNTED(before, bytes, 0, 1, 0);
                release(way, block, sizes[i]);
                CHECK_COUNTED(before, bytes, bytes, 1, 1);
            }
        }
    }
    hak_thread_count_stop();
}

TEST(calls_that_do_nothing_count_nothing) {
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    free(NULL);
    hak_free_sized(NULL, 0);
    CHECK(HIDE(malloc(HIDE(SIZE_MAX / 2 + 2))) == NULL);
    CHECK(HIDE(calloc(HIDE(SIZE_MAX / 2), 4)) == NULL);
    CHECK_COUNTED(before, 0, 0, 0, 0);
    hak_thread_count_stop();
}

/* In place, only the difference counts. */
TEST(a_reallocation_counts_the_difference_in_place_and_two_blocks_as_it_moves) {
    hak_thread_count_start();
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
            AT("from to", sizes[i], sizes[k]);
            struct hak_thread_counters start = counters();
            void *block = HIDE(hak_alloc(sizes[i], 16));
            REQUIRE(block != NULL);
            size_t old_bytes = hak_usable_size(block);

            struct hak_thread_counters before = counters();
            void *resized = HIDE(hak_realloc_layout(block, sizes[i], 16, sizes[k]));
            REQUIRE(resized != NULL);
            size_t bytes = hak_usable_size(resized);
            struct hak_thread_counters counted = since(before);
            if (counted.blocks_allocated == 0) {
                CHECK_EQ(counted.bytes_allocated, bytes > old_bytes ? bytes - old_bytes : 0);
                CHECK_EQ(counted.bytes_freed, bytes < old_bytes ? old_bytes - bytes : 0);
                CHECK_EQ(counted.blocks_freed, 0);
            } else {
                CHECK_COUNTED(before, bytes, old_bytes, 1, 1);
            }

            hak_dealloc(resized, sizes[k], 16);
            counted = since(start);
            CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
        }
    }
    hak_thread_count_stop();
}

/* The number of blocks of a size that grow in place. The next blocks may be in the way of some. */
static size_t grow_in_place(size_t size, size_t larger) {
    enum { BLOCKS = 32 };
    void *blocks[BLOCKS];
    size_t in_place = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        void *block = HIDE(malloc(size));
        size_t old_bytes = hak_usable_size(block);
        struct hak_thread_counters before = counters();
        blocks[i] = HIDE(realloc(block, larger));
        if (blocks[i] == block) {
            in_place++;
            CHECK_COUNTED(before, hak_usable_size(block) - old_bytes, 0, 0, 0);
        }
    }
    for (size_t i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    return in_place;
}

TEST(a_block_that_grows_in_place_counts_its_growth) {
    if (getenv("HAKMEM_CHECKS") != NULL)
        SKIP("checked blocks move");
    static const size_t steps[][2] = {
        {128 << 10, 192 << 10}, {192 << 10, 280 << 10}, {MIB, 2 * MIB}, {6 * MIB, 9 * MIB}};
    size_t in_place = 0;
    hak_thread_count_start();
    for (size_t i = 0; i < TEST_COUNT(steps); i++) {
        AT("from", steps[i][0]);
        in_place += grow_in_place(steps[i][0], steps[i][1]);
    }
    CHECK(in_place > 0);
    hak_thread_count_stop();
}

/* ---- Scopes ---------------------------------------------------------------------------------- */

/* Random work with blocks of all sizes that ends without any of them. */
static void work(uint64_t seed) {
    enum { SLOTS = 64, STEPS = 4000 };
    void *blocks[SLOTS] = {NULL};
    for (size_t i = 0; i < STEPS; i++) {
        size_t slot = test_random(&seed) % SLOTS;
        size_t size = test_random(&seed) % ((size_t)1 << (test_random(&seed) % 21));
        switch (test_random(&seed) % 3) {
        case 0:
            free(blocks[slot]);
            blocks[slot] = NULL;
            break;
        case 1:
            blocks[slot] = realloc(blocks[slot], size + 1);
            break;
        default:
            free(blocks[slot]);
            blocks[slot] = malloc(size);
        }
    }
    for (size_t i = 0; i < SLOTS; i++)
        free(blocks[i]);
}

TEST(a_scope_that_frees_all_of_its_blocks_adds_the_same_to_both_sums) {
    work(1);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    work(test_seed(2));
    struct hak_thread_counters counted = since(before);
    CHECK(counted.bytes_allocated > 0);
    CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
    CHECK(counted.blocks_allocated > 0);
    CHECK_EQ(counted.blocks_allocated, counted.blocks_freed);
    hak_thread_count_stop();
}

TEST(starts_may_be_nested_and_the_sums_stay) {
    struct hak_thread_counters now;
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 0);
    hak_thread_count_start();
    hak_thread_count_start();
    hak_thread_count_stop();
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 1);
    struct hak_thread_counters before = counters();
    free(HIDE(malloc(100)));
    CHECK_COUNTED(before, 112, 112, 1, 1);
    hak_thread_count_stop();
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 0);
    free(HIDE(malloc(100)));
    CHECK_COUNTED(before, 112, 112, 1, 1);

    hak_thread_count_stop(); /* without a start */
    hak_thread_count_start();
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 1);
    hak_thread_count_stop();
}

TEST(a_struct_of_another_version_gets_the_common_fields) {
    struct {
        struct hak_thread_counters counters;
        uint64_t more;
    } larger = {.more = 7};
    uint64_t first[2] = {7, 7};
    hak_thread_count_start();
    free(HIDE(malloc(100)));
    hak_thread_counters(&larger.counters, sizeof larger);
    CHECK_EQ(larger.counters.bytes_allocated, counters().bytes_allocated);
    CHECK_EQ(larger.more, 0);
    hak_thread_counters((struct hak_thread_counters *)(void *)first, sizeof first[0]);
    CHECK_EQ(first[0], counters().bytes_allocated);
    CHECK_EQ(first[1], 7);
    hak_thread_count_stop();
}

/* ---- The default heap ------------------------------------------------------------------------ */

TEST(allocations_from_a_default_heap_count_and_a_merge_frees_nothing) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    hak_heap_set_default(heap);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    work(6);
    void *kept = HIDE(malloc(100)), *zeroed = HIDE(calloc(1, 100000));
    size_t bytes = hak_usable_size(kept) + hak_usable_size(zeroed);
    hak_thread_count_stop();
    free(HIDE(malloc(100))); /* the thread stays on the watched cache, but does not count */
    hak_thread_count_start();
    hak_heap_merge(heap);
    struct hak_thread_counters counted = since(before);
    CHECK_EQ(counted.bytes_allocated - counted.bytes_freed, bytes);

    free(kept);
    free(zeroed);
    counted = since(before);
    CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
    hak_thread_count_stop();
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *allocate_without_counting(void *arg) {
    *(void **)arg = malloc(100);
    CHECK_EQ(counters().blocks_allocated, 0);
    return NULL;
}

static void *free_and_count(void *block) {
    hak_thread_count_start(); /* before the first allocation of the thread */
    free(block);
    struct hak_thread_counters none = {0, 0, 0, 0};
    CHECK_COUNTED(none, 0, 112, 0, 1);
    return NULL;
}

TEST(a_free_counts_in_the_thread_that_frees) {
    void *first = NULL;
    pthread_join(test_thread(allocate_without_counting, &first), NULL);
    hak_thread_count_start();
    struct hak_thread_counters before = counters();
    free(first);
    CHECK_COUNTED(before, 0, 112, 0, 1);

    void *second = HIDE(malloc(100));
    pthread_t thread = test_thread(free_and_count, second);
    before = counters();
    pthread_join(thread, NULL);
    CHECK_EQ(since(before).blocks_freed, 0);
    hak_thread_count_stop();
}

/* Destructors of a key run in all rounds, so the last ones come after that of hakmem. */
static pthread_key_t key;
static unsigned rounds; /* atomic */

static void count_in_destructor(void *block) {
    size_t bytes = hak_usable_size(block);
    struct hak_thread_counters before = counters();
    free(block);
    void *next = HIDE(malloc(40000));
    CHECK_COUNTED(before, hak_usable_size(next), bytes, 1, 1);
    __atomic_add_fetch(&rounds, 1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&rounds, __ATOMIC_RELAXED) < PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(key, next);
    else
        free(next);
}

static void *set_and_end(void *arg) {
    hak_thread_count_start();
    pthread_setspecific(key, malloc(100));
    return arg;
}

TEST(a_thread_counts_until_its_last_destructor) {
    CHECK_EQ(pthread_key_create(&key, count_in_destructor), 0);
    pthread_join(test_thread(set_and_end, NULL), NULL);
    CHECK_EQ(__atomic_load_n(&rounds, __ATOMIC_RELAXED), PTHREAD_DESTRUCTOR_ITERATIONS);
}

static void *starts_from_zero(void *arg) {
    struct hak_thread_counters now;
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 0);
    CHECK_EQ(now.blocks_allocated, 0);
    return arg;
}

/* It adopts the cache of the ended one, but not its counts. */
TEST(a_new_thread_does_not_count) {
    pthread_join(test_thread(set_and_end, NULL), NULL);
    pthread_join(test_thread(starts_from_zero, NULL), NULL);
}

static void count_in_child(void *arg) {
    struct hak_thread_counters before = *(const struct hak_thread_counters *)arg, now;
    CHECK_EQ(hak_thread_counters(&now, sizeof now), 1);
    CHECK_GE(now.blocks_allocated, before.blocks_allocated);
    before = now;
    free(HIDE(malloc(100)));
    work(3);
    struct hak_thread_counters counted = since(before);
    CHECK_GE(counted.blocks_allocated, 1);
    CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
}

TEST(a_forked_child_continues_with_the_sums) {
    hak_thread_count_start();
    free(HIDE(malloc(100)));
    struct hak_thread_counters before = counters();
    CHECK(before.blocks_allocated > 0);
    struct test_child child = test_in_child(count_in_child, &before);
    CHECK_EXITED(child);
    hak_thread_count_stop();
}

/* ---- Together with the other watchers -------------------------------------------------------- */

TEST(sampled_and_guarded_blocks_count_like_others) {
    const struct hak_profile_options every = {.rate = 1};
    hak_thread_count_start();
    for (unsigned kind = 1; kind < 4; kind++) {
        AT("profile 1 guard 2", kind);
        if (kind & 1)
            CHECK_EQ(hak_profile_start(&every, sizeof every), 0);
        if (kind & 2)
            CHECK_EQ(hak_guard_start(1, 1000), 0);

        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            for (unsigned zeroed = 0; zeroed < 2; zeroed++) {
                AT("kind size zeroed", kind, sizes[i], zeroed);
                struct hak_thread_counters before = counters();
                void *block = HIDE(zeroed ? calloc(1, sizes[i]) : malloc(sizes[i]));
                size_t bytes = hak_usable_size(block);
                /* The unwinder may allocate in its first calls. */
                struct hak_thread_counters counted = since(before);
                CHECK_EQ(counted.bytes_allocated - counted.bytes_freed, bytes);
                block = HIDE(realloc(block, sizes[i] + 300000));
                free(block);
                counted = since(before);
                CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
            }
        }

        struct hak_thread_counters before = counters();
        void *kept = HIDE(malloc(100));
        hak_profile_stop();
        hak_guard_stop();
        free(kept);
        struct hak_thread_counters counted = since(before);
        CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
        CHECK_GE(counted.bytes_allocated, 100);
    }
    hak_thread_count_stop();
}

static void *trim_and_profile(void *stop) {
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
        hak_trim();
        hak_profile_start(NULL, 0);
        hak_guard_start(1000, 0);
        hak_trim();
        hak_profile_stop();
        hak_guard_stop();
    }
    return NULL;
}

TEST(counts_are_exact_while_another_thread_trims_profiles_and_guards) {
    int stop = 0;
    work(4);
    hak_thread_count_start();
    pthread_t thread = test_thread(trim_and_profile, &stop);
    for (uint64_t round = 0; round < 20; round++) {
        struct hak_thread_counters before = counters();
        work(test_seed(5) + round);
        struct hak_thread_counters counted = since(before);
        CHECK_EQ(counted.bytes_allocated, counted.bytes_freed);
        CHECK_EQ(counted.blocks_allocated, counted.blocks_freed);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    hak_thread_count_stop();
    CHECK_EQ(hak_validate(), 0);
}
