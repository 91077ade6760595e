/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * One thread only allocates, another only frees what it gets from the first. Does memory pile up at
 * either? The queue between them is kept nearly full, so that the live bytes stay about the same.
 */
#include "memory.h"

#include <sched.h>

#define USAGE                                                                                      \
    "handover [SECONDS [BLOCKS]]\n"                                                                \
    "  SECONDS  (10)\n"                                                                            \
    "  BLOCKS   in the queue, of 16 B to 4 KiB  (65536)"

#define ALLOWED_KB 16384 /* above 1.2 times the live bytes */
#define WARM_UP_MS 1000u

static struct {
    _Atomic(void *) *blocks;
    size_t room;
    atomic_size_t put, taken;
    atomic_bool over;
} queue;

static int64_t over_most_kb = INT64_MIN; /* of RSS over 1.2 times the live bytes */
static uint64_t rss_most_kb;

static void look(uint64_t ms, uint64_t rss_kb, uint64_t live_kb) {
    if (ms < WARM_UP_MS)
        return;
    int64_t over = (int64_t)(rss_kb - memory.start_rss_kb) - (int64_t)(live_kb * 6 / 5);
    over_most_kb = over > over_most_kb ? over : over_most_kb;
    rss_most_kb = rss_kb > rss_most_kb ? rss_kb : rss_most_kb;
}

static void *allocate(void *unused) {
    bench_rng rng = bench_rng_seeded(42, 0);
    for (size_t at = 0; !atomic_load(&queue.over); at++) {
        while (at - atomic_load(&queue.taken) == queue.room) {
            if (atomic_load(&queue.over))
                return unused;
            sched_yield();
        }
        atomic_store(&queue.blocks[at % queue.room], memory_block(memory_size(&rng, 4, 12)));
        atomic_store(&queue.put, at + 1);
    }
    return unused;
}

static void *release(void *unused) {
    for (size_t at = 0; !atomic_load(&queue.over); at++) {
        while (atomic_load(&queue.put) - at < queue.room * 7 / 8) {
            if (atomic_load(&queue.over))
                return unused;
            sched_yield();
        }
        memory_block_free(atomic_load(&queue.blocks[at % queue.room]));
        atomic_store(&queue.taken, at + 1);
    }
    return unused;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 2, USAGE);
    uint64_t seconds = bench_argument_or(1, 10, 2, 3600);
    queue.room = bench_argument_or(2, 65536, 8, 1 << 24);
    queue.blocks = memory_table(queue.room * sizeof(void *));
    memory_start(look);
    pthread_t allocator = bench_thread_start(allocate, NULL);
    pthread_t releaser = bench_thread_start(release, NULL);
    memory_sleep_ms(seconds * 1000);
    atomic_store(&queue.over, true);
    bench_thread_join(allocator);
    bench_thread_join(releaser);
    memory_end();
    memory_figure_without_limit("blocks_freed_per_s", (int64_t)(queue.taken / seconds), "");
    memory_figure_without_limit("rss_most", (int64_t)rss_most_kb, "KiB");
    memory_figure("rss_above_1.2_live", over_most_kb, ALLOWED_KB, "KiB");
    return EXIT_SUCCESS;
}
