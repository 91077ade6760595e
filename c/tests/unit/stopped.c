/* unit/stopped.c - a forked child takes over the locks of threads that stopped at any point.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Threads allocate and free granules, large blocks and metadata, and purge. Meanwhile the main
 * thread forks without taking a lock. The child takes over the locks and repairs the structures.
 * The blocks of the threads must be intact there, and no memory may be allocated twice.
 */
// link: fake_os
// timeout: 120
#include "core/arena.h"
#include "core/extent.h"
#include "core/large.h"
#include "core/meta.h"
#include "core/options.h"
#include "core/pagemap.h"
#include "fresh.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { THREADS = 3, HELD = 16, FORKS = 100, CHILD_BLOCKS = 60, STAMP = 32 };

/* A live block of a thread. It is published after it has been stamped, and withdrawn before the
 * free. */
struct held {
    unsigned char *block; /* atomic */
    size_t bytes;
    bool meta;
};

static struct hk_arena arena;
static struct held held[THREADS][HELD];
static uint32_t stopping;

static void stamp(unsigned char *block, size_t bytes) {
    test_fill(block, STAMP, (uintptr_t)block);
    test_fill(block + bytes - STAMP, STAMP, (uintptr_t)block + 1);
}

static bool is_stamped(const unsigned char *block, size_t bytes) {
    return test_intact(block, STAMP, (uintptr_t)block) == STAMP &&
           test_intact(block + bytes - STAMP, STAMP, (uintptr_t)block + 1) == STAMP;
}

/* The kinds of sizes: metadata, granules of the arena, mappings. */
static size_t choose(uint64_t *seed, bool *meta) {
    size_t most[] = {KIB, 900 * KIB, 9 * MIB};
    size_t least[] = {64, 64 * KIB, 4 * MIB + 1};
    size_t kind = test_random(seed) % 3;
    *meta = kind == 0;
    return least[kind] + test_random(seed) % (most[kind] - least[kind]);
}

static unsigned char *allocate(size_t bytes, bool meta) {
    return meta ? hk_meta_alloc(bytes) : hk_large_alloc(&arena, &arena, bytes, 16).start;
}

static void release(unsigned char *block, size_t bytes, bool meta) {
    if (meta)
        hk_meta_free(block, bytes);
    else
        hk_large_free(hk_pagemap_find(block));
}

static void put(struct held *place, uint64_t *seed) {
    place->bytes = choose(seed, &place->meta);
    unsigned char *block = allocate(place->bytes, place->meta);
    stamp(block, place->bytes);
    __atomic_store_n(&place->block, block, __ATOMIC_RELEASE);
}

static void *work(void *arg) {
    struct held *mine = held[(uintptr_t)arg];
    uint64_t seed = (uintptr_t)arg + 1;
    while (!__atomic_load_n(&stopping, __ATOMIC_RELAXED)) {
        struct held *place = &mine[test_random(&seed) % HELD];
        unsigned char *block = place->block;
        if (block == NULL) {
            put(place, &seed);
            continue;
        }
        CHECK(is_stamped(block, place->bytes));
        __atomic_store_n(&place->block, NULL, __ATOMIC_SEQ_CST);
        release(block, place->bytes, place->meta);
    }
    return NULL;
}

static void *purge(void *arg) {
    for (uint64_t round = 0; !__atomic_load_n(&stopping, __ATOMIC_RELAXED); round++) {
        struct hk_purge_budget budget = {20, SIZE_MAX};
        hk_arena_purge(&arena, (enum hk_purge)(round % 3), &budget);
        hk_extent_purge(round % 4 == 0 ? UINT64_MAX : 0, &budget);
    }
    return arg;
}

static void repair_arena(struct hk_lock *lock) {
    CHECK(lock == &arena.lock);
    hk_arena_repair(&arena);
}

static void repair_extents(struct hk_lock *lock) {
    (void)lock;
    hk_extent_repair();
}

static void check_all_held(void) {
    for (int thread = 0; thread < THREADS; thread++)
        for (int i = 0; i < HELD; i++)
            if (held[thread][i].block != NULL)
                CHECK(is_stamped(held[thread][i].block, held[thread][i].bytes));
}

static void purge_all_once(void) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    hk_arena_purge(&arena, HK_PURGE_ALL, &budget);
    hk_extent_purge(UINT64_MAX, &budget);
}

/* Uses the heap, so that memory that is free twice would overlap a live block. */
static void use_heap(uint64_t seed) {
    static struct held own[CHILD_BLOCKS];
    for (int i = 0; i < CHILD_BLOCKS; i++)
        put(&own[i], &seed);
    check_all_held();
    for (int i = 0; i < CHILD_BLOCKS; i++) {
        CHECK(is_stamped(own[i].block, own[i].bytes));
        release(own[i].block, own[i].bytes, own[i].meta);
    }
    purge_all_once();
    check_all_held();
}

static void child(void *seed) {
    hk_arena_repair_purge(&arena); /* like the next holder of PURGE */
    CHECK(hk_arena_valid(&arena));
    CHECK(hk_extent_valid());
    check_all_held();
    use_heap((uintptr_t)seed);
    CHECK(hk_arena_valid(&arena));
    CHECK(hk_extent_valid());
}

static void fork_while_threads_work(void) {
    pthread_t threads[THREADS + 1];
    hk_os_generation(); /* like the start of the process, forks count from here */
    hk_lock_set_repair(HK_RANK_ARENA, repair_arena);
    hk_lock_set_repair(HK_RANK_EXTENT, repair_extents);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(work, (void *)i);
    threads[THREADS] = test_thread(purge, NULL);
    for (uintptr_t i = 0; i < FORKS; i++) {
        AT("fork", i);
        struct test_child result = test_in_child(child, (void *)i);
        CHECK_EXITED(result);
    }
    __atomic_store_n(&stopping, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
}

TEST_FRESH(a_child_repairs_what_vanished_threads_had_begun) { fork_while_threads_work(); }

TEST_FRESH(a_child_repairs_it_where_nothing_can_be_unmapped_either) {
    fake_os.unmap_fails = true;
    CHECK_EQ(hk_option_set("large_cache_mb", "8"), 0);
    fork_while_threads_work();
}
