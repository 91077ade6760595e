/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the memory scenarios share: samples of resident memory over time, the count of live bytes,
 * figures with their limits, block sizes. They call malloc and free only, so that one program runs
 * on any allocator. Their own tables do not come from it, and are resident before the clock starts.
 *
 * They print lines, sizes in KiB:
 *   sample MS RSS LIVE               a few times a second
 *   figure NAME VALUE LIMIT UNIT     LIMIT "-": there is none
 * The exit status says only whether the scenario ran: whoever runs it judges the figures.
 */
#ifndef MEMORY_H
#define MEMORY_H

#include "../c/bench.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>

#define MEMORY_MIB 1048576u
#define MEMORY_SAMPLE_MS 100u

/* Told of each sample; called by one thread at a time. */
typedef void memory_look(uint64_t ms, uint64_t rss_kb, uint64_t live_kb);

static struct {
    uint64_t start_ns;
    uint64_t start_rss_kb;
    memory_look *look;
    atomic_llong live_bytes;
    atomic_bool over;
    pthread_t sampler;
} memory;

/* One write for a line: two threads print. */
__attribute__((format(printf, 1, 2))) static inline void memory_print(const char *format, ...) {
    char line[256];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (bytes < 0 || bytes >= (int)sizeof line ||
        write(STDOUT_FILENO, line, (size_t)bytes) != bytes)
        bench_fail("write", errno);
}

static inline void memory_figure(const char *name, int64_t value, int64_t limit, const char *unit) {
    memory_print("figure %s %lld %lld %s\n", name, (long long)value, (long long)limit, unit);
}

static inline void memory_figure_without_limit(const char *name, int64_t value, const char *unit) {
    memory_print("figure %s %lld - %s\n", name, (long long)value, unit);
}

/* ---- Time ------------------------------------------------------------------------------------ */

static inline uint64_t memory_ms(void) { return (bench_now_ns() - memory.start_ns) / 1000000; }

static inline void memory_sleep_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* ---- Samples --------------------------------------------------------------------------------- */

static inline uint64_t memory_live_kb(void) {
    return (uint64_t)atomic_load_explicit(&memory.live_bytes, memory_order_relaxed) / BENCH_KIB;
}

static inline uint64_t memory_sample(void) {
    uint64_t ms = memory_ms(), rss_kb = bench_rss_kb(), live_kb = memory_live_kb();
    memory_print("sample %llu %llu %llu\n", (unsigned long long)ms, (unsigned long long)rss_kb,
                 (unsigned long long)live_kb);
    if (memory.look != NULL)
        memory.look(ms, rss_kb, live_kb);
    return rss_kb;
}

static inline void *memory_sampler(void *unused) {
    while (!atomic_load_explicit(&memory.over, memory_order_relaxed)) {
        memory_sample();
        memory_sleep_ms(MEMORY_SAMPLE_MS);
    }
    return unused;
}

/* Starts the clock and the samples. `look` may be NULL. */
static inline void memory_start(memory_look *look) {
    memory.start_ns = bench_now_ns();
    memory.start_rss_kb = bench_rss_kb();
    memory.look = look;
    if (memory.start_rss_kb == 0)
        bench_fail("/proc/self/smaps_rollup", ENOTSUP);
    memory.sampler = bench_thread_start(memory_sampler, NULL);
}

/* Ends the samples; returns the last one. */
static inline uint64_t memory_end(void) {
    atomic_store_explicit(&memory.over, true, memory_order_relaxed);
    bench_thread_join(memory.sampler);
    return memory_sample();
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Memory beside the allocator under test, resident from now on. */
static inline void *memory_table(size_t bytes) {
    void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (table == MAP_FAILED)
        bench_fail("mmap", errno);
    return table;
}

/* A size from 2^low to 2^high, all powers of two as likely: many small blocks, and most bytes in
 * large ones. */
static inline size_t memory_size(bench_rng *rng, unsigned low, unsigned high) {
    uint64_t random = bench_random(rng);
    unsigned power = low + bench_below((uint32_t)random, high - low);
    return ((size_t)1 << power) + bench_below((uint32_t)(random >> 32), 1u << power);
}

/* A block written to from end to end, which begins with its size. */
static inline void *memory_block(size_t size) {
    size_t *block = malloc(size);
    if (block == NULL)
        bench_fail("malloc", ENOMEM);
    memset(block, 1, size);
    *(volatile size_t *)block = size;
    atomic_fetch_add_explicit(&memory.live_bytes, (long long)size, memory_order_relaxed);
    return block;
}

static inline void memory_block_free(void *block) {
    size_t size = *(volatile size_t *)block;
    atomic_fetch_sub_explicit(&memory.live_bytes, (long long)size, memory_order_relaxed);
    free(block);
}

#endif
