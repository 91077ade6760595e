/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Many threads each allocate and free some memory, once, and then sleep. What does each of them
 * hold, beyond a thread that never allocates? A child process with such threads comes first.
 */
#include "memory.h"

#include <sys/wait.h>

#define USAGE                                                                                      \
    "threads [THREADS [KIB [SECONDS]]]\n"                                                          \
    "  THREADS  (1000)\n"                                                                          \
    "  KIB      that each allocates, in blocks of 16 B to 64 KiB  (1024)\n"                        \
    "  SECONDS  asleep before the last look  (5)"

#define ALLOWED_KB 24 /* a thread */
#define BLOCKS_MAX 1024u

static size_t thread_bytes; /* 0: the threads allocate nothing */

static void body(unsigned index) {
    bench_rng rng = bench_rng_seeded(42, index);
    void *blocks[BLOCKS_MAX];
    memset(blocks, 0, sizeof blocks);
    __asm__ volatile("" : : "r"(blocks) : "memory"); /* the same stack, whatever is allocated */
    size_t count = 0;
    for (size_t bytes = 0; bytes < thread_bytes && count < BLOCKS_MAX;) {
        size_t size = memory_size(&rng, 4, 16);
        blocks[count++] = memory_block(size);
        bytes += size;
    }
    for (size_t i = 0; i < count; i++)
        memory_block_free(blocks[i]);
    bench_end(index);
}

/* RSS once all threads have slept. */
static uint64_t rss_of_threads(unsigned count, size_t bytes, uint64_t seconds) {
    thread_bytes = bytes;
    memory_start(NULL);
    bench_team_start(count, body);
    bench_team_wait();
    memory_sleep_ms(seconds * 1000);
    uint64_t rss = memory_end();
    bench_team_join();
    return rss;
}

/* The same in a child process, whose samples nobody sees. */
static uint64_t rss_of_idle_threads(unsigned count) {
    int ends[2];
    if (pipe(ends) != 0)
        bench_fail("pipe", errno);
    pid_t child = fork();
    if (child < 0)
        bench_fail("fork", errno);
    if (child == 0) {
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere < 0 || dup2(nowhere, STDOUT_FILENO) < 0)
            bench_fail("/dev/null", errno);
        uint64_t rss = rss_of_threads(count, 0, 1);
        _exit(write(ends[1], &rss, sizeof rss) != sizeof rss);
    }
    uint64_t rss;
    int status;
    close(ends[1]);
    if (read(ends[0], &rss, sizeof rss) != sizeof rss || waitpid(child, &status, 0) != child)
        bench_fail("the child process", EIO);
    return rss;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 3, USAGE);
    unsigned count = (unsigned)bench_argument_or(1, 1000, 1, BENCH_THREADS_MAX);
    size_t kib = bench_argument_or(2, 1024, 1, 1 << 20);
    uint64_t seconds = bench_argument_or(3, 5, 1, 3600);
    uint64_t idle = rss_of_idle_threads(count);
    uint64_t rss = rss_of_threads(count, kib * BENCH_KIB, seconds);
    memory_figure_without_limit("rss_per_idle_thread", (int64_t)(idle / count), "KiB");
    memory_figure("more_per_thread", ((int64_t)rss - (int64_t)idle) / (int64_t)count, ALLOWED_KB,
                  "KiB");
    return EXIT_SUCCESS;
}
