/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A process that a quota confines to two CPUs of a machine with many: its threads run on two CPUs at a time,
 * and on any two in the course of time. The numbers of CPUs are made up. Each CPU of this machine that runs a
 * thread gets a number below NUMBERS, and all get other ones every millisecond. With as many NUMBERS as CPUS
 * the numbers are those of the machine.
 *
 * COUNTED is the number of CPUs that the allocator takes into account: with a quota, as many as it amounts to.
 * The threads do the same as in bench_exchange. One field follows the usual ones: bytes in transfer caches.
 * The program contains hakmem, because it replaces the place from which hakmem reads the number of the CPU.
 */
#include "hakmem.c"

#include "bench.h"

#define USAGE                                                                                      \
    "bench_quota COUNTED NUMBERS THREADS ITERATIONS PLACES SEED\n"                                 \
    "  COUNTED     CPUs that the allocator counts\n"                                               \
    "  NUMBERS     CPUs of the machine, at least COUNTED; COUNTED: no made-up numbers\n"           \
    "  ITERATIONS  of each thread\n"                                                               \
    "  PLACES      of the shared table, for each thread"

enum { ITERATIONS_BETWEEN_LOOKS = 32, TICK_US = 1000, CPUS_HERE_MAX = 1024 };

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

static uint32_t numbers;
static uint64_t iterations;
static uint64_t seed;
static void **table; /* atomic */
static uint32_t places;
static bool fakes_numbers;
static uint32_t epoch;     /* atomic; milliseconds since the start */
static uint32_t done;      /* atomic; threads that have done their work */
static ptrdiff_t cpu_here; /* place of the true number, as a distance from the thread pointer */
static pthread_barrier_t started;
static pthread_barrier_t worked;
static pthread_barrier_t reported; /* transfer caches are emptied when one thread is left */

/* The number that hakmem reads instead of the one that the kernel stores. */
static _Thread_local uint32_t made_up_number;

/* A CPU of this machine in one millisecond: any number, and another one than its neighbours have. */
static uint32_t make_up_number(uint32_t cpu, uint32_t now) {
    bench_rng rng = bench_rng_seeded(seed, now);
    uint32_t first = bench_below((uint32_t)bench_random(&rng), numbers);
    uint32_t step = 1 + bench_below((uint32_t)bench_random(&rng), numbers - 1);
    return (first + cpu * step) % numbers;
}

static void look_where_we_are(void) {
    const void *place = os_thread_pointer() + cpu_here;
    uint32_t cpu = hk_load_relaxed((const uint32_t *)place);
    made_up_number = make_up_number(cpu, hk_load_relaxed(&epoch));
}

/* Lets hakmem believe in `counted` CPUs, and read numbers that we make up. Before other threads start. */
static void set_up(uint32_t counted) {
    free(malloc(1)); /* starts hakmem */
    threads.cpus = counted;
    threads.heaps_max = counted < HK_HEAPS_MAX ? counted : HK_HEAPS_MAX;
    hk_transfer_start(counted);

    fakes_numbers = numbers != counted;
    if (!fakes_numbers)
        return;
    cpu_here = os_rseq_offset;
    if (cpu_here == 0 || os_thread_pointer() == NULL)
        bench_fail("the number of the CPU is not in memory", ENOTSUP);
    os_rseq_offset = (const char *)&made_up_number - os_thread_pointer();
}

typedef struct worker {
    uint64_t index;
    bench_times *times;
    pthread_t thread;
} worker;

static void *body(void *argument) {
    worker *self = argument;
    bench_rng rng = bench_rng_seeded(seed, self->index);
    pthread_barrier_wait(&started);
    self->times->start_ns = bench_now_ns();
    for (uint64_t i = 0; i < iterations; i++) {
        if (fakes_numbers && i % ITERATIONS_BETWEEN_LOOKS == 0)
            look_where_we_are();
        uint64_t random = bench_random(&rng);
        void *block = bench_block(bench_size(&sizes, (uint32_t)(random >> 32)));
        void **place = &table[bench_below((uint32_t)random, places)];
        free(__atomic_exchange_n(place, block, __ATOMIC_ACQ_REL));
    }
    self->times->end_ns = bench_now_ns();
    hk_add_relaxed(&done, 1); /* relaxed: the barrier orders it */
    pthread_barrier_wait(&worked);
    pthread_barrier_wait(&reported);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 7)
        bench_usage(USAGE);
    uint32_t counted = (uint32_t)bench_number(argv[1], 1, CPUS_HERE_MAX, USAGE);
    numbers = (uint32_t)bench_number(argv[2], counted, CPUS_HERE_MAX, USAGE);
    unsigned thread_count = (unsigned)bench_number(argv[3], 1, BENCH_THREADS_MAX, USAGE);
    iterations = bench_number(argv[4], 1, UINT64_MAX / BENCH_THREADS_MAX, USAGE);
    places =
        thread_count * (uint32_t)bench_number(argv[5], 1, INT32_MAX / BENCH_THREADS_MAX, USAGE);
    seed = bench_number(argv[6], 0, UINT64_MAX, USAGE);
    set_up(counted);
    table = calloc(places, sizeof *table);
    if (table == NULL)
        bench_fail("calloc", ENOMEM);

    static worker workers[BENCH_THREADS_MAX];
    static bench_times times[BENCH_THREADS_MAX];
    bench_barrier_init(&started, thread_count);
    bench_barrier_init(&worked, thread_count + 1);
    bench_barrier_init(&reported, thread_count + 1);
    for (unsigned i = 0; i < thread_count; i++) {
        workers[i] = (worker){.index = i, .times = &times[i]};
        workers[i].thread = bench_thread_start(body, &workers[i]);
    }
    /* relaxed: only counted */
    while (hk_load_relaxed(&done) < thread_count) {
        usleep(TICK_US);
        hk_store_relaxed(&epoch, epoch + 1);
    }
    pthread_barrier_wait(&worked);

    size_t transfer_bytes = hk_transfer_bytes();
    bench_report_start(thread_count * iterations, bench_elapsed_ns(times, thread_count));
    printf("  transfer-kb %zu\n", transfer_bytes / BENCH_KIB);
    pthread_barrier_wait(&reported);
    for (unsigned i = 0; i < thread_count; i++)
        bench_thread_join(workers[i].thread);
    return EXIT_SUCCESS;
}
