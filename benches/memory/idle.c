/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A small program: some hundred KiB of small blocks, half of them freed, then it sleeps. It has no
 * thread of its own making, so it shows whether the allocator makes one.
 */
#include "memory.h"

#include <dirent.h>

#define USAGE                                                                                      \
    "idle [MS]\n"                                                                                  \
    "  MS  asleep before the last look  (3000)"

#define BLOCKS 4096u

static int64_t threads_now(void) {
    DIR *tasks = opendir("/proc/self/task");
    if (tasks == NULL)
        bench_fail("/proc/self/task", errno);
    int64_t count = 0;
    for (struct dirent *task; (task = readdir(tasks)) != NULL;)
        count += task->d_name[0] != '.';
    closedir(tasks);
    return count;
}

int main(int argc, char **argv) {
    bench_arguments(argc, argv, 0, 1, USAGE);
    uint64_t ms = bench_argument_or(1, 3000, 0, 3600000);
    static void *blocks[BLOCKS];
    memory.start_ns = bench_now_ns();
    bench_rng rng = bench_rng_seeded(42, 0);
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = memory_block(memory_size(&rng, 4, 8));
    for (unsigned i = 0; i < BLOCKS; i += 2)
        memory_block_free(blocks[i]);
    uint64_t rss;
    do {
        rss = memory_sample();
        memory_sleep_ms(MEMORY_SAMPLE_MS);
    } while (memory_ms() < ms);
    memory_figure("threads", threads_now(), 1, "");
    memory_figure_without_limit("rss", (int64_t)rss, "KiB");
    uint64_t anonymous = bench_proc_kb("/proc/self/smaps_rollup", "\nAnonymous:");
    memory_figure_without_limit("anonymous", (int64_t)anonymous, "KiB");
    return EXIT_SUCCESS;
}
