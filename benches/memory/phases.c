/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A server whose block sizes drift: two threads each keep a cache of a constant number of bytes,
 * from which the oldest block goes, though one in 16 is used again and stays. Each second brings other
 * sizes. Does the memory that one size leaves behind serve the next?
 */
#include "memory.h"

#define USAGE                                                                                      \
    "phases [SECONDS [MIB]]\n"                                                                     \
    "  SECONDS  at least 15  (60)\n"                                                               \
    "  MIB      live in all threads together  (128)"

#define THREADS 2u
#define STAYS 16u
#define PHASE_MS 1000u
#define WARM_UP_MS 5000u /* once through the phases */

static const struct phase {
    unsigned low, high; /* powers of two */
} phases[] = {{5, 8}, {9, 12}, {6, 10}, {12, 16}, {7, 13}};

static size_t thread_bytes;
static atomic_bool over;
static uint64_t duration_ms;
static uint64_t most_percent;        /* of RSS to live bytes, after the first time through */
static uint64_t early_kb, late_kb;   /* most RSS in the second and in the last third */

static void look(uint64_t ms, uint64_t rss_kb, uint64_t live_kb) {
    if (ms < WARM_UP_MS || atomic_load(&over))
        return;
    uint64_t used = rss_kb - memory.start_rss_kb;
    uint64_t percent = used * 100 / live_kb;
    most_percent = percent > most_percent ? percent : most_percent;
    uint64_t third = ms * 3 / duration_ms;
    uint64_t *most = third < 1 ? NULL : third < 2 ? &early_kb : &late_kb;
    if (most != NULL && used > *most)
        *most = used;
}

/* A ring of blocks, oldest first. */
struct cache {
    void **blocks;
    size_t room, first, count;
    size_t bytes;
};
static struct cache caches[THREADS];

static void *cache_take(struct cache *cache) {
    void *block = cache->blocks[cache->first];
    cache->first = (cache->first + 1) % cache->room;
    cache->count--;
    return block;
}

static void cache_put(struct cache *cache, void *block) {
    cache->blocks[(cache->first + cache->count++) % cache->room] = block;
}

static void cache_evict(struct cache *cache, bench_rng *rng) {
    void *block = cache_take(cache);
    if (bench_below((uint32_t)bench_random(rng), STAYS) == 0) {
        cache_put(cache, block);
        return;
    }
    cache->bytes -= *(size_t *)block;
    memory_block_free(block);
}

static void *body(void *argument) {
    struct cache *cache = argument;
    bench_rng rng = bench_rng_seeded(42, (uint64_t)(cache - caches));
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        const struct phase *phase =
            &phases[memory_ms() / PHASE_MS % (sizeof phases / sizeof *phases)];
        for (unsigned i = 0; i < 100; i++) {
            size_t size = memory_size(&rng, phase->low, phase->high);
            while (cache->count > 0 &&
                   (cache->bytes + size > thread_bytes || cache->count == cache->room))
                cache_evict(cache, &rng);
            cache_put(cache, memory_block(size));
            cache->bytes += size;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc > 3)
        bench_usage(USAGE);
    uint64_t seconds = argc > 1 ? bench_number(argv[1], 15, 3600, USAGE) : 60;
    uint64_t mib = argc > 2 ? bench_number(argv[2], 1, 1 << 16, USAGE) : 128;
    duration_ms = seconds * 1000;
    thread_bytes = mib * MEMORY_MIB / THREADS;
    for (size_t t = 0; t < THREADS; t++) {
        caches[t].room = thread_bytes / ((size_t)1 << phases[0].low);
        caches[t].blocks = memory_table(caches[t].room * sizeof(void *));
    }
    memory_start(look);
    pthread_t threads[THREADS];
    for (size_t t = 0; t < THREADS; t++)
        threads[t] = bench_thread_start(body, &caches[t]);
    memory_sleep_ms(duration_ms);
    atomic_store(&over, true);
    for (size_t t = 0; t < THREADS; t++)
        bench_thread_join(threads[t]);
    memory_end();
    memory_figure("rss_percent_of_live", (int64_t)most_percent, 130, "%");
    memory_figure("late_percent_of_early", (int64_t)(late_kb * 100 / early_kb), 105, "%");
    return EXIT_SUCCESS;
}
