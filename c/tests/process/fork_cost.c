/* fork_cost.c - the page faults of a fork do not grow with heaps and threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_HEAPS=200 HAKMEM_PURGE_DELAY_MS=100000
#include "process.h"

enum { THREADS = 64, FORKS = 20, IN_CHILD = 400, IN_PARENT = 84 };

static pthread_barrier_t ready, done;

/* Then waits forever, because a thread that wakes up writes to its stack. After a fork, this would
 * cause a page fault. */
static void *fill_heap(void *arg) {
    static __thread char *blocks[2000];
    uint64_t seed = (uint64_t)(uintptr_t)&seed;
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            *(blocks[i] = malloc(16 + test_random(&seed) % 2000)) = 1;
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            free(blocks[i]);
    }
    pthread_barrier_wait(&ready);
    pthread_barrier_wait(&done);
    return arg;
}

static void count_faults(void *unused) {
    (void)unused;
    pthread_t threads[THREADS];
    pthread_barrier_init(&ready, NULL, THREADS + 1);
    pthread_barrier_init(&done, NULL, THREADS + 1);
    for (size_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(fill_heap, NULL);
    pthread_barrier_wait(&ready);
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    CHECK_GE(stats.heaps, THREADS);
    test_sleep_ms(50);

    long *in_child = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    long start = faults();
    for (int i = 0; i < FORKS; i++) {
        pid_t child = fork();
        if (child == 0) {
            *in_child += faults();
            _exit(0);
        }
        CHECK(ended_well(child));
    }
    CHECK_LE(*in_child / FORKS, IN_CHILD);
    CHECK_LE((faults() - start) / FORKS, IN_PARENT);
    pthread_barrier_wait(&done);
    for (size_t i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

TEST(a_fork_with_64_heaps_writes_to_none_of_them) { CHECK_EXITED(in_child(count_faults, NULL)); }
