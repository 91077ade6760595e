/* thread/tunables.h - the tuning parameters of thread caches.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one table for the layer. Times and rates were measured on two CPUs with
 * `make scaling` unless a line says otherwise.
 * Boundary: none.
 */
#ifndef HK_THREAD_TUNABLES_H
#define HK_THREAD_TUNABLES_H

enum {
    /* ---- Budget, in bytes -------------------------------------------------------------------- */

    /* Total budget of all thread caches per CPU, unless cache_total_mb is set. A program with two
     * threads ran 1.4 times as fast with 8 MiB as with 2, and no faster with 16. */
    THREAD_TOTAL_PER_CPU = 8 << 20,
    /* Each thread may reach this, regardless of the number of threads. With 256 threads, half of it
     * saved 40 MB of 213 and cost a third of the speed. Twice as much raised the memory of the
     * benchmarks with 64 threads by 25 to 50 %. */
    THREAD_PART_MIN = 512 << 10,
    /* The initial budget is 1/8 of the thread's part of the total, within these bounds. With it,
     * 1000 sleeping threads that each used 1 MiB hold 19 KiB each. */
    THREAD_START_PART = 8,
    THREAD_START_MAX = 256 * 1024,
    THREAD_START_MIN = 4 * 1024,
    /* Bytes of budget for each byte of regret. Factors of 4 and 16 changed no benchmark by more
     * than its noise. */
    THREAD_REGRET_FACTOR = 8,
    THREAD_REGRET_MAX = 1 << 26, /* Limit that keeps the product from overflowing. */
    /* The bonus that any regret earns. Beyond it, only regret above 1/12 of the bytes moved counts.
     * Programs that fill and drop their memory had 3 to 10 % of regret with caches of 8 MiB, and
     * gained nothing from them: text processing has 44 MB instead of 48 without them. Working sets
     * that fit into 8 MiB have more than 11 %, and keep their speed.
     * Without the moderate bonus, 64 threads with small caches had a third of the speed. */
    THREAD_REGRET_MODERATE = 2 << 20,
    THREAD_REGRET_PART = 12,
    /* Bytes moved in one direction for each byte of budget. It gives threads that only allocate or
     * only free large batches: 42 instead of 28 M blocks a second from three threads to one. */
    THREAD_MOVED_PART = 64,

    /* ---- Depth of bins, in blocks ------------------------------------------------------------ */

    /* A thread that may reach this many bytes has bins of full depth. With half as many bytes it
     * has half the depth, and so on. */
    THREAD_DEEP_BYTES = 4 << 20,
    THREAD_DEPTH_MIN = 4,
    THREAD_SEARCHED_DEPTH = 30, /* The depth if each free searches its bin. */
    THREAD_ROOM_RATIO = 2,      /* A bin is shrunk for one that needs at most half of its bytes. */

    /* ---- Threads that only free -------------------------------------------------------------- */

    THREAD_ONLY_FREES = 64,              /* Flushes in a row that make a thread one of these. */
    THREAD_ONLY_FREES_BYTES = 16 * 1024, /* Its bins grow up to this, for larger batches. */
    /* Its bins together may hold this much, with each block counted as at least this large. With 2,
     * 1, 0.5 and 0.25 MiB, a program that passes messages and frees blocks of 80 classes in one
     * thread needs 4.75, 4.86, 5.02 and 5.46 G instructions, and has the same peak RSS. */
    THREAD_BATCH_BYTES = 1024 * 1024,
    THREAD_BATCH_BLOCK = 1024,
    /* The same for the bin of a class of blocks above THREAD_ONLY_FREES_BYTES. With 1, 0.5 and
     * 0.25 MiB, a thread that frees blocks of 32 KiB of another one needs 63, 47 and 35 ns for
     * each, because fewer of them stay in the cache of the CPU. Smaller blocks need large batches:
     * those of 4 KiB take 8 ns with 1 MiB and 12 ns with 0.25. */
    THREAD_BATCH_LARGE_BYTES = 256 * 1024,
    THREAD_FIRST_FREES = 32, /* Frees of a thread before it gets a cache for them. */

    /* ---- Rare work of slow calls, in slow calls or ms ---------------------------------------- */

    THREAD_CLOCK_CALLS = 16, /* Between two checks of budget and clock. */
    THREAD_ROOM_CALLS = 64,  /* Between two attempts to shrink other bins. */
    THREAD_SCAN_MS = 100,    /* Between two scans for idle bins. */

    /* ---- Parked caches, in bytes ------------------------------------------------------------- */

    /* Limits for blocks in parked caches, per CPU and in total. In larson with 64 threads, parked
     * caches have 8 times the throughput of caches that are emptied. Threads that end with 1.5 MiB,
     * two at a time: 31 M blocks a second with 1 MiB, 56 with 2, 65 with 4. */
    THREAD_PARKED_PER_CPU = 4 << 20,
    THREAD_PARKED_MAX = 16 << 20,

    /* ---- Lost caches ------------------------------------------------------------------------- */

    THREAD_SWEEP_MIN = 8,    /* With fewer caches, no thread looks for lost ones. */
    THREAD_SWEEP_BATCH = 32, /* Caches checked together, on the stack. */
};

#endif
