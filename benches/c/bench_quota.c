/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A process that a quota confines to two CPUs of a machine with many: its threads run on two CPUs
 * at a time, and on any two in the course of time. The program stays on two CPUs of this machine,
 * and makes up their numbers: two below NUMBERS, and other ones every millisecond. With two NUMBERS
 * they are always 0 and 1.
 *
 * COUNTED is the number of CPUs that the allocator takes into account: with a quota, as many as it
 * amounts to. The threads do the same as in bench_exchange. One field follows the usual ones: bytes
 * in transfer caches. The program contains hakmem, because it replaces the place from which hakmem
 * reads the number of the CPU.
 */
#include "hakmem.c"

#include "bench.h"

#include <sched.h>

#define USAGE                                                                                      \
    "bench_quota COUNTED NUMBERS THREADS ITERATIONS PLACES SEED\n"                                 \
    "  COUNTED     CPUs that the allocator counts\n"                                               \
    "  NUMBERS     CPUs of the machine that is made up\n"                                          \
    "  ITERATIONS  of each thread\n"                                                               \
    "  PLACES      of the shared table, for each thread"

enum { CPUS_AT_A_TIME = 2, NUMBERS_MAX = 1024, ITERATIONS_BETWEEN_LOOKS = 32, TICK_US = 1000 };

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

static uint32_t numbers;
static uint64_t iterations;
static uint64_t seed;
static void **table; /* atomic */
static uint32_t places;
static uint32_t epoch;        /* atomic; milliseconds since the start */
static uint32_t done;         /* atomic; threads that have done their work */
static uint32_t first_cpu;    /* true number of one of the two CPUs */
static ptrdiff_t true_number; /* its place, as a distance from the thread pointer */

/* The number that hakmem reads instead of the one that the kernel stores. */
static _Thread_local uint32_t made_up_number;

/* The number of one of the two CPUs in one millisecond. */
static uint32_t make_up_number(uint32_t index, uint32_t now) {
    if (numbers == CPUS_AT_A_TIME)
        return index;
    bench_rng rng = bench_rng_seeded(seed, now);
    uint32_t first = bench_below((uint32_t)bench_random(&rng), numbers);
    uint32_t distance = 1 + bench_below((uint32_t)bench_random(&rng), numbers - 1);
    return (first + index * distance) % numbers;
}

static void look_where_we_are(void) {
    const void *place = os_thread_pointer() + true_number;
    uint32_t cpu = hk_load_relaxed((const uint32_t *)place); /* relaxed: a hint */
    /* relaxed: any millisecond will do */
    made_up_number = make_up_number(cpu != first_cpu, hk_load_relaxed(&epoch));
}

/* Keeps the process on the first two CPUs that it may use. */
static void confine(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        bench_fail("sched_getaffinity", errno);
    unsigned kept = 0;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &set))
            continue;
        if (kept == 0)
            first_cpu = (uint32_t)cpu;
        if (kept < CPUS_AT_A_TIME)
            kept++;
        else
            CPU_CLR(cpu, &set);
    }
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        bench_fail("sched_setaffinity", errno);
}

/* Lets hakmem believe in `counted` CPUs, and read numbers that we make up. Before other threads
 * start. */
static void set_up(uint32_t counted) {
    free(malloc(1)); /* starts hakmem */
    hk_threads.cpus = counted;
    hk_heaps_start(0, counted);
    hk_transfer_start(counted);

    true_number = os_rseq_offset;
    if (true_number == 0 || os_thread_pointer() == NULL)
        bench_fail("the number of the CPU is not in memory", ENOTSUP);
    os_rseq_offset = (const char *)&made_up_number - os_thread_pointer();
}

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(seed, index);
    bench_begin(index);
    for (uint64_t i = 0; i < iterations; i++) {
        if (i % ITERATIONS_BETWEEN_LOOKS == 0)
            look_where_we_are();
        uint64_t random = bench_random(&rng);
        void *block = bench_block(bench_size(&sizes, (uint32_t)(random >> 32)));
        void **place = &table[bench_below((uint32_t)random, places)];
        free(__atomic_exchange_n(place, block, __ATOMIC_ACQ_REL));
    }
    hk_add_relaxed(&done, 1); /* relaxed: the barrier orders it */
    bench_end(index);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 6, 6, USAGE);
    uint32_t counted = (uint32_t)bench_argument(1, 1, NUMBERS_MAX);
    numbers = (uint32_t)bench_argument(2, CPUS_AT_A_TIME, NUMBERS_MAX);
    unsigned threads = (unsigned)bench_argument(3, 1, BENCH_THREADS_MAX);
    iterations = bench_argument(4, 1, UINT64_MAX / BENCH_THREADS_MAX);
    places = threads * (uint32_t)bench_argument(5, 1, INT32_MAX / BENCH_THREADS_MAX);
    seed = bench_argument(6, 0, UINT64_MAX);
    confine();
    set_up(counted);
    table = bench_array(places, sizeof *table);

    bench_team_start(threads, body);
    /* relaxed: only counted */
    while (hk_load_relaxed(&done) < threads) {
        usleep(TICK_US);
        hk_store_relaxed(&epoch, epoch + 1);
    }
    uint64_t elapsed_ns = bench_team_wait();

    /* Now, because transfer caches are emptied when one thread is left. */
    size_t transfer_bytes = hk_transfer_bytes();
    bench_report_start(threads * iterations, elapsed_ns);
    printf("  transfer-kb %zu\n", transfer_bytes / BENCH_KIB);
    bench_team_join();
    return EXIT_SUCCESS;
}
