/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * How long the slow calls of malloc and free take, those that find the bin of the class empty or full. Threads
 * replace random blocks of 16 to 1024 bytes, each in its own working set, as in bench_small_mt.
 *
 * With more threads than CPUs the longest calls are those in the middle of which the thread lost its CPU. The
 * kernel counts for each thread how often it lost its CPU, how often it slept, which a thread in hakmem does
 * for a lock only, and its page faults. The cause of a call is the first of these that happened. The columns
 * p99.9 and max are there twice, the second time without the calls that were switched out. The last columns
 * tell the causes of the slowest calls, one in 1000.
 *
 * The program contains hakmem, because it must know before a call whether it is a slow one. The counts are read
 * outside of the time that is measured, which leaves the usual time as it was.
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

typedef struct times {
    uint32_t counts[KINDS][CAUSES][BUCKETS];
    uint64_t longest[KINDS][CAUSES]; /* ticks */
} times;

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

static void add_time(times *to, enum kind kind, enum cause cause, uint64_t ticks) {
    to->counts[kind][cause][bucket_of(ticks)]++;
    if (ticks > to->longest[kind][cause])
        to->longest[kind][cause] = ticks;
}

static void add_times(times *to, const times *from) {
    for (enum kind kind = 0; kind < KINDS; kind++) {
        for (enum cause cause = 0; cause < CAUSES; cause++) {
            for (uint32_t i = 0; i < BUCKETS; i++)
                to->counts[kind][cause][i] += from->counts[kind][cause][i];
            uint64_t longest = from->longest[kind][cause];
            if (longest > to->longest[kind][cause])
                to->longest[kind][cause] = longest;
        }
    }
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

static void *timed_malloc(times *times, size_t size) {
    const struct hk_bin *bin = &hk_cache->bins[hk_class_of(size)];
    if (bin->top[-1] != NULL)
        return bench_block(size);

    struct rusage before = usage_now();
    uint64_t start = ticks_now();
    void *block = bench_block(size);
    uint64_t ticks = ticks_now() - start;
    struct rusage after = usage_now();
    add_time(times, REFILL, cause_between(&before, &after), ticks);
    return block;
}

static void timed_free(times *times, void *block) {
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
    add_time(times, FLUSH, cause_between(&before, &after), ticks);
}

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(SEED, index);
    void **slots = bench_slots_new(WORKING_SET, &sizes, &rng);
    bench_begin(index);
    for (uint64_t i = 0; i < iterations; i++) {
        uint64_t random = bench_random(&rng);
        void **slot = &slots[bench_below((uint32_t)random, WORKING_SET)];
        timed_free(&times_of[index], *slot);
        *slot = timed_malloc(&times_of[index], bench_size(&sizes, (uint32_t)(random >> 32)));
    }
    bench_end(index);
    bench_slots_free(slots, WORKING_SET);
}

/* ---- The table ------------------------------------------------------------------------------- */

/* Calls of one kind with any of the causes from `first` on. */
typedef struct selection {
    const times *times;
    enum kind kind;
    enum cause first;
} selection;

static uint64_t count_in(selection of, uint32_t bucket) {
    uint64_t count = 0;
    for (enum cause cause = of.first; cause < CAUSES; cause++)
        count += of.times->counts[of.kind][cause][bucket];
    return count;
}

static uint64_t count_all(selection of) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < BUCKETS; i++)
        count += count_in(of, i);
    return count;
}

static uint64_t longest(selection of) {
    uint64_t ticks = 0;
    for (enum cause cause = of.first; cause < CAUSES; cause++) {
        uint64_t other = of.times->longest[of.kind][cause];
        ticks = other > ticks ? other : ticks;
    }
    return ticks;
}

/* The bucket of the call that `share` of all calls do not exceed. */
static uint32_t quantile_bucket(selection of, double share) {
    double wanted = share * (double)count_all(of);
    uint64_t seen = 0;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        seen += count_in(of, i);
        if (seen > 0 && (double)seen >= wanted)
            return i;
    }
    return 0;
}

/* The middle of a bucket may lie above all that is in it. */
static double quantile(selection of, double share) {
    double ticks = bucket_ticks(quantile_bucket(of, share));
    double most = (double)longest(of);
    return ticks < most ? ticks : most;
}

/* The share in per cent of a cause among the calls from a bucket on. */
static double cause_share(selection of, enum cause cause, uint32_t from) {
    uint64_t all = 0, these = 0;
    for (uint32_t i = from; i < BUCKETS; i++) {
        all += count_in(of, i);
        these += of.times->counts[of.kind][cause][i];
    }
    return all > 0 ? 100.0 * (double)these / (double)all : 0;
}

static void print_head(void) {
    printf("%7s %-7s %9s %7s %7s %9s %9s | %9s %9s | %6s %6s %6s %6s\n", "threads", "call", "calls",
           "p50", "p99", "p99.9", "max", "p99.9", "max", "out", "slept", "fault", "none");
}

static void print_line(unsigned threads_at_work, const times *all, enum kind kind, double tick_ns) {
    selection any = {all, kind, SWITCHED_OUT};
    selection undisturbed = {all, kind, SWITCHED_OUT + 1};
    uint32_t slowest = quantile_bucket(any, 0.999);
    printf("%7u %-7s %9llu %7.0f %7.0f %9.0f %9.0f | %9.0f %9.0f |", threads_at_work,
           kind_names[kind], (unsigned long long)count_all(any), quantile(any, 0.5) * tick_ns,
           quantile(any, 0.99) * tick_ns, quantile(any, 0.999) * tick_ns,
           (double)longest(any) * tick_ns, quantile(undisturbed, 0.999) * tick_ns,
           (double)longest(undisturbed) * tick_ns);
    for (enum cause cause = 0; cause < CAUSES; cause++)
        printf(" %4.0f %%", cause_share(any, cause, slowest));
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
    static times all;
    for (unsigned i = 0; i < count; i++)
        add_times(&all, &times_of[i]);

    double tick_ns = (double)(end.ns - start.ns) / (double)(end.ticks - start.ticks);
    print_head();
    for (enum kind kind = 0; kind < KINDS; kind++)
        print_line(count, &all, kind, tick_ns);
    free(times_of);
    return EXIT_SUCCESS;
}
