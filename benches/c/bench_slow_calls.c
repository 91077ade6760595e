/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * How long the slow calls of malloc and free take, those that find the bin of the class empty or
 * full. Threads replace random blocks of 16 to 1024 bytes, each in its own working set, as in
 * bench_small_mt.
 *
 * With more threads than CPUs the longest calls are those in the middle of which the thread lost
 * its CPU. The kernel counts for each thread how often it lost its CPU, how often it slept, which a
 * thread in hakmem does for a lock only, and its page faults. The cause of a call is the first of
 * these that happened. The columns p99.9 and max are there twice, the second time without the calls
 * that were switched out. The last columns tell the causes of the slowest calls, one in 1000.
 *
 * The program contains hakmem, because it must know before a call whether it is a slow one. The
 * counts are read outside of the time that is measured, which leaves the usual time as it was.
 */
#include "hakmem.c"

#include "bench.h"

#define USAGE                                                                                      \
    "bench_slow_calls THREADS ITERATIONS\n"                                                        \
    "  ITERATIONS  of each thread"

enum { WORKING_SET = 1000, SEED = 42 };

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

/* ---- The clock ----------------------------------------------------------------------------- */

/* Ticks of the cheapest clock there is. */
static inline uint64_t ticks_now(void) {
#if defined(__x86_64__)
    return __builtin_ia32_rdtsc();
#else
    return bench_now_ns();
#endif
}

typedef struct instant {
    uint64_t ticks;
    uint64_t ns;
} instant;

static instant instant_now(void) { return (instant){ticks_now(), bench_now_ns()}; }

/* ---- Times, by kind of call and cause -------------------------------------------------------- */

enum kind { REFILL, FLUSH, KINDS };
static const char *const kind_names[KINDS] = {"refill", "flush"};

enum cause { SWITCHED_OUT, SLEPT, PAGE_FAULT, NO_CAUSE, CAUSES };

/* Four buckets for each power of two: a bucket's bounds differ by a quarter at most. */
enum { SUB_BITS = 2, BUCKETS = (64 - SUB_BITS) << SUB_BITS };

typedef struct histogram {
    uint32_t counts[BUCKETS];
    uint64_t longest; /* ticks */
} histogram;

typedef histogram times[KINDS][CAUSES];

static uint32_t bucket_of(uint64_t ticks) {
    if (ticks >> SUB_BITS == 0)
        return (uint32_t)ticks;
    uint32_t shift = 63u - SUB_BITS - (uint32_t)__builtin_clzll(ticks);
    return (shift << SUB_BITS) + (uint32_t)(ticks >> shift);
}

/* The middle of a bucket. */
static double bucket_ticks(uint32_t bucket) {
    if (bucket < 2u << SUB_BITS)
        return bucket;
    uint32_t shift = (bucket >> SUB_BITS) - 1;
    double low =
        (double)(((uint64_t)(bucket & ((1u << SUB_BITS) - 1)) + (1u << SUB_BITS)) << shift);
    return low + (double)((uint64_t)1 << shift) / 2;
}

static void add_time(histogram *to, uint64_t ticks) {
    to->counts[bucket_of(ticks)]++;
    if (ticks > to->longest)
        to->longest = ticks;
}

static void add_histogram(histogram *to, const histogram *from) {
    for (uint32_t i = 0; i < BUCKETS; i++)
        to->counts[i] += from->counts[i];
    if (from->longest > to->longest)
        to->longest = from->longest;
}

/* ---- The work -------------------------------------------------------------------------------- */

static uint64_t iterations;
static times *times_of; /* of each thread */

static struct rusage usage_now(void) {
    struct rusage usage;
    if (getrusage(RUSAGE_THREAD, &usage) != 0)
        bench_fail("getrusage", errno);
    return usage;
}

static enum cause cause_between(const struct rusage *before, const struct rusage *after) {
    if (after->ru_nivcsw != before->ru_nivcsw)
        return SWITCHED_OUT;
    if (after->ru_nvcsw != before->ru_nvcsw)
        return SLEPT;
    return after->ru_minflt != before->ru_minflt ? PAGE_FAULT : NO_CAUSE;
}

static void *timed_malloc(times times, size_t size) {
    const struct hk_bin *bin = &hk_cache->bins[hk_class_of(size)];
    if (bin->top[-1] != NULL)
        return bench_block(size);

    struct rusage before = usage_now();
    uint64_t start = ticks_now();
    void *block = bench_block(size);
    uint64_t ticks = ticks_now() - start;
    struct rusage after = usage_now();
    add_time(&times[REFILL][cause_between(&before, &after)], ticks);
    return block;
}

static void timed_free(times times, void *block) {
    const struct hk_bin *bin = &hk_cache->bins[hk_class_map_class(block)];
    if (bin->top != bin->ceil) {
        free(block);
        return;
    }

    struct rusage before = usage_now();
    uint64_t start = ticks_now();
    free(block);
    uint64_t ticks = ticks_now() - start;
    struct rusage after = usage_now();
    add_time(&times[FLUSH][cause_between(&before, &after)], ticks);
}

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(SEED, index);
    void **slots = bench_slots_new(WORKING_SET, &sizes, &rng);
    bench_begin(index);
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t random = bench_random(&rng);
        void **slot = &slots[bench_below((uint32_t)random, WORKING_SET)];
        timed_free(times_of[index], *slot);
        *slot = timed_malloc(times_of[index], bench_size(&sizes, (uint32_t)(random >> 32)));
    }
    bench_end(index);
    bench_slots_free(slots, WORKING_SET);
}

/* ---- The table ------------------------------------------------------------------------------- */

/* The number of calls from a bucket on. */
static uint64_t count_from(const histogram *of, uint32_t first) {
    uint64_t count = 0;
    for (uint32_t i = first; i < BUCKETS; i++)
        count += of->counts[i];
    return count;
}

/* The bucket of the call that `share` of all calls do not exceed. */
static uint32_t quantile_bucket(const histogram *of, double share) {
    double wanted = share * (double)count_from(of, 0);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += of->counts[i];
        if (seen > 0 && (double)seen >= wanted)
            return i;
    }
    return 0;
}

/* The middle of a bucket may lie above all that is in it. */
static double quantile(const histogram *of, double share) {
    double ticks = bucket_ticks(quantile_bucket(of, share));
    double most = (double)of->longest;
    return ticks < most ? ticks : most;
}

static void print_head(void) {
    printf("%7s %-7s %9s %7s %7s %9s %9s | %9s %9s | %6s %6s %6s %6s\n", "threads", "call", "calls",
           "p50", "p99", "p99.9", "max", "p99.9", "max", "out", "slept", "fault", "none");
}

/* `of` has the histograms of all causes. */
static void print_line(unsigned threads_at_work, const char *call, const histogram *of,
                       double tick_ns) {
    histogram any = {0}, undisturbed = {0};
    for (enum cause cause = 0; cause < CAUSES; cause++) {
        add_histogram(&any, &of[cause]);
        if (cause != SWITCHED_OUT)
            add_histogram(&undisturbed, &of[cause]);
    }

    printf("%7u %-7s %9llu %7.0f %7.0f %9.0f %9.0f | %9.0f %9.0f |", threads_at_work, call,
           (unsigned long long)count_from(&any, 0), quantile(&any, 0.5) * tick_ns,
           quantile(&any, 0.99) * tick_ns, quantile(&any, 0.999) * tick_ns,
           (double)any.longest * tick_ns, quantile(&undisturbed, 0.999) * tick_ns,
           (double)undisturbed.longest * tick_ns);
    uint32_t slowest = quantile_bucket(&any, 0.999);
    uint64_t count = count_from(&any, slowest);
    for (enum cause cause = 0; cause < CAUSES; cause++) {
        double share = (double)count_from(&of[cause], slowest) / (double)(count > 0 ? count : 1);
        printf(" %4.0f %%", 100 * share);
    }
    printf("\n");
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 2, 2, USAGE);
    unsigned count = (unsigned)bench_argument(1, 1, BENCH_THREADS_MAX);
    iterations = bench_argument(2, 1, UINT64_MAX);

    times_of = bench_array(count, sizeof *times_of);
    instant start = instant_now();
    bench_team_start(count, body);
    bench_team_wait();
    instant end = instant_now();
    bench_team_join();

    double tick_ns = (double)(end.ns - start.ns) / (double)(end.ticks - start.ticks);
    print_head();
    for (enum kind kind = 0; kind < KINDS; kind++) {
        histogram all[CAUSES] = {0};
        for (unsigned i = 0; i < count; i++) {
            for (enum cause cause = 0; cause < CAUSES; cause++)
                add_histogram(&all[cause], &times_of[i][kind][cause]);
        }
        print_line(count, kind_names[kind], all, tick_ns);
    }
    free(times_of);
    return EXIT_SUCCESS;
}
