/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Shared code of the benchmark programs: arguments, random numbers, the work loop, time, memory,
 * threads. They call malloc and free only, so that one binary measures any allocator (LD_PRELOAD).
 */
#ifndef BENCH_H
#define BENCH_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define BENCH_KIB 1024u
#define BENCH_THREADS_MAX 1024u

/* ---- Errors and arguments ------------------------------------------------------------------ */

_Noreturn static inline void bench_fail(const char *what, int error) {
    fprintf(stderr, "%s: %s\n", what, strerror(error));
    exit(EXIT_FAILURE);
}

_Noreturn static inline void bench_usage(const char *usage) {
    fprintf(stderr, "usage: %s\n", usage);
    exit(2);
}

/* The arguments of main, and the text for wrong ones. */
static struct {
    int count;
    char **texts;
    const char *usage;
} bench_command;

/* Ends the program with its usage unless it has `least` to `most` arguments. */
static inline void bench_arguments(int argc, char **argv, int least, int most, const char *usage) {
    bench_command.count = argc - 1;
    bench_command.texts = argv;
    bench_command.usage = usage;
    if (bench_command.count < least || bench_command.count > most)
        bench_usage(usage);
}

/* The decimal number in argument `index`; usage and exit 2 unless it lies within min..max. */
static inline uint64_t bench_argument(int index, uint64_t min, uint64_t max) {
    const char *text = bench_command.texts[index];
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < min ||
        value > max) {
        fprintf(stderr, "'%s' is not a number from %llu to %llu\n", text, (unsigned long long)min,
                (unsigned long long)max);
        bench_usage(bench_command.usage);
    }
    return value;
}

/* The same for an argument that may be left out. */
static inline uint64_t bench_argument_or(int index, uint64_t otherwise, uint64_t min,
                                         uint64_t max) {
    return index <= bench_command.count ? bench_argument(index, min, max) : otherwise;
}

/* ---- Random numbers: xorshift64*, the same sequence for every allocator --------------------- */

typedef struct bench_rng {
    uint64_t state; /* never 0 */
} bench_rng;

/* `stream` keeps threads that share a seed apart. */
static inline bench_rng bench_rng_seeded(uint64_t seed, uint64_t stream) {
    /* splitmix64: neighbouring seeds must not give similar sequences. */
    uint64_t mixed = seed + (stream + 1) * 0x9E3779B97F4A7C15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EBu;
    mixed ^= mixed >> 31;
    return (bench_rng){.state = mixed != 0 ? mixed : 1};
}

static inline uint64_t bench_random(bench_rng *rng) {
    uint64_t x = rng->state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    rng->state = x;
    return x * 0x2545F4914F6CDD1Du;
}

/* 32 random bits to a number below `bound`, without a division in the work loop. */
static inline uint32_t bench_below(uint32_t random, uint32_t bound) {
    return (uint32_t)(((uint64_t)random * bound) >> 32);
}

/* ---- Blocks and the work loop -------------------------------------------------------------- */

/* Block sizes, uniform: one of `choices` if there are any, else min..max. */
typedef struct bench_sizes {
    const uint32_t *choices;
    uint32_t choice_count;
    uint32_t min;
    uint32_t max;
} bench_sizes;

static inline size_t bench_size(const bench_sizes *sizes, uint32_t random) {
    return sizes->choices != NULL ? sizes->choices[bench_below(random, sizes->choice_count)]
                                  : sizes->min + bench_below(random, sizes->max - sizes->min + 1);
}

/* A block whose first and last byte are touched. Volatile: the compiler must not drop the writes,
 * and with them the allocation. */
static inline void *bench_block(size_t size) {
    volatile char *block = malloc(size);
    if (block == NULL)
        bench_fail("malloc", ENOMEM);
    block[0] = 1;
    block[size - 1] = 2;
    return (void *)block;
}

/* An array of zeros. */
static inline void *bench_array(size_t count, size_t bytes) {
    void *array = calloc(count, bytes);
    if (array == NULL)
        bench_fail("calloc", ENOMEM);
    return array;
}

static inline void **bench_slots_new(size_t count, const bench_sizes *sizes, bench_rng *rng) {
    void **slots = bench_array(count, sizeof *slots);
    for (size_t i = 0; i < count; i++)
        slots[i] = bench_block(bench_size(sizes, (uint32_t)bench_random(rng)));
    return slots;
}

static inline void bench_slots_free(void **slots, size_t count) {
    for (size_t i = 0; i < count; i++)
        free(slots[i]);
    free(slots);
}

/* `iterations` times: frees the block in a random slot, puts one of a random size there. */
static inline void bench_replace(void **slots, uint32_t count, uint64_t iterations,
                                 const bench_sizes *sizes, bench_rng *rng) {
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t random = bench_random(rng);
        void **slot = &slots[bench_below((uint32_t)random, count)];
        free(*slot);
        *slot = bench_block(bench_size(sizes, (uint32_t)(random >> 32)));
    }
}

/* ---- Time and memory ----------------------------------------------------------------------- */

static inline uint64_t bench_now_ns(void) {
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        bench_fail("clock_gettime", errno);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The number in kB after `key` in a small file of /proc, or 0. Does not allocate. */
static inline uint64_t bench_proc_kb(const char *path, const char *key) {
    char text[4096]; /* more than the files asked for have, and what one read gives at most */
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return 0;
    ssize_t bytes = read(file, text, sizeof text - 1);
    close(file);
    if (bytes <= 0)
        return 0;
    text[bytes] = '\0';
    const char *found = strstr(text, key);
    return found != NULL ? strtoull(found + strlen(key), NULL, 10) : 0;
}

/* RSS now. Walks the page tables: the kernel's counters lag behind by some pages a thread. */
static inline uint64_t bench_rss_kb(void) {
    return bench_proc_kb("/proc/self/smaps_rollup", "\nRss:");
}

/* Peak RSS of this program. getrusage, the portable way, also knows the program that called exec (a
 * shell takes more than a small working set), so it is only asked where /proc has no answer. */
static inline uint64_t bench_peak_rss_kb(void) {
    uint64_t peak = bench_proc_kb("/proc/self/status", "\nVmHWM:");
    if (peak == 0) {
        struct rusage usage;
        if (getrusage(RUSAGE_SELF, &usage) != 0)
            bench_fail("getrusage", errno);
        peak = (uint64_t)usage.ru_maxrss;
    }
    /* The counter behind VmHWM may lag, too. */
    uint64_t now = bench_rss_kb();
    return now > peak ? now : peak;
}

/* The result line without its end, for programs that add fields of their own. Call it while the
 * working set is still there. */
static inline void bench_report_start(uint64_t operations, uint64_t elapsed_ns) {
    double seconds = (double)elapsed_ns / 1e9;
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        bench_fail("getrusage", errno);
    printf("ops/s %.0f  peak-rss-kb %llu  ops %llu  seconds %.6f  minor-faults %ld",
           (double)operations / seconds, (unsigned long long)bench_peak_rss_kb(),
           (unsigned long long)operations, seconds, usage.ru_minflt);
}

/* The result line. Call it while the working set is still there. */
static inline void bench_report(uint64_t operations, uint64_t elapsed_ns) {
    bench_report_start(operations, elapsed_ns);
    printf("\n");
}

static inline int bench_compare_u64(const void *a, const void *b) {
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

/* Sorts `values`. */
static inline uint64_t bench_median(uint64_t *values, size_t count) {
    qsort(values, count, sizeof *values, bench_compare_u64);
    return values[count / 2];
}

/* ---- Threads ------------------------------------------------------------------------------- */

static inline pthread_t bench_thread_start(void *(*body)(void *), void *argument) {
    pthread_t thread;
    int error = pthread_create(&thread, NULL, body, argument);
    if (error != 0)
        bench_fail("pthread_create", error);
    return thread;
}

static inline void bench_thread_join(pthread_t thread) {
    int error = pthread_join(thread, NULL);
    if (error != 0)
        bench_fail("pthread_join", error);
}

static inline void bench_barrier_init(pthread_barrier_t *barrier, unsigned parties) {
    int error = pthread_barrier_init(barrier, NULL, parties);
    if (error != 0)
        bench_fail("pthread_barrier_init", error);
}

/* ---- A team: threads that do the same work at the same time -------------------------------- */

/* The work of one thread. It calls bench_begin and bench_end. */
typedef void bench_body(unsigned index);

static struct {
    bench_body *body;
    unsigned count;
    pthread_barrier_t ready;    /* all threads are about to begin */
    pthread_barrier_t worked;   /* all have done their work; main waits, too */
    pthread_barrier_t reported; /* main has looked at the memory that they use */
    pthread_t threads[BENCH_THREADS_MAX];
    /* The clock of main would be late: it may be the last to run again after a barrier. */
    uint64_t start_ns[BENCH_THREADS_MAX];
    uint64_t end_ns[BENCH_THREADS_MAX];
} bench_team;

/* A thread begins the part of its work that is timed, once all others do. */
static inline void bench_begin(unsigned index) {
    pthread_barrier_wait(&bench_team.ready);
    bench_team.start_ns[index] = bench_now_ns();
}

/* A thread has ended this part. Returns once main has reported, so the working set still
 * exists. */
static inline void bench_end(unsigned index) {
    bench_team.end_ns[index] = bench_now_ns();
    pthread_barrier_wait(&bench_team.worked);
    pthread_barrier_wait(&bench_team.reported);
}

static inline void bench_team_init(unsigned threads) {
    bench_team.count = threads;
    bench_barrier_init(&bench_team.ready, threads);
    bench_barrier_init(&bench_team.worked, threads + 1);
    bench_barrier_init(&bench_team.reported, threads + 1);
}

static inline void *bench_team_thread(void *argument) {
    bench_team.body((unsigned)(uintptr_t)argument);
    return NULL;
}

static inline void bench_team_start(unsigned threads, bench_body *body) {
    bench_team_init(threads);
    bench_team.body = body;
    for (unsigned i = 0; i < threads; i++)
        bench_team.threads[i] = bench_thread_start(bench_team_thread, (void *)(uintptr_t)i);
}

/* Waits until all have done their work. Returns the time from the first beginning to the last
 * end. */
static inline uint64_t bench_team_wait(void) {
    pthread_barrier_wait(&bench_team.worked);
    uint64_t start_ns = bench_team.start_ns[0], end_ns = bench_team.end_ns[0];
    for (unsigned i = 1; i < bench_team.count; i++) {
        uint64_t start = bench_team.start_ns[i], end = bench_team.end_ns[i];
        start_ns = start < start_ns ? start : start_ns;
        end_ns = end > end_ns ? end : end_ns;
    }
    return end_ns - start_ns;
}

static inline void bench_team_join(void) {
    pthread_barrier_wait(&bench_team.reported);
    for (unsigned i = 0; i < bench_team.count; i++)
        bench_thread_join(bench_team.threads[i]);
}

/* Runs and reports the work, which is `operations` for each thread. */
static inline void bench_team_run(unsigned threads, bench_body *body, uint64_t operations) {
    bench_team_start(threads, body);
    uint64_t elapsed_ns = bench_team_wait();
    bench_report(threads * operations, elapsed_ns);
    bench_team_join();
}

#endif
