/* process/nodes.c - heaps of NUMA nodes, in threads that run on two CPUs, which simulated kernel
 * files assign to two nodes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: none
// flags: -Wno-unused-function
#define HK_OS_ROOT "." /* the folder of each test */
#include "hakmem.c"
/* Included after the file under test, which includes the headers in its own order. */
#include "../unit/folder.h"

#include <sched.h>

enum { BLOCKS = 4000, BYTES = 64, CLASS = HK_CLASS_64 };

static unsigned cpus[2]; /* two CPUs that this process may use */

static void find_cpus(void) {
    cpu_set_t set;
    unsigned found = 0;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        for (unsigned cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
            if (CPU_ISSET(cpu, &set))
                cpus[found++] = cpu;
    if (found < 2)
        SKIP("one CPU");
}

static void put_cpus(unsigned node, unsigned cpu) {
    char path[64], text[16];
    snprintf(path, sizeof path, "sys/devices/system/node/node%u/cpulist", node);
    snprintf(text, sizeof text, "%u\n", cpu);
    put(path, text);
}

static void put_two_nodes(void) {
    put("sys/devices/system/node/has_cpu", "0-1\n");
    put_cpus(0, cpus[0]);
    put_cpus(1, cpus[1]);
}

static struct job {
    pthread_barrier_t step;
    void *blocks[2][BLOCKS];
    struct hk_heap *heaps[2];
    uint64_t left[2]; /* blocks of the heap of each thread that are still allocated or cached */
} job;

static struct hk_heap *owner(const void *block) { return hk_span_owner(hk_pagemap_find(block)); }

/* Both threads allocate, and then each frees the blocks of the other one. */
static void *work(void *arg) {
    size_t self = (size_t)(uintptr_t)arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(cpus[self], &set);
    REQUIRE(sched_setaffinity(0, sizeof set, &set) == 0);

    for (size_t i = 0; i < BLOCKS; i++)
        job.blocks[self][i] = hak_malloc(BYTES);
    job.heaps[self] = hk_thread_get()->heap;
    pthread_barrier_wait(&job.step);

    for (size_t i = 0; i < BLOCKS; i++) {
        CHECK(owner(job.blocks[1 - self][i]) == job.heaps[1 - self]);
        hak_free(job.blocks[1 - self][i]);
    }
    pthread_barrier_wait(&job.step);
    job.left[self] = job.heaps[self]->classes[CLASS].blocks_allocated;
    pthread_barrier_wait(&job.step);
    return NULL;
}

static void run_two_threads(void) {
    pthread_t threads[2];
    pthread_barrier_init(&job.step, NULL, 2);
    for (uintptr_t i = 0; i < 2; i++)
        threads[i] = test_thread(work, (void *)i);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(hk_validate(), 0);
}

/* The blocks that pass between threads on one CPU. */
static uint64_t transferred(void) {
    struct hk_transfer_counts counts;
    hk_transfer_count(CLASS, &counts);
    return counts.blocks;
}

static void check_two_nodes(void) {
    put_two_nodes();
    run_two_threads();
    CHECK_EQ(hk_nodes_count(), 2);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(job.heaps[i]->cpu, cpus[i]);
        CHECK_EQ(hk_heap_node(job.heaps[i]), i);
        CHECK_LE(job.left[i], BLOCKS / 2);
    }
    CHECK_LE(transferred(), BLOCKS / 8); /* those that a refill took in advance */
}

TEST_IN_FOLDER(threads_on_two_nodes_use_their_own_heaps_and_return_blocks_to_them) {
    find_cpus();
    check_two_nodes();
}

/* As before glibc 2.35, with musl, and on other processors. */
TEST_IN_FOLDER(this_needs_no_area_for_restartable_sequences) {
    find_cpus();
    os_rseq_offset = 0;
    check_two_nodes();
}

TEST_IN_FOLDER(without_these_files_blocks_of_all_threads_pass_through_transfer_caches) {
    find_cpus();
    run_two_threads();
    CHECK_EQ(hk_nodes_count(), 1);
    CHECK_GE(transferred(), BLOCKS / 4);
}
