/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A pool of blocking threads: many exist and sleep, few are awake. ACTIVE tokens wander through the
 * pool. A thread that gets a token does one short task, passes the token on, and sleeps. A task
 * fills a working set, replaces blocks in it, and frees all of it. So all threads sleep without a
 * block at the end, and all memory that is still resident is stacks and the allocator's. An
 * operation is one block: a malloc and a free.
 *
 * Two fields follow the usual ones: RSS while all threads sleep, and RSS after a malloc_trim, or
 * "-" where the allocator has none.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "bench.h"

#include <dlfcn.h>
#include <semaphore.h>

#define USAGE                                                                                      \
    "bench_blocking_pool THREADS ACTIVE TURNS SEED\n"                                              \
    "  ACTIVE  threads that are awake at a time\n"                                                 \
    "  TURNS   tasks of each thread"

enum { TASK_BLOCKS = 100, TASK_REPLACEMENTS = 300 };

static const bench_sizes sizes = {.min = 16, .max = BENCH_KIB};

static unsigned threads;
static unsigned active;
static uint64_t turns;
static sem_t tokens_home; /* posted once for each token that has made all its turns */

/* Aligned, so that no two lie on one cache line. */
typedef struct sleeper {
    sem_t token;
    sem_t end;
    bench_rng rng;
    pthread_t thread;
} __attribute__((aligned(64))) sleeper;

static sleeper sleepers[BENCH_THREADS_MAX];

static void sleep_until(sem_t *semaphore) {
    while (sem_wait(semaphore) != 0) {
        if (errno != EINTR)
            bench_fail("sem_wait", errno);
    }
}

static void do_task(bench_rng *rng) {
    void **slots = bench_slots_new(TASK_BLOCKS, &sizes, rng);
    bench_replace(slots, TASK_BLOCKS, TASK_REPLACEMENTS, &sizes, rng);
    bench_slots_free(slots, TASK_BLOCKS);
}

/* A token visits each thread whose number leaves the same remainder. */
static void pass_on(unsigned index, bool is_last_turn) {
    if (index + active < threads)
        sem_post(&sleepers[index + active].token);
    else
        sem_post(is_last_turn ? &tokens_home : &sleepers[index % active].token);
}

static void *body(void *argument) {
    sleeper *self = argument;
    for (uint64_t turn = 1; turn <= turns; turn++) {
        sleep_until(&self->token);
        do_task(&self->rng);
        pass_on((unsigned)(self - sleepers), turn == turns);
    }
    sleep_until(&self->end);
    return NULL;
}

/* Calls malloc_trim if it is of the library that malloc is of. Under another allocator without such
 * a function the name leads to libc's, which trims a heap that is not in use. */
static bool trim(void) {
    void *malloc_symbol = dlsym(RTLD_DEFAULT, "malloc");
    void *trim_symbol = dlsym(RTLD_DEFAULT, "malloc_trim");
    Dl_info malloc_info, trim_info;
    if (malloc_symbol == NULL || trim_symbol == NULL || dladdr(malloc_symbol, &malloc_info) == 0 ||
        dladdr(trim_symbol, &trim_info) == 0 || malloc_info.dli_fbase != trim_info.dli_fbase)
        return false;
    int (*function)(size_t);
    memcpy(&function, &trim_symbol, sizeof function); /* ISO C has no such cast */
    function(0);
    return true;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 4, 4, USAGE);
    threads = (unsigned)bench_argument(1, 1, BENCH_THREADS_MAX);
    active = (unsigned)bench_argument(2, 1, threads);
    turns = bench_argument(3, 1, 1000000000);
    uint64_t seed = bench_argument(4, 0, UINT64_MAX);

    sem_init(&tokens_home, 0, 0);
    for (unsigned i = 0; i < threads; i++) {
        sem_init(&sleepers[i].token, 0, 0);
        sem_init(&sleepers[i].end, 0, 0);
        sleepers[i].rng = bench_rng_seeded(seed, i);
        sleepers[i].thread = bench_thread_start(body, &sleepers[i]);
    }
    uint64_t start = bench_now_ns();
    for (unsigned i = 0; i < active; i++)
        sem_post(&sleepers[i].token);
    for (unsigned i = 0; i < active; i++)
        sleep_until(&tokens_home);
    uint64_t elapsed = bench_now_ns() - start;

    uint64_t asleep = bench_rss_kb();
    bench_report_start(threads * turns * (TASK_BLOCKS + TASK_REPLACEMENTS), elapsed);
    printf("  asleep-rss-kb %llu", (unsigned long long)asleep);
    if (trim())
        printf("  trimmed-rss-kb %llu\n", (unsigned long long)bench_rss_kb());
    else
        printf("  trimmed-rss-kb -\n");

    for (unsigned i = 0; i < threads; i++)
        sem_post(&sleepers[i].end);
    for (unsigned i = 0; i < threads; i++)
        bench_thread_join(sleepers[i].thread);
    return EXIT_SUCCESS;
}
