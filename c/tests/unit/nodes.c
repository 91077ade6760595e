/* unit/nodes.c - NUMA nodes: the choice of heaps, and the way of blocks between nodes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "core/nodes.h"

#include <semaphore.h>

#include "core/meta.h"
#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "heap/heaps.h"
#include "thread/bins.h"
#include "thread/slow.h"
#include "thread/thread.h"
#include "thread/threads.h"
#include "transfer/transfer.h"

/* ---- Threads that run on chosen CPUs, one at a time ------------------------------------------ */

struct worker {
    pthread_t id;
    sem_t begin;
    sem_t end;
    void (*job)(void *arg); /* NULL ends the thread */
    void *arg;
};

static void *work(void *arg) {
    struct worker *worker = arg;
    for (;;) {
        sem_wait(&worker->begin);
        if (worker->job == NULL)
            return NULL;
        worker->job(worker->arg);
        sem_post(&worker->end);
    }
}

static void start(struct worker *worker) {
    sem_init(&worker->begin, 0, 0);
    sem_init(&worker->end, 0, 0);
    worker->id = test_thread(work, worker);
}

/* Lets a thread do a job on a CPU. All other threads wait. */
static void run(struct worker *worker, uint32_t cpu, void (*job)(void *arg), void *arg) {
    fake_os.cpu = cpu;
    worker->job = job;
    worker->arg = arg;
    sem_post(&worker->begin);
    sem_wait(&worker->end);
}

static void end(struct worker *worker, uint32_t cpu) {
    fake_os.cpu = cpu;
    worker->job = NULL;
    sem_post(&worker->begin);
    pthread_join(worker->id, NULL);
}

static void set_nodes(uint32_t nodes, uint32_t cpus_per_node) {
    fake_os.nodes = nodes;
    fake_os.cpus_per_node = cpus_per_node;
    fake_os.cpus = nodes * cpus_per_node;
}

static struct hak_stats stats(void) {
    struct hak_stats now;
    hak_stats(&now, sizeof now);
    return now;
}

static void get_thread(void *to) {
    hak_free(hak_malloc(100));
    *(struct hk_thread **)to = hk_thread_get();
}

/* Starts a thread on a CPU and returns its heap. */
static struct hk_heap *start_on(struct worker *worker, uint32_t cpu) {
    struct hk_thread *thread = NULL;
    start(worker);
    run(worker, cpu, get_thread, &thread);
    REQUIRE(thread != NULL);
    return thread->heap;
}

/* The heap that owns a block. */
static struct hk_heap *owner(const void *block) { return hk_span_owner(hk_pagemap_find(block)); }

/* ---- Heaps ----------------------------------------------------------------------------------- */

TEST_FRESH(a_thread_uses_a_heap_of_the_node_on_which_it_starts) {
    static struct worker workers[8];
    static const uint32_t cpus[] = {6, 1, 4, 0, 2, 7, 3, 5};
    struct hk_heap *heaps[TEST_COUNT(cpus)];
    set_nodes(2, 4);
    for (size_t i = 0; i < TEST_COUNT(cpus); i++) {
        AT("thread", i);
        heaps[i] = start_on(&workers[i], cpus[i]);
    }

    CHECK_EQ(stats().heaps, 4);
    for (size_t i = 0; i < TEST_COUNT(cpus); i++) { /* the node of the first is known by now */
        AT("thread", i);
        CHECK_EQ(hk_heap_node(heaps[i]), cpus[i] / 4);
        CHECK_EQ(heaps[i]->threads, 2);
    }
    for (size_t i = 0; i < TEST_COUNT(cpus); i++)
        end(&workers[i], cpus[i]);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(its_memory_comes_from_that_heap) {
    static struct worker workers[2];
    struct hk_thread *threads[2];
    set_nodes(2, 4);
    for (uint32_t i = 0; i < 2; i++) {
        start(&workers[i]);
        run(&workers[i], 4 * i, get_thread, &threads[i]);
    }

    for (uint32_t i = 0; i < 2; i++) {
        void *small = NULL, *large = NULL;
        CHECK_EQ(hk_heap_take(threads[i]->heap, HK_CLASS_64, &small, 1), 1);
        large = hk_large_alloc(&threads[i]->heap->arena, threads[i]->heap, 1 << 20, 16).start;
        CHECK_EQ(hk_heap_node(owner(small)), i);
        CHECK_EQ(hk_heap_node(owner(large)), i);
    }
}

TEST_FRESH(an_idle_heap_of_another_node_is_not_used) {
    static struct worker first, workers[3];
    set_nodes(2, 4);
    start_on(&first, 0);
    struct hk_heap *idle = start_on(&workers[0], 1);
    end(&workers[0], 1);
    CHECK_EQ(idle->threads, 0);

    struct hk_heap *heap = start_on(&workers[1], 5);
    CHECK(heap != idle);
    CHECK_EQ(hk_heap_node(heap), 1);
    CHECK(start_on(&workers[2], 2) == idle);
}

TEST_FRESH(a_thread_that_moves_keeps_its_heap) {
    static struct worker first, moving;
    struct hk_thread *thread = NULL;
    set_nodes(2, 4);
    start_on(&first, 0);
    struct hk_heap *heap = start_on(&moving, 1);
    run(&moving, 6, get_thread, &thread);
    CHECK(thread->heap == heap);
    CHECK_EQ(hk_heap_node(heap), 0);
}

TEST_FRESH(a_node_has_at_most_one_heap_for_two_cpus) {
    static struct worker workers[10];
    set_nodes(2, 5);
    for (size_t i = 0; i < 8; i++)
        CHECK_EQ(hk_heap_node(start_on(&workers[i], i % 5)), 0);
    CHECK_EQ(stats().heaps, 3);
    CHECK_EQ(hk_heap_node(start_on(&workers[8], 5)), 1);
    CHECK_EQ(hk_heap_node(start_on(&workers[9], 6)), 1);
    CHECK_EQ(stats().heaps, 5);
}

TEST_FRESH(an_option_may_allow_more_heaps_than_cpus) {
    static struct worker workers[8];
    char *environment[] = {"HAKMEM_HEAPS=8", NULL};
    fake_os.environment = environment;
    set_nodes(2, 2);
    for (uint32_t i = 0; i < 6; i++)
        start_on(&workers[i], 1);
    CHECK_EQ(stats().heaps, 4); /* its part */
    start_on(&workers[6], 2);
    start_on(&workers[7], 2);
    CHECK_EQ(stats().heaps, 6);
}

/* As with a quota, or with an affinity to CPUs of few nodes. */
TEST_FRESH(each_node_has_a_heap_even_if_there_are_more_nodes_than_heaps) {
    static struct worker workers[8];
    struct hk_heap *heaps[8];
    char *environment[] = {"HAKMEM_HEAPS=2", NULL};
    fake_os.environment = environment;
    set_nodes(4, 2);
    for (uint32_t i = 0; i < 8; i++)
        heaps[i] = start_on(&workers[i], 7 - i);
    for (uint32_t i = 0; i < 8; i++) {
        AT("thread", i);
        CHECK_EQ(hk_heap_node(heaps[i]), (7 - i) / 2);
    }
    CHECK_EQ(stats().heaps, 4);
}

TEST_FRESH(without_memory_for_another_heap_threads_share_those_of_other_nodes) {
    static struct worker first, workers[2];
    struct hk_thread *thread = NULL;
    set_nodes(2, 4);
    struct hk_heap *only = start_on(&first, 0);
    run(&first, 0, get_thread, &thread);
    hk_nodes_read();
    CHECK_EQ(hk_nodes_count(), 2);

    while (hk_meta_alloc(sizeof(struct hk_heap)) != NULL)
        fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(start_on(&workers[0], 4) == only);
    fake_os_fail_maps(0, 0);
    CHECK_EQ(hk_heap_node(start_on(&workers[1], 4)), 1);
}

/* Chooses heaps for `threads` threads on a CPU. */
static void choose(uint32_t threads, uint32_t cpu) {
    for (uint32_t i = 0; i < threads; i++) {
        struct hk_heap *spare = hk_heap_create();
        hk_lock(&hk_threads.lock, HK_RANK_THREADS);
        struct hk_heap *heap = hk_heaps_choose(&spare, cpu);
        REQUIRE(heap != NULL);
        heap->threads++;
        hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
        hk_heaps_drop_spare(spare);
    }
}

static uint32_t count_on(uint32_t node) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < hk_heaps_count(); i++)
        count += hk_heap_node(hk_heaps_at(i)) == node;
    return count;
}

TEST_FRESH(with_more_cpus_than_heaps_each_node_has_its_part) {
    set_nodes(8, 96);
    hk_heaps_start(fake_os.cpus, 1);
    hk_nodes_read();
    for (uint32_t node = 0; node < 8; node++)
        choose(100, 96 * node + 95);
    for (uint32_t node = 0; node < 8; node++) {
        AT("node", node);
        CHECK_EQ(count_on(node), 32);
    }
}

TEST_FRESH(any_number_of_nodes_is_served) {
    set_nodes(300, 30);
    hk_heaps_start(fake_os.cpus, 1);
    hk_nodes_read();
    CHECK_EQ(hk_nodes_count(), HK_NODES_MAX);
    for (uint32_t node = 0; node < 300; node++)
        choose(10, 30 * node);
    for (uint32_t node = 0; node < HK_NODES_MAX; node++) {
        AT("node", node);
        CHECK_GE(count_on(node), 1);
    }
    CHECK_LE(hk_heaps_count(), HK_HEAPS_MAX - 1);
    CHECK_EQ(hk_nodes_of(HK_OS_CPUS_MAX), 0);
    CHECK_EQ(hk_nodes_of(UINT32_MAX), 0);
}

/* ---- The table ------------------------------------------------------------------------------- */

TEST_FRESH(the_second_thread_reads_the_nodes_and_no_other) {
    static struct worker workers[3];
    set_nodes(2, 4);
    start_on(&workers[0], 0);
    CHECK_EQ(fake_os.node_reads, 0);
    CHECK_EQ(hk_nodes_count(), 1);
    start_on(&workers[1], 0);
    CHECK_EQ(fake_os.node_reads, 1);
    CHECK_EQ(hk_nodes_count(), 2);
    start_on(&workers[2], 0);
    CHECK_EQ(fake_os.node_reads, 1);
}

static struct worker second;

/* Another thread starts now. */
static void start_second(void) {
    fake_os.delay = NULL;
    start_on(&second, 5);
    fake_os.cpu = 0;
}

TEST_FRESH(two_threads_that_start_at_once_read_the_nodes) {
    struct hk_thread *thread = NULL;
    set_nodes(2, 4);
    hk_thread_start_late();

    /* There is metadata for the cache of this thread, and none for its heap. */
    void *room = hk_meta_alloc(sizeof(struct hk_thread));
    fake_os_fail_maps(1, FAKE_OS_ALL);
    while (hk_meta_alloc(sizeof(struct hk_thread)) != NULL) {
    }
    fake_os_fail_maps(0, 0);
    hk_meta_free(room, sizeof(struct hk_thread));

    fake_os.delay = start_second;
    get_thread(&thread);
    CHECK(fake_os.delay == NULL);
    CHECK_EQ(hk_nodes_count(), 2);
    CHECK_EQ(hk_heap_node(thread->heap), 0);
    CHECK_EQ(stats().heaps, 2);
}

TEST_FRESH(if_the_nodes_are_unknown_all_heaps_serve_all_threads) {
    static struct worker workers[3];
    fake_os.cpus = 4;
    uint64_t metadata = 0;
    for (uint32_t i = 0; i < 3; i++) {
        start_on(&workers[i], i);
        metadata = stats().bytes_metadata;
    }
    CHECK_EQ(fake_os.node_reads, 1);
    CHECK(hk_nodes() == NULL);
    CHECK_EQ(stats().heaps, 2);
    CHECK_EQ(stats().bytes_metadata, metadata);
}

/* One of two nodes cannot be read. */
TEST_FRESH(a_table_with_a_single_node_is_not_used) {
    static struct worker workers[2];
    fake_os.cpus = 8;
    fake_os.nodes = 1;
    fake_os.cpus_per_node = 4;
    start_on(&workers[0], 0);
    start_on(&workers[1], 1);
    CHECK_EQ(fake_os.node_reads, 1);
    CHECK(hk_nodes() == NULL);
}

TEST_FRESH(without_memory_for_the_table_there_is_one_node) {
    set_nodes(2, 4);
    while (hk_meta_alloc(1 << 14) != NULL)
        fake_os_fail_maps(1, FAKE_OS_ALL);
    hk_nodes_read();
    CHECK_EQ(fake_os.node_reads, 1);
    CHECK(hk_nodes() == NULL);
}

/* ---- Parked caches --------------------------------------------------------------------------- */

TEST_FRESH(a_thread_adopts_the_cache_of_a_thread_of_its_node) {
    static struct worker first, workers[4];
    struct hk_thread *threads[4];
    set_nodes(2, 4);
    start_on(&first, 0);
    for (uint32_t i = 0; i < 2; i++) {
        start(&workers[i]);
        run(&workers[i], 4 * i, get_thread, &threads[i]);
    }
    end(&workers[0], 0);
    end(&workers[1], 4); /* parked last */

    for (uint32_t i = 2; i < 4; i++) {
        start(&workers[i]);
        run(&workers[i], 4 * (i - 2), get_thread, &threads[i]);
        CHECK_EQ(hk_heap_node(threads[i]->heap), i - 2);
    }
    CHECK(threads[2] == threads[0]);
    CHECK(threads[3] == threads[1]);
    CHECK_EQ(stats().threads, 3);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_cache_that_was_parked_on_another_node_is_not_adopted) {
    static struct worker first, workers[2];
    struct hk_thread *parked = NULL, *thread = NULL;
    set_nodes(2, 4);
    start_on(&first, 0);
    start(&workers[0]);
    run(&workers[0], 0, get_thread, &parked);
    end(&workers[0], 0);
    start(&workers[1]);
    run(&workers[1], 4, get_thread, &thread);
    CHECK(thread != parked);
    CHECK(parked->is_parked);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- Blocks between nodes -------------------------------------------------------------------- */

enum { BLOCKS = 2000, BYTES = 64, CLASS = HK_CLASS_64 };

static void allocate(void *blocks) {
    for (size_t i = 0; i < BLOCKS; i++)
        ((void **)blocks)[i] = hak_malloc(BYTES);
}

static void free_all(void *blocks) {
    for (size_t i = 0; i < BLOCKS; i++)
        hak_free(((void **)blocks)[i]);
}

/* The blocks of a class that a heap holds as allocated, in use or cached. */
static uint64_t allocated(struct hk_heap *heap) { return heap->classes[CLASS].blocks_allocated; }

static uint64_t transferred(void) {
    struct hk_transfer_counts counts;
    hk_transfer_count(CLASS, &counts);
    return counts.blocks;
}

TEST_FRESH(blocks_that_are_freed_on_another_node_return_to_their_heap) {
    static struct worker workers[2];
    static void *blocks[BLOCKS];
    struct hk_thread *other = NULL;
    set_nodes(2, 4);
    struct hk_heap *heap = start_on(&workers[0], 0);
    start_on(&workers[1], 4);
    run(&workers[0], 0, allocate, blocks);
    CHECK_GE(allocated(heap), BLOCKS);

    run(&workers[1], 4, free_all, blocks);
    run(&workers[1], 4, get_thread, &other);
    CHECK_EQ(transferred(), 0);
    CHECK_LE(allocated(heap), BLOCKS / 2 + hk_bins_count(other, CLASS));
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(blocks_that_are_freed_on_their_node_pass_through_a_cache_of_this_node) {
    static struct worker workers[3];
    static void *blocks[BLOCKS], *again[BLOCKS];
    set_nodes(2, 4);
    struct hk_heap *heap = start_on(&workers[0], 0);
    struct hk_heap *remote = start_on(&workers[1], 4);
    CHECK(start_on(&workers[2], 1) != heap);
    run(&workers[0], 0, allocate, blocks);
    run(&workers[2], 1, free_all, blocks);
    uint64_t cached = transferred();
    CHECK_GE(cached, 100);

    run(&workers[1], 4, allocate, again); /* the other node does not find them */
    CHECK_EQ(transferred(), cached);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK(owner(again[i]) == remote);

    run(&workers[0], 0, allocate, blocks); /* another CPU of the node does */
    CHECK(transferred() < cached);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_batch_from_several_nodes_is_divided) {
    static struct worker workers[2];
    static void *blocks[2][BLOCKS], *mixed[BLOCKS];
    set_nodes(2, 4);
    for (uint32_t i = 0; i < 2; i++) {
        start_on(&workers[i], 4 * i);
        run(&workers[i], 4 * i, allocate, blocks[i]);
    }

    for (size_t i = 0; i < BLOCKS; i++)
        mixed[i] = blocks[i % 2][i / 2];
    fake_os.cpu = 5;
    CHECK_EQ(hk_heap_local_first(CLASS, mixed, BLOCKS), BLOCKS / 2);
    for (size_t i = 0; i < BLOCKS; i++)
        CHECK_EQ(hk_heap_node(owner(mixed[i])), i < BLOCKS / 2);
    for (size_t i = 0; i < BLOCKS / 2; i++)
        CHECK(mixed[i] == blocks[1][i]); /* in their order, because the last are the newest */
    CHECK_EQ(hk_heap_local_first(HK_CLASS_128, mixed, BLOCKS), BLOCKS); /* none is of this class */
}

static void free_one(void *block) { hak_free(block); }

/* Blocks without room in their bin take another way. */
TEST_FRESH(a_single_block_of_another_node_returns_to_its_heap) {
    static struct worker workers[2];
    static void *blocks[BLOCKS];
    CHECK_EQ(hak_option_set("thread_cache_kb", "0"), 0);
    set_nodes(2, 4);
    struct hk_heap *heap = start_on(&workers[0], 0);
    start_on(&workers[1], 4);
    run(&workers[0], 0, allocate, blocks);
    uint64_t before = allocated(heap);
    for (size_t i = 0; i < 10; i++)
        run(&workers[1], 4, free_one, blocks[i]);
    CHECK_EQ(transferred(), 0);
    CHECK_EQ(allocated(heap), before - 10);
    for (size_t i = 10; i < 20; i++)
        run(&workers[1], 3, free_one, blocks[i]);
    CHECK_EQ(transferred(), 10);
    CHECK_EQ(allocated(heap), before - 10);
}

/* With a quota there are fewer places than CPUs. */
TEST_FRESH(cpus_of_different_nodes_share_no_transfer_cache) {
    void *blocks[4] = {&blocks[0], &blocks[1], &blocks[2], &blocks[3]};
    void *to[4];
    set_nodes(2, 4);
    hk_nodes_read();
    hk_transfer_start(2);
    CHECK_EQ(hk_transfer_places(), 4);

    fake_os.cpu = 1;
    CHECK_EQ(hk_transfer_put(CLASS, blocks, 4, NULL).count, 4);
    for (fake_os.cpu = 4; fake_os.cpu < 8; fake_os.cpu++)
        CHECK_EQ(hk_transfer_take(CLASS, to, 4), 0);
    fake_os.cpu = 3;
    CHECK_EQ(hk_transfer_take(CLASS, to, 4), 4);
}

/* Takes blocks on a CPU until one of the attempts tries other CPUs. Returns their number. */
static uint32_t take_on(uint32_t cpu, void **to, uint32_t count) {
    uint32_t taken = 0;
    fake_os.cpu = cpu;
    for (int i = 0; i < 40 && taken == 0; i++)
        taken = hk_transfer_take(CLASS, to, count);
    return taken;
}

TEST_FRESH(a_refill_takes_blocks_of_other_cpus_only_on_its_node) {
    enum { COUNT = 64 };
    void *blocks[COUNT], *to[COUNT];
    for (size_t i = 0; i < COUNT; i++)
        blocks[i] = &blocks[i];
    set_nodes(2, 4);
    hk_nodes_read();
    hk_transfer_start(2);
    for (uint32_t cpu = 0; cpu < 8; cpu++) { /* so that each CPU has a cache */
        fake_os.cpu = cpu;
        hk_transfer_put(CLASS, blocks, 1, NULL);
        hk_transfer_take(CLASS, to, 1);
    }

    fake_os.cpu = 4; /* the first place of its row */
    CHECK_EQ(hk_transfer_put(CLASS, blocks, COUNT, NULL).count, COUNT);
    CHECK_EQ(take_on(0, to, COUNT), 0);
    CHECK_EQ(take_on(1, to, COUNT), 0); /* the last place of the row before it */
    CHECK_EQ(take_on(5, to, COUNT), COUNT);
}

TEST_FRESH(the_rows_of_the_transfer_caches_fit_into_the_table) {
    set_nodes(64, 32);
    hk_nodes_read();
    hk_transfer_start(fake_os.cpus);
    CHECK_EQ(hk_transfer_places(), 2048);
    void *block = &block;
    for (fake_os.cpu = 0; fake_os.cpu < 2048; fake_os.cpu += 31)
        CHECK_EQ(hk_transfer_put(CLASS, &block, 1, NULL).count, 1);
}

TEST_FRESH(a_trim_finds_the_blocks_in_the_transfer_caches_of_all_nodes) {
    static struct worker workers[3];
    static void *blocks[BLOCKS];
    set_nodes(2, 4);
    start_on(&workers[0], 0);
    start_on(&workers[1], 4);
    start_on(&workers[2], 5);
    run(&workers[1], 4, allocate, blocks);
    run(&workers[2], 5, free_all, blocks);
    CHECK_GE(transferred(), 100);
    hak_trim();
    CHECK_EQ(transferred(), 0);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- Reports --------------------------------------------------------------------------------- */

static void add_text(void *to, const char *text, size_t bytes) { strncat(to, text, bytes); }

TEST_FRESH(a_report_tells_the_number_of_nodes_if_there_are_several) {
    static struct worker workers[2];
    static char text[2][65536];
    set_nodes(3, 4);
    start_on(&workers[0], 0);
    hak_report(HAK_REPORT_TEXT, add_text, text[0]);
    CHECK(strstr(text[0], "nodes") == NULL);
    start_on(&workers[1], 0);
    hak_report(HAK_REPORT_TEXT, add_text, text[1]);
    CHECK_CONTAINS(text[1], "               3  NUMA nodes with CPUs\n");
}
