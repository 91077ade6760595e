/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A server whose block sizes drift: two threads keep a constant number of live bytes, of which a
 * tenth is replaced each second, blocks chosen at random. The sizes of new blocks change each
 * second, so that what one size leaves behind must serve others, or go back.
 */
#include "memory.h"

#define USAGE                                                                                      \
    "phases [SECONDS [MIB]]\n"                                                                     \
    "  SECONDS  (60)\n"                                                                            \
    "  MIB      live in all threads together  (128)"

#define THREADS 2u
#define PHASES 5u
#define STEPS 1000u    /* a second */
#define REPLACED 10000 /* the part of the blocks that one step replaces: a tenth a second */
#define SETTLED_MS 2000u
#define PERCENT_MAX 130      /* of RSS to live bytes */
#define LATE_PERCENT_MAX 105 /* of the most RSS in the last third to that in the second third */

static const struct phase {
    unsigned low, high; /* powers of two */
} phases[PHASES] = {{5, 8}, {9, 12}, {6, 10}, {12, 16}, {7, 13}};

static size_t thread_bytes;
static atomic_bool over;
static uint64_t duration_ms;
static pthread_barrier_t filled;
static uint64_t percent_most; /* of RSS to live bytes */
static uint64_t most_kb[3];   /* RSS in each third of the time */

static void look(uint64_t ms, uint64_t rss_kb, uint64_t live_kb) {
    if (ms < SETTLED_MS || ms >= duration_ms)
        return;
    uint64_t used_kb = rss_kb - memory.start_rss_kb;
    uint64_t percent = used_kb * 100 / live_kb;
    uint64_t third = ms * 3 / duration_ms;
    percent_most = percent > percent_most ? percent : percent_most;
    most_kb[third] = used_kb > most_kb[third] ? used_kb : most_kb[third];
}

static struct server {
    void **blocks;
    size_t count, count_max;
    size_t bytes;
    bench_rng rng;
} servers[THREADS];

static void server_fill(struct server *server, unsigned phase) {
    while (server->bytes < thread_bytes && server->count < server->count_max) {
        unsigned at =
            phase < PHASES ? phase : bench_below((uint32_t)bench_random(&server->rng), PHASES);
        size_t size = memory_size(&server->rng, phases[at].low, phases[at].high);
        server->blocks[server->count++] = memory_block(size);
        server->bytes += size;
    }
}

static void server_drop_one(struct server *server) {
    size_t at = bench_random(&server->rng) % server->count;
    void *block = server->blocks[at];
    server->blocks[at] = server->blocks[--server->count];
    server->bytes -= *(size_t *)block;
    memory_block_free(block);
}

static void body(unsigned index) {
    struct server *server = &servers[index];
    server_fill(server, PHASES);
    pthread_barrier_wait(&filled);
    size_t owed = 0; /* to be replaced, in REPLACEDths */
    for (uint64_t step = 0; !atomic_load(&over); step++) {
        for (owed += server->count; owed >= REPLACED; owed -= REPLACED)
            server_drop_one(server);
        server_fill(server, (unsigned)(step / STEPS % PHASES));
        memory_sleep_ms(1000 / STEPS);
    }
    bench_end(index);
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 2, USAGE);
    uint64_t seconds = bench_argument_or(1, 60, 6, 3600);
    uint64_t mib = bench_argument_or(2, 128, 1, 1 << 16);
    duration_ms = seconds * 1000;
    thread_bytes = mib * MEMORY_MIB / THREADS;
    bench_barrier_init(&filled, THREADS + 1);
    for (size_t t = 0; t < THREADS; t++) {
        servers[t].count_max = thread_bytes / ((size_t)1 << phases[0].low);
        servers[t].blocks = memory_table(servers[t].count_max * sizeof(void *));
        servers[t].rng = bench_rng_seeded(42, t);
    }
    memory_start(look);
    bench_team_start(THREADS, body);
    pthread_barrier_wait(&filled);
    memory_sleep_ms(duration_ms);
    atomic_store(&over, true);
    bench_team_wait();
    bench_team_join();
    memory_end();
    memory_figure("rss_percent_of_live", (int64_t)percent_most, PERCENT_MAX, "%");
    memory_figure("late_percent_of_early", (int64_t)(most_kb[2] * 100 / most_kb[1]),
                  LATE_PERCENT_MAX, "%");
    return EXIT_SUCCESS;
}
