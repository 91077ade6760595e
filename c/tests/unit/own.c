/* unit/own.c - private heaps, on an OS that refuses, and in forked children.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "own/hold.h"

#include <hakmem.h>
#include <limits.h>
#include <sys/mman.h>

#include "api/fork.h"
#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "own/owners.h"
#include "own/slabs.h"
#include "thread/recover.h"
#include "thread/tcache.h"

enum { BLOCKS = 300 };

static struct hak_heap_stats stats_of(struct hak_heap *heap) {
    struct hak_heap_stats stats;
    hak_heap_stats(heap, &stats, sizeof stats);
    return stats;
}

/* ---- Footprint and owners -------------------------------------------------------------------- */

TEST(a_heap_has_at_most_4_KiB_of_metadata) { CHECK_LE(sizeof(struct hak_heap), 4096); }

TEST(each_class_is_served_by_the_next_selected_one_with_its_alignment) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hk_own_class *own = &hk_own_classes[hk_own_by_class[class]];
        uint32_t bytes = hk_classes[class].block_bytes;
        AT("bytes", bytes);
        CHECK_EQ(hk_classes[own->class].block_bytes, own->block_bytes);
        CHECK(own->block_bytes >= bytes);
        CHECK(own->block_bytes - bytes < bytes / 4 + 1);
        CHECK(hk_own_classes[hk_own_by_class[class] - 1].block_bytes < bytes);
        uint32_t align = bytes & -bytes;
        CHECK_EQ(own->block_bytes % (align < 65536 ? align : 65536), 0);
    }
}

static unsigned parts_of(struct hak_heap *heap) {
    unsigned parts = 0;
    for (uint32_t i = 0; i < HK_OWN_PARTS; i++)
        parts += hk_own_part_at(heap, i) != NULL;
    return parts;
}

static pthread_barrier_t step;

static void *allocate_once(void *heap) {
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    return NULL;
}

static void *own_and_wait(void *heap) {
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    CHECK_EQ(((struct hak_heap *)heap)->main.owner, hk_owner_self);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return NULL;
}

TEST_FRESH(the_first_thread_owns_a_heap_until_it_ends_and_then_the_next_one_does) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_barrier_init(&step, NULL, 2);
    pthread_t owner = test_thread(own_and_wait, heap);
    pthread_barrier_wait(&step);
    uint32_t token = heap->main.owner;
    CHECK(hk_owner_exists(token));

    CHECK(hak_heap_malloc(heap, 100) != NULL);
    CHECK_EQ(heap->main.owner, token);
    CHECK_EQ(parts_of(heap), 2);

    pthread_barrier_wait(&step);
    pthread_join(owner, NULL);
    CHECK(!hk_owner_exists(token));
    pthread_join(test_thread(allocate_once, heap), NULL);
    CHECK(heap->main.owner != token);
    CHECK_EQ(parts_of(heap), 2);
    CHECK_EQ(stats_of(heap).blocks_live, 3);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

TEST_FRESH(more_threads_than_tokens_own_heaps_one_after_another) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    for (int i = 0; i < HK_OWNERS_MAX + 10; i++)
        pthread_join(test_thread(allocate_once, heap), NULL);
    CHECK_EQ(parts_of(heap), 1);
    CHECK_EQ(stats_of(heap).blocks_live, HK_OWNERS_MAX + 10);
    hak_heap_destroy(heap);
}

#if !HK_THREAD_SANITIZER /* its state ends before the last round of destructors */
static pthread_key_t late_key;
static __thread int late_rounds;
static uint32_t late_token;

/* Allocates for the first time in the last round of destructors, so that ours is not called. */
static void allocate_in_the_last_round(void *heap) {
    if (++late_rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        pthread_setspecific(late_key, heap);
        return;
    }
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    late_token = hk_owner_self;
}

static void *end_without_notice(void *heap) {
    pthread_setspecific(late_key, heap);
    return NULL;
}

TEST_FRESH(a_thread_that_ended_without_notice_owns_nothing_once_that_is_found) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_key_create(&late_key, allocate_in_the_last_round);
    pthread_join(test_thread(end_without_notice, heap), NULL);
    uint32_t token = late_token;
    CHECK_EQ(heap->main.owner, token);
    CHECK(hk_owner_exists(token));

    /* The kernel wakes the joining thread before the other one is gone. */
    for (int i = 0; i < 1000 && hk_owner_exists(token); i++) {
        test_sleep_ms(i > 0);
        hk_recover_gone();
    }
    CHECK(!hk_owner_exists(token));
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    CHECK_EQ(heap->main.owner, hk_owner_self);
    CHECK_EQ(parts_of(heap), 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

TEST_FRESH(more_such_threads_than_tokens_own_heaps) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_key_create(&late_key, allocate_in_the_last_round);
    for (int i = 0; i < HK_OWNERS_MAX + 10; i++)
        pthread_join(test_thread(end_without_notice, heap), NULL);
    CHECK(late_token > HK_OWNER_NEVER);
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    CHECK(hk_owner_self > HK_OWNER_NEVER);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}
#endif

/* ---- Parts of several threads ---------------------------------------------------------------- */

static void fill(struct hak_heap *heap, char **blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        CHECK((blocks[i] = hak_heap_malloc(heap, 1000)) != NULL);
}

static void free_all(char **blocks, size_t count) {
    for (size_t i = 0; i < count; i++)
        hak_free(blocks[i]);
}

/* So often that the thread owns a part from then on. */
static void *fill_and_free(void *heap) {
    char *blocks[BLOCKS];
    for (int round = 0; round < 20; round++) {
        fill(heap, blocks, BLOCKS);
        free_all(blocks, BLOCKS);
    }
    return NULL;
}

/* With the number of a thread that never releases it. */
static uint32_t keep_locked(struct hk_own_part *part) {
    uint32_t word = part->lock.word;
    part->lock.word = 1u << 30 | 1;
    return word;
}

TEST_FRESH(threads_allocate_and_free_while_the_owner_uses_its_part) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    char *block = hak_heap_malloc(heap, 1000);
    uint32_t word = keep_locked(&heap->main);
    pthread_join(test_thread(fill_and_free, heap), NULL);
    heap->main.lock.word = word;
    CHECK_EQ(stats_of(heap).blocks_live, 1);
    hak_free(block);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* Grows a block from 16 bytes to 64 KiB with each of the functions. Its part is that of the calling
 * thread. */
static void *grow_in_own_part(void *heap) {
    fill_and_free(heap);
    for (int function = 0; function < 3; function++) {
        char *block = hak_heap_malloc(heap, 16);
        for (size_t size = 32; size <= 65536; size *= 2) {
            AT("function size", function, size);
            if (function == 0)
                block = hak_realloc(block, size);
            else if (function == 1)
                block = hak_heap_realloc(heap, block, size);
            else
                block = hak_realloc_layout(block, size / 2, 16, size);
            REQUIRE(block != NULL);
            const struct hk_own_part *part = hk_own_part_of(hk_pagemap_find(block));
            CHECK(part != &((struct hak_heap *)heap)->main);
            CHECK_EQ(part->owner, hk_owner_self);
        }
        hak_free(block);
    }
    return NULL;
}

TEST_FRESH(blocks_that_grow_stay_in_the_part_of_their_thread) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 1000);
    uint32_t bias = heap->main.bias;
    pthread_join(test_thread(grow_in_own_part, heap), NULL);
    CHECK_EQ(heap->main.bias, bias);
    CHECK_EQ(stats_of(heap).blocks_live, 1);
    CHECK_EQ(hk_validate(), 0);
    hak_free(block);
    hak_heap_destroy(heap);
}

/* Only resizes, and finds no part of its own yet. */
static void *grow_block(void *block) { return hak_realloc(block, 3000); }

TEST_FRESH(a_thread_that_only_resizes_blocks_of_a_heap_leaves_its_main_part_alone) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 100);
    pthread_join(test_thread(grow_block, block), &block);
    const struct hk_own_part *part = hk_own_part_of(hk_pagemap_find(block));
    CHECK(part != &heap->main);
    CHECK(hak_heap_of(block) == heap);
    CHECK_EQ(parts_of(heap), 2);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_merge(heap);
    CHECK_EQ(hk_validate(), 0);
    hak_free(block);
}

static pthread_barrier_t started;

static void *fill_beside(void *heap) {
    char *blocks[BLOCKS];
    fill_and_free(heap);
    pthread_barrier_wait(&started);
    fill(heap, blocks, BLOCKS);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    free_all(blocks, BLOCKS);
    return NULL;
}

enum { THREADS_MORE = HK_OWN_THREADS + 3 };

/* Starts threads, each once the one before has done its first work. All then wait for `step`. */
static void start_one_after_another(pthread_t threads[THREADS_MORE], void *(*run)(void *heap),
                                    struct hak_heap *heap) {
    pthread_barrier_init(&step, NULL, THREADS_MORE + 1);
    pthread_barrier_init(&started, NULL, 2);
    for (int i = 0; i < THREADS_MORE; i++) {
        threads[i] = test_thread(run, heap);
        pthread_barrier_wait(&started);
    }
}

static void *allocate_and_wait(void *heap) {
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    pthread_barrier_wait(&started);
    pthread_barrier_wait(&step);
    return NULL;
}

static void check_more_threads(uint64_t limit, unsigned parts_least, unsigned parts_most) {
    struct hak_heap_options options = {.limit = limit};
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    pthread_t threads[THREADS_MORE];
    start_one_after_another(threads, fill_beside, heap);

    pthread_barrier_wait(&step);
    CHECK_EQ(stats_of(heap).blocks_live, THREADS_MORE * BLOCKS + 1);
    CHECK(parts_of(heap) >= parts_least);
    CHECK_LE(parts_of(heap), parts_most);
    CHECK_EQ(hk_validate(), 0);
    pthread_barrier_wait(&step);
    for (int i = 0; i < THREADS_MORE; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(stats_of(heap).blocks_live, 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_merge(heap);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(threads_that_allocate_little_share_a_part) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    pthread_t threads[THREADS_MORE];
    start_one_after_another(threads, allocate_and_wait, heap);
    CHECK_EQ(parts_of(heap), 2);
    CHECK_LE(stats_of(heap).bytes_slabs, 4 * 65536);
    pthread_barrier_wait(&step);
    for (int i = 0; i < THREADS_MORE; i++)
        pthread_join(threads[i], NULL);
    hak_heap_destroy(heap);
}

TEST_FRESH(threads_that_find_no_part_to_own_share_parts) {
    check_more_threads(0, 1 + HK_OWN_THREADS + 1, HK_OWN_PARTS);
}

TEST_FRESH(threads_share_the_parts_of_a_heap_with_a_limit) {
    check_more_threads(1 << 30, 2, 1 + HK_OWN_LOCKED);
}

enum { ENDED = 5, KEPT = (BLOCKS + 63) / 64 }; /* a block in each slab, of 64 blocks */

static void *fill_and_end(void *heap) {
    char *blocks[BLOCKS];
    fill_and_free(heap);
    fill(heap, blocks, BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 64 != 0)
            hak_free(blocks[i]);
    }
    return NULL;
}

TEST_FRESH(memory_of_threads_that_ended_is_used_before_new_slabs) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    char *blocks[BLOCKS];
    pthread_barrier_init(&step, NULL, 2);
    pthread_t owner = test_thread(own_and_wait, heap);
    pthread_barrier_wait(&step);
    fill_and_free(heap); /* a part of this thread, and one with a lock */
    fill(heap, blocks, 1);
    CHECK_EQ(hk_own_part_of(hk_pagemap_find(blocks[0]))->owner, hk_owner_self);
    for (int i = 0; i < ENDED; i++)
        pthread_join(test_thread(fill_and_end, heap), NULL);
    hk_own_purge(true);
    unsigned parts = parts_of(heap);
    uint64_t bytes = stats_of(heap).bytes_slabs;

    fill(heap, blocks + 1, BLOCKS - 1);
    CHECK_EQ(stats_of(heap).bytes_slabs, bytes);
    CHECK_EQ(parts_of(heap), parts);
    CHECK_EQ(hk_validate(), 0);
    pthread_barrier_wait(&step);
    pthread_join(owner, NULL);
    free_all(blocks, BLOCKS);
    CHECK_EQ(stats_of(heap).blocks_live, ENDED * KEPT + 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* ---- Threads and parts beside each other ----------------------------------------------------- */

static unsigned parts_owned_by(struct hak_heap *heap, uint32_t owner) {
    unsigned owned = 0;
    for (uint32_t i = 0; i < HK_OWN_PARTS; i++) {
        const struct hk_own_part *part = hk_own_part_at(heap, i);
        owned += part != NULL && part->owner == owner;
    }
    return owned;
}

static unsigned own_parts(struct hak_heap *heap) { return parts_owned_by(heap, hk_owner_self); }

static void *take_number(void *unused) {
    hk_lock_self();
    return unused;
}

/* Owns a part from `started` to the second `step`. */
static void *fill_own_part(void *heap) {
    fill_and_end(heap);
    CHECK_EQ(own_parts(heap), 1);
    pthread_barrier_wait(&started);
    pthread_barrier_wait(&step);
    return NULL;
}

enum { OWNERS = HK_OWN_THREADS };

/* Starts a thread for each part beside the main part. All wait for `step`. */
static void start_owners(pthread_t threads[OWNERS], struct hak_heap *heap) {
    pthread_barrier_init(&step, NULL, OWNERS + 1);
    pthread_barrier_init(&started, NULL, 2);
    for (int i = 0; i < OWNERS; i++) {
        threads[i] = test_thread(fill_own_part, heap);
        pthread_barrier_wait(&started);
        for (int k = 1; k < HK_OWN_THREADS; k++) /* so that their numbers are far from each other */
            pthread_join(test_thread(take_number, NULL), NULL);
    }
}

static void end_owners(pthread_t threads[OWNERS]) {
    pthread_barrier_wait(&step);
    for (int i = 0; i < OWNERS; i++)
        pthread_join(threads[i], NULL);
}

static void *look_for_a_part(void *heap) {
    fill_and_free(heap);
    return (void *)(uintptr_t)own_parts(heap);
}

static uintptr_t parts_of_a_new_thread(struct hak_heap *heap) {
    void *owned;
    pthread_join(test_thread(look_for_a_part, heap), &owned);
    return (uintptr_t)owned;
}

TEST_FRESH(each_of_as_many_threads_as_there_are_parts_owns_one) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_t threads[OWNERS];
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    start_owners(threads, heap);
    CHECK_EQ(parts_of_a_new_thread(heap), 0);
    end_owners(threads);
    CHECK_EQ(parts_of_a_new_thread(heap), 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

TEST_FRESH(a_thread_that_uses_the_memory_of_others_leaves_their_parts_to_new_threads) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    pthread_t threads[OWNERS];
    static char *blocks[OWNERS * BLOCKS];
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    start_owners(threads, heap);
    end_owners(threads);
    hk_own_purge(true);
    uint64_t bytes = stats_of(heap).bytes_slabs;
    fill(heap, blocks, OWNERS * (BLOCKS - KEPT) - BLOCKS);
    CHECK_EQ(stats_of(heap).bytes_slabs, bytes);
    CHECK_EQ(own_parts(heap), 1);
    CHECK_EQ(parts_of_a_new_thread(heap), 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* A thread that ends with free blocks of 3000 bytes. */
static void *leave_other_blocks(void *heap) {
    char *blocks[2 * BLOCKS];
    fill_and_free(heap);
    for (int i = 0; i < 2 * BLOCKS; i++)
        blocks[i] = hak_heap_malloc(heap, 3000);
    for (int i = 0; i < 2 * BLOCKS; i += 1 + (i % 16 == 0))
        hak_free(blocks[i]);
    return NULL;
}

/* Each of the two parts lacks one of the two sizes. */
TEST_FRESH(a_thread_does_not_change_between_two_parts_at_each_allocation) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    char *blocks[BLOCKS];
    fill(heap, blocks, BLOCKS);
    for (int i = 0; i < BLOCKS; i += 2)
        hak_free(blocks[i]);
    pthread_join(test_thread(leave_other_blocks, heap), NULL);
    hk_own_purge(true);

    unsigned changes = 0;
    const struct hk_own_part *last = NULL;
    for (int i = 0; i < BLOCKS / 2; i++) {
        const char *block = hak_heap_malloc(heap, i % 2 == 0 ? 1000 : 3000);
        const struct hk_own_part *part = hk_own_part_of(hk_pagemap_find(block));
        changes += part != last;
        last = part;
    }
    CHECK_LE(changes, 4);
    CHECK_EQ(own_parts(heap), 1);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

static struct hak_heap *other_heap;
static char *others[BLOCKS];

static void *fill_others(void *unused) {
    fill(other_heap, others, BLOCKS);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    return unused;
}

TEST_FRESH(empty_slabs_of_a_part_without_a_bias_are_used_by_other_parts) {
    other_heap = hak_heap_new(NULL, 0);
    hak_free(hak_heap_malloc(other_heap, 8));
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(fill_others, NULL);
    pthread_barrier_wait(&step);
    free_all(others, BLOCKS); /* of the other thread */
    uint64_t bytes = stats_of(other_heap).bytes_slabs;

    char *blocks[200];
    fill(other_heap, blocks, 200);
    CHECK_EQ(stats_of(other_heap).bytes_slabs, bytes);
    CHECK_EQ(hk_validate(), 0);
    free_all(blocks, 200);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    hak_heap_destroy(other_heap);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_part_belongs_to_another_heap_after_its_heap_has_ended) {
    other_heap = hak_heap_new(NULL, 0);
    hak_free(hak_heap_malloc(other_heap, 8));
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(fill_others, NULL);
    pthread_barrier_wait(&step);
    struct hk_own_part *part = hk_own_part_of(hk_pagemap_find(others[0]));
    CHECK(part != &other_heap->main);
    CHECK(hak_heap_of(others[0]) == other_heap);
    hak_heap_merge(other_heap);
    CHECK(hak_heap_of(others[0]) == NULL);

    struct hak_heap *heap = hak_heap_new(NULL, 0);
    CHECK(heap != other_heap || hk_own_part_at(heap, 0) == NULL);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    hak_free(hak_heap_malloc(heap, 8));
    pthread_join(test_thread(fill_and_free, heap), NULL);
    CHECK(part->heap == heap);
    free_all(others, BLOCKS);
    CHECK_EQ(stats_of(heap).blocks_live, 0);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* The heap ends between two allocations of a thread. The next heap has the same record. */
static void *allocate_before_and_after(void *unused) {
    fill_and_free(other_heap);
    char *first = hak_heap_malloc(other_heap, 1000);
    CHECK_EQ(hk_own_part_of(hk_pagemap_find(first))->owner, hk_owner_self);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    char *block = hak_heap_malloc(other_heap, 1000);
    CHECK(hak_heap_of(block) == other_heap);
    CHECK_EQ(stats_of(other_heap).blocks_live, 2);
    return unused;
}

TEST_FRESH(a_thread_whose_part_has_ended_finds_a_part_of_the_next_heap) {
    other_heap = hak_heap_new(NULL, 0);
    CHECK(hak_heap_malloc(other_heap, 1000) != NULL);
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(allocate_before_and_after, NULL);
    pthread_barrier_wait(&step);
    struct hak_heap *heap = other_heap;
    hak_heap_destroy(heap);
    CHECK((other_heap = hak_heap_new(NULL, 0)) == heap);
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    CHECK_EQ(parts_of(heap), 1);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK_EQ(parts_of(heap), 2);
    CHECK_EQ(hk_validate(), 0);
    CHECK_STR(fake_os_take_errors(), "");
    hak_heap_destroy(heap);
}

/* ---- Entering without the lock --------------------------------------------------------------- */

/* Allocates and frees so many blocks that cells are refilled many times. */
static void work_in(struct hak_heap *heap) {
    static void *blocks[1000];
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 1000; i++)
            blocks[i] = hak_heap_malloc(heap, 1000);
        for (int i = 0; i < 1000; i++)
            hak_free(blocks[i]);
    }
}

#if !HK_THREAD_SANITIZER /* it does not see the barrier, so the owner always takes the lock */
static void *free_block(void *block) {
    hak_free(block);
    return NULL;
}

TEST_FRESH(the_owner_needs_the_lock_only_after_another_thread_did) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 100);
    CHECK_EQ(heap->main.bias, hk_owner_self);
    uint32_t word = heap->main.lock.word;
    heap->main.lock.word = 1u << 30 | 1; /* of a thread that keeps it */
    hak_free(block);
    CHECK_EQ(stats_of(heap).blocks_live, 0);
    heap->main.lock.word = word;

    pthread_join(test_thread(free_block, hak_heap_malloc(heap, 100)), NULL);
    CHECK_EQ(heap->main.bias, 0);
    work_in(heap);
    CHECK_EQ(heap->main.bias, hk_owner_self);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}
#endif

TEST_FRESH(the_owner_takes_the_lock_where_barriers_are_refused) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    fake_os.barrier_fails = 1;
    work_in(heap);
    CHECK_EQ(heap->main.bias, 0);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

#if !HK_THREAD_SANITIZER /* as above */
TEST_FRESH(a_barrier_that_is_refused_later_takes_the_bias_for_good) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *block = hak_heap_malloc(heap, 100);
    CHECK_EQ(heap->main.bias, hk_owner_self);
    fake_os.barrier_fails = 1;
    pthread_t thread = test_thread(free_block, block);
    while (!fake_os.sleepers)
        sched_yield();
    CHECK_EQ(heap->main.bias, 0);
    fake_os.now_ms += 20; /* longer than a store takes */
    pthread_join(thread, NULL);
    work_in(heap);
    CHECK_EQ(heap->main.bias, 0);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}
#endif

static struct hak_heap *busy_heap;
static void *handed_over;   /* atomic */
static uint32_t busy_ended; /* atomic */

static void *free_what_is_handed_over(void *unused) {
    while (!hk_load_acquire(&busy_ended)) {
        void *block = __atomic_exchange_n(&handed_over, NULL, __ATOMIC_ACQ_REL);
        hak_free(block);
        if (block != NULL)
            hak_heap_stats(busy_heap, &(struct hak_heap_stats){0}, sizeof(struct hak_heap_stats));
    }
    return unused;
}

/* The other thread may sleep until the owner has left. */
static void *advance_clock(void *unused) {
    for (; !hk_load_acquire(&busy_ended); usleep(500))
        __atomic_add_fetch(&fake_os.now_ms, 1, __ATOMIC_SEQ_CST);
    return unused;
}

TEST_FRESH(an_owner_and_a_thread_that_frees_its_blocks_exclude_each_other) {
    enum { LIVE = 500, ROUNDS = 200000, HANDED = 50 };
    static char *blocks[LIVE];
    busy_heap = hak_heap_new(NULL, 0);
    pthread_t thread = test_thread(free_what_is_handed_over, NULL);
    pthread_t clock = test_thread(advance_clock, NULL);
    size_t handed = 0;
    for (unsigned i = 0; i < ROUNDS || handed < HANDED; i++) {
        char **slot = &blocks[i * 7919 % LIVE];
        if (*slot != NULL)
            CHECK_EQ(**slot, (char)(uintptr_t)slot);
        if (*slot != NULL &&
            (i % 512 != 0 || __atomic_load_n(&handed_over, __ATOMIC_ACQUIRE) != NULL))
            hak_free(*slot);
        else if (*slot != NULL)
            __atomic_store_n(&handed_over, *slot, __ATOMIC_RELEASE), handed++;
        *slot = hak_heap_malloc(busy_heap, 16 + i % 3 * 500);
        memset(*slot, (char)(uintptr_t)slot, 16);
    }
    while (__atomic_load_n(&handed_over, __ATOMIC_ACQUIRE) != NULL)
        sched_yield();
    hk_store_release(&busy_ended, 1);
    pthread_join(thread, NULL);
    pthread_join(clock, NULL);
    CHECK_EQ(stats_of(busy_heap).blocks_live, LIVE);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(busy_heap);
}

/* ---- Empty slabs ----------------------------------------------------------------------------- */

TEST_FRESH(empty_slabs_are_used_again_and_leave_at_the_second_scan) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    work_in(heap);
    uint64_t kept = heap->main.empty_bytes;
    CHECK(kept > 0);
    CHECK_EQ(hk_validate(), 0);

    void *blocks[200];
    for (int i = 0; i < 200; i++)
        blocks[i] = hak_heap_malloc(heap, 1000);
    CHECK(heap->main.empty_bytes < kept);
    uint64_t used = stats_of(heap).bytes_slabs - heap->main.empty_bytes;

    CHECK(hk_own_purge(false));
    CHECK(heap->main.empty_bytes > 0);
    CHECK(!hk_own_purge(false));
    CHECK_EQ(heap->main.empty_bytes, 0);
    CHECK_EQ(stats_of(heap).bytes_slabs, used);
    for (int i = 0; i < 200; i++)
        hak_free(blocks[i]);
    hk_own_purge(true);
    CHECK_EQ(heap->main.empty_bytes, 0);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* ---- Default heaps --------------------------------------------------------------------------- */

static void *end_with_default(void *heap) {
    hak_heap_set_default(heap);
    for (int i = 0; i < 100; i++) {
        hak_free(hak_malloc(100));
        CHECK_EQ(hk_cache_get()->kind, HK_CACHE_WATCHED);
    }
    return NULL;
}

static void *start_with_the_parked_cache(void *unused) {
    hak_free(hak_malloc(100));
    CHECK_EQ(hk_cache_get()->kind, HK_CACHE_OWN);
    return unused;
}

TEST_FRESH(a_thread_has_its_fast_path_without_a_default_heap_and_only_then) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    hak_free(hak_malloc(100));
    CHECK_EQ(hk_cache_get()->kind, HK_CACHE_OWN);
    hak_heap_set_default(heap);
    CHECK_EQ(hk_cache_get()->kind, HK_CACHE_WATCHED);
    hak_heap_set_default(NULL);
    CHECK_EQ(hk_cache_get()->kind, HK_CACHE_OWN);

    pthread_join(test_thread(end_with_default, heap), NULL);
    pthread_join(test_thread(start_with_the_parked_cache, NULL), NULL);
    hak_heap_destroy(heap);
}

/* ---- Exhausted memory ------------------------------------------------------------------------ */

static int see_block(void *arg, void *block, size_t bytes) {
    (void)block, (void)bytes;
    ++*(size_t *)arg;
    return 1;
}

/* Does everything that a heap can do. Any call may fail. Returns the number of failures. */
static size_t use_heap(struct hak_heap *heap) {
    static void *blocks[BLOCKS];
    size_t failures = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        size_t size = i % 10 == 0 ? i * 9000 : i * 67;
        errno = 0;
        blocks[i] = i % 2 == 0 ? hak_heap_malloc(heap, size) : hak_heap_calloc(heap, 1, size);
        if (blocks[i] == NULL) {
            CHECK_EQ(errno, ENOMEM);
            failures++;
            continue;
        }
        CHECK(hak_heap_of(blocks[i]) == heap);
        memset(blocks[i], 1, size);
        void *resized = hak_realloc(blocks[i], size * 2 + 1);
        failures += resized == NULL;
        blocks[i] = resized != NULL ? resized : blocks[i];
    }
    size_t seen = 0;
    int error = hak_heap_visit(heap, see_block, &seen);
    CHECK(error == 0 ? seen == stats_of(heap).blocks_live : error == ENOMEM);
    for (size_t i = 0; i < BLOCKS; i += 2)
        hak_free(blocks[i]);
    return failures;
}

static void use_with_failures(void *first) {
    uint64_t number = *(uint64_t *)first;
    fake_os_fail_maps(number, FAKE_OS_ALL);
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    if (heap == NULL)
        CHECK_EQ(errno, ENOMEM);
    else
        CHECK(use_heap(heap) > 0);
    fake_os_fail_maps(0, 0);

    if (heap == NULL)
        heap = hak_heap_new(NULL, 0);
    REQUIRE(heap != NULL);
    CHECK_EQ(hk_validate(), 0);
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    number % 2 == 0 ? hak_heap_destroy(heap) : hak_heap_merge(heap);
    CHECK_EQ(hk_validate(), 0);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST(heaps_stay_sound_whichever_mapping_is_the_last_one) {
    for (uint64_t first = 1; first <= 12; first++) {
        AT("first", first);
        CHECK_EXITED(test_in_child(use_with_failures, &first));
    }
}

static void use_with_one_failure(void *which) {
    uint64_t number = *(uint64_t *)which;
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    REQUIRE(heap != NULL);
    fake_os_fail_maps(number, 1);
    use_heap(heap);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(hk_validate(), 0);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST(heaps_stay_sound_after_the_failure_of_any_one_mapping) {
    for (uint64_t number = 1; number <= 40; number++) {
        AT("mapping", number);
        CHECK_EXITED(test_in_child(use_with_one_failure, &number));
    }
}

/* ---- Forked children ------------------------------------------------------------------------- */

/* Forks while a thread is between its two waits for `step`. The child runs `check`. */
static void fork_during(void *(*run)(void *arg), struct hak_heap *heap, void (*check)(void *arg),
                        void *arg) {
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(run, heap);
    pthread_barrier_wait(&step);
    CHECK_EXITED(test_in_child(check, arg));
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

/* A thread that holds the lock of a heap and has damaged what the lock protects. */
static void *damage_and_wait(void *arg) {
    struct hak_heap *heap = arg;
    hk_own_lock(&heap->main);
    struct hk_span *slabs[HK_OWN_CLASSES];
    memcpy(slabs, heap->main.slabs, sizeof slabs);
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        if (heap->main.slabs[class] != NULL)
            heap->main.slabs[class]->free ^= 5;
        heap->main.slabs[class] = NULL;
    }
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        heap->main.slabs[class] = slabs[class];
        if (slabs[class] != NULL)
            slabs[class]->free ^= 5;
    }
    hk_own_unlock(&heap->main);
    return NULL;
}

struct expected {
    struct hak_heap *heap;
    struct hak_heap_stats stats;
    void *block;
};

static void check_child(void *arg) {
    struct expected *expected = arg;
    size_t seen = 0;
    CHECK_EQ(hak_heap_visit(expected->heap, see_block, &seen), 0);
    CHECK_EQ(seen, expected->stats.blocks_live);
    struct hak_heap_stats stats = stats_of(expected->heap);
    CHECK_EQ(stats.bytes_live, expected->stats.bytes_live);
    CHECK_EQ(stats.bytes_slabs, expected->stats.bytes_slabs);
    CHECK_EQ(hk_validate(), 0);
    hak_free(expected->block);
    use_heap(expected->heap);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(expected->heap);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_child_repairs_the_heap_of_a_thread_that_vanished_in_the_middle) {
    hk_fork_install();
    struct expected expected = {.heap = hak_heap_new(NULL, 0)};
    for (size_t i = 0; i < 5000; i++) {
        void *block = hak_heap_malloc(expected.heap, i % 700 + 1);
        if (i % 3 == 0)
            hak_free(block);
    }
    CHECK(hak_heap_malloc(expected.heap, 9 << 20) != NULL);
    expected.block = hak_heap_malloc(expected.heap, 1 << 20);
    expected.stats = stats_of(expected.heap);

    fork_during(damage_and_wait, expected.heap, check_child, &expected);
    CHECK_EQ(hk_validate(), 0);
}

#if !HK_THREAD_SANITIZER /* as above */
/* A thread that vanishes as the owner, without the lock. */
static void *own_damage_and_wait(void *arg) {
    struct hak_heap *heap = arg;
    void *block = hak_heap_malloc(heap, 700);
    CHECK_EQ(heap->main.bias, hk_owner_self);
    REQUIRE(hk_own_enter(&heap->main));
    hk_pagemap_find(block)->free ^= 5;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    hk_pagemap_find(block)->free ^= 5;
    hk_own_leave();
    return NULL;
}

static void check_child_of_owner(void *arg) {
    struct hak_heap *heap = arg;
    uint32_t owner = heap->main.owner;
    CHECK_EQ(hk_validate(), 0);
    CHECK(hk_owner_place(owner)->inside == NULL);
    use_heap(heap);
    CHECK_EQ(heap->main.owner, hk_owner_self);
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_child_repairs_the_heap_whose_owner_vanished_inside) {
    hk_fork_install();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    fork_during(own_damage_and_wait, heap, check_child_of_owner, heap);
    CHECK_EQ(hk_validate(), 0);
}

static void *hold_and_wait(void *arg) {
    struct hak_heap *heap = arg;
    hk_lock(&heap->main.lock, HK_RANK_OWN); /* and was about to withdraw the bias */
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    hk_unlock(&heap->main.lock, HK_RANK_OWN);
    return NULL;
}

static void check_child_inside(void *arg) {
    struct expected *expected = arg;
    struct hak_heap *heap = expected->heap;
    REQUIRE(hk_own_enter(&heap->main));
    heap->main.slab_bytes++; /* in the middle of a change */
    pthread_t thread = test_thread(free_block, expected->block);
    while (hk_peek(&heap->main.bias) != 0)
        sched_yield();
    usleep(20000);
    CHECK_EQ(hk_peek(&heap->main.slab_bytes), expected->stats.bytes_slabs + 1);
    hk_own_leave();
    pthread_t clock = test_thread(advance_clock, NULL);
    pthread_join(thread, NULL);
    hk_store_release(&busy_ended, 1);
    pthread_join(clock, NULL);
    CHECK_EQ(stats_of(heap).blocks_live, 0);
    CHECK_EQ(stats_of(heap).bytes_slabs, expected->stats.bytes_slabs);
    CHECK_EQ(hk_validate(), 0);
}

static void vanish_before_withdrawal(void *unused) {
    (void)unused;
    hk_fork_install();
    struct expected expected = {.heap = hak_heap_new(NULL, 0)};
    expected.block = hak_heap_malloc(expected.heap, 100);
    expected.stats = stats_of(expected.heap);
    CHECK_EQ(expected.heap->main.bias, hk_owner_self);
    fork_during(hold_and_wait, expected.heap, check_child_inside, &expected);
    hak_heap_destroy(expected.heap);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST(a_thread_of_a_child_repairs_a_heap_only_while_its_owner_is_outside) {
    if (getenv("TEST_RUNNER") != NULL)
        SKIP("the emulator aborts in a child with threads");
    CHECK_EXITED(test_in_child(vanish_before_withdrawal, NULL));
}
#endif

/* ---- A large block whose pages move ---------------------------------------------------------- */

static __thread void *moving; /* the block that the thread resizes, until its pages have moved */

/* Stops the thread after the system call that moves the pages. The span has the old address. */
static void stop_after_move(void) {
    unsigned char resident;
    if (moving == NULL || mincore(moving, fake_os.page_bytes, &resident) == 0)
        return;
    moving = NULL;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
}

static void *move_and_wait(void *heap) {
    char *block = moving = hak_heap_malloc(heap, 9 << 20);
    fake_os.resize_fails = true; /* there is no room at that place */
    char *moved = hak_realloc(block, 20 << 20);
    CHECK(moved != NULL && moved != block);
    moving = NULL;
    return NULL;
}

static void check_child_of_move(void *heap) {
    hak_heap_destroy(heap);
    char *block = hak_malloc(9 << 20); /* not from the old address, which has no pages */
    REQUIRE(block != NULL);
    memset(block, 1, 9 << 20);
    hak_trim();
    CHECK_EQ(hk_validate(), 0);
    CHECK_STR(fake_os_take_errors(), "");
}

TEST_FRESH(a_child_leaves_a_block_alone_whose_pages_were_moving) {
    hk_fork_install();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    CHECK(hak_heap_malloc(heap, 100) != NULL);
    fake_os.delay = stop_after_move;
    fork_during(move_and_wait, heap, check_child_of_move, heap);
    fake_os.delay = NULL;
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(hk_validate(), 0);
}

/* A thread that stopped in the middle of a refill: both the cell and the slab have the blocks. */
static void check_torn_refill(void *arg) {
    struct hak_heap *heap = arg;
    struct hak_heap_stats stats = stats_of(heap);
    CHECK_EQ(hk_validate(), 0);
    void *blocks[100];
    for (int i = 0; i < 100; i++) {
        blocks[i] = hak_heap_malloc(heap, 1000);
        CHECK(blocks[i] != NULL);
        for (int k = 0; k < i; k++)
            CHECK(blocks[k] != blocks[i]);
    }
    CHECK_EQ(stats_of(heap).blocks_live, stats.blocks_live + 100);
    CHECK_EQ(hk_validate(), 0);
}

static void *refill_and_wait(void *arg) {
    struct hak_heap *heap = arg;
    size_t class = HK_OWN_1024;
    hk_own_lock(&heap->main);
    struct hk_own_cell *cell = &heap->main.cache.cells[class];
    struct hk_own_cell before = *cell;
    struct hk_run run = hk_slab_find_run(heap->main.slabs[class], 8);
    cell->next = hk_slab_block(heap->main.slabs[class], run.start);
    cell->end = cell->next + run.count * cell->bytes;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    *cell = before;
    hk_own_unlock(&heap->main);
    return NULL;
}

TEST_FRESH(a_child_hands_out_no_block_twice_after_a_refill_that_was_interrupted) {
    hk_fork_install();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *blocks[64];
    for (int i = 0; i < 64; i++) /* a whole slab, so that the cell is empty */
        blocks[i] = hak_heap_malloc(heap, 1000);
    for (int i = 0; i < 64; i += i < 40 ? 1 : 3)
        hak_free(blocks[i]);
    fork_during(refill_and_wait, heap, check_torn_refill, heap);
    CHECK_EQ(hk_validate(), 0);
}

/* A thread that owns the heap and was moving the run of a cell: the run starts behind its end. */
static void *move_a_run_and_wait(void *arg) {
    struct hak_heap *heap = arg;
    CHECK(hak_heap_malloc(heap, 1000) != NULL);
    CHECK_EQ(heap->main.owner, hk_owner_self);
    struct hk_own_cell *cell = &heap->main.cache.cells[HK_OWN_1024];
    struct hk_own_cell before = *cell;
    cell->next = cell->end + 3 * cell->bytes;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    *cell = before;
    return NULL;
}

TEST_FRESH(a_child_takes_no_block_from_a_run_that_was_being_moved) {
    hk_fork_install();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    fork_during(move_a_run_and_wait, heap, check_torn_refill, heap);
    CHECK_EQ(hk_validate(), 0);
}

/* The same in a part with a lock for the cells. */
static struct hk_own_part *locked_part;

static void *refill_locked_and_wait(void *unused) {
    struct hk_own_part *part = locked_part;
    hk_lock(&part->cache.lock, HK_RANK_OWN_CACHE);
    hk_own_lock(part);
    struct hk_own_cell *cell = &part->cache.cells[HK_OWN_1024];
    struct hk_own_cell before = *cell;
    struct hk_run run = hk_slab_find_run(part->slabs[HK_OWN_1024], 8);
    cell->next = hk_slab_block(part->slabs[HK_OWN_1024], run.start);
    cell->end = cell->next + run.count * cell->bytes;
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    *cell = before;
    hk_own_unlock(part);
    hk_unlock(&part->cache.lock, HK_RANK_OWN_CACHE);
    return unused;
}

static void check_locked_part(void *heap) {
    char *block = hak_heap_malloc(heap, 1000);
    CHECK(hk_own_part_of(hk_pagemap_find(block)) == locked_part);
    hak_free(block);
    CHECK_STR(fake_os_take_errors(), "");
    check_torn_refill(heap);
}

TEST_FRESH(a_child_repairs_slabs_before_it_takes_blocks_of_a_cell_with_a_lock) {
    hk_fork_install();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    hak_free(hak_malloc(100));
    hk_owner_get();
    hk_owner_end(); /* so that this thread owns no part */
    char *blocks[64];
    fill(heap, blocks, 64);
    free_all(blocks, 40);
    locked_part = hk_own_part_of(hk_pagemap_find(blocks[0]));
    CHECK(locked_part != &heap->main);
    CHECK_EQ(locked_part->owner, HK_OWNER_NOBODY);
    fork_during(refill_locked_and_wait, heap, check_locked_part, heap);
    CHECK_EQ(hk_validate(), 0);
}

/* A thread that stopped after it had made bits of a cell the run, and before it cleared them. */
TEST_FRESH(bits_of_blocks_that_moved_to_the_run_do_not_count) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    void *blocks[64];
    for (int i = 0; i < 64; i++)
        blocks[i] = hak_heap_malloc(heap, 1000);
    for (int i = 0; i < 64; i += 3)
        hak_free(blocks[i]);
    uint64_t live = stats_of(heap).blocks_live;
    CHECK(hak_heap_malloc(heap, 1000) == blocks[0]);

    struct hk_own_cell *cell = &heap->main.cache.cells[HK_OWN_1024];
    CHECK(cell->bits != 0);
    cell->bits |= 1;
    for (int i = 3; i < 64; i += 3) {
        AT("block", i);
        CHECK_EQ(stats_of(heap).blocks_live, live + (unsigned)i / 3);
        CHECK_EQ(hk_validate(), 0);
        uint64_t before = cell->bits;
        CHECK(hak_heap_malloc(heap, 1000) == blocks[i]);
        cell->bits = before;
    }
    hak_free(blocks[30]); /* although its bit is set in the cell */
    CHECK_EQ(hk_validate(), 0);
    hak_heap_destroy(heap);
}

/* ---- Validation ------------------------------------------------------------------------------ */

TEST_FRESH(validation_finds_a_damaged_heap) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    char *block = hak_heap_malloc(heap, 1000);
    CHECK(hak_heap_malloc(heap, 1 << 20) != NULL);
    CHECK_EQ(hk_validate(), 0);

    struct hk_span *slab = hk_pagemap_find(block);
    slab->free++;
    CHECK_EQ(hk_validate(), 1);
    CHECK_CONTAINS(fake_os_take_errors(), "differ from its counts");
    slab->free--;

    heap->large_blocks++;
    CHECK_EQ(hk_validate(), 1);
    CHECK_CONTAINS(fake_os_take_errors(), "wrong count of the large blocks");
    heap->large_blocks--;

    char *end = heap->main.cache.cells[HK_OWN_1024].end;
    heap->main.cache.cells[HK_OWN_1024].end = end + 1024;
    slab->bump--;
    CHECK_EQ(hk_validate(), 1);
    CHECK_CONTAINS(fake_os_take_errors(), "cached block");
    slab->bump++;
    heap->main.cache.cells[HK_OWN_1024].end = end;
    CHECK_EQ(hk_validate(), 0);
}
