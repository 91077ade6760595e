/* purge/tunables.h - the tuning parameters of giving memory back.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one table for the layer. Values without a measurement are bounds that keep one step
 * short, and their exact size does not matter.
 * Boundary: none.
 */
#ifndef HK_PURGE_TUNABLES_H
#define HK_PURGE_TUNABLES_H

enum {
    /* ---- Decay ------------------------------------------------------------------------------- */

    DECAY_TRANSFER_BATCH = 64,   /* Blocks taken from a transfer cache at once, on the stack. */
    DECAY_STEP_BYTES = 16 << 20, /* Limit of one step, about a millisecond. */
    /* Bytes in parked caches when one thread is left. A chain of threads, each of which starts the
     * next one, ran 1.5 times as fast with 2 MiB as with 512 KiB, which is less than one of their
     * caches. */
    DECAY_PARKED_ALONE = 2 << 20,
    DECAY_TRANSFER_ALONE = 4 << 20, /* Bytes in transfer caches when one thread is left. */

    /* ---- Balance ----------------------------------------------------------------------------- */

    BALANCE_CALLS = 32, /* System calls at the end of a free. */
    BALANCE_PART = 4,   /* The limit is 1/4 of purge_thread_mb, unless it is raised. */
    /* Huge pages with free memory are not broken up for 1/4 of the highest usage, less 8 MiB. While
     * a large structure is freed, most of its huge pages are partly free for a short time. A
     * program that parses JSON, 150 MB, had 35,000 page faults when it reused broken pages, and now
     * 5,200. */
    BALANCE_PARTIAL_PART = 4,
    BALANCE_REGRETS = 2,      /* This many in a row raise the limit. One is not a loop yet. */
    BALANCE_REGRET_DECAY = 5, /* Purge delays after which a raised limit is halved. */

    /* ---- Retry of a failed allocation -------------------------------------------------------- */

    RETRY_MS = 100,         /* Pause after a purge that did not help. It doubles each time, */
    RETRY_MAX_MS = 1 << 14, /* up to this. */
    /* A purge is worthwhile if this much has been freed since. No slab is larger. */
    RETRY_BYTES = 1 << 20,

    /* ---- Limits ------------------------------------------------------------------------------ */

    LIMIT_HYSTERESIS = 5, /* Usage must fall this many per cent below a level to reach it again. */
    LIMIT_READ_MS = 100,  /* Between two reads of the cgroup's use, about ten small files. */

    /* ---- Pressure ---------------------------------------------------------------------------- */

    PRESSURE_HIGH = 100,       /* Hundredths of a per cent. An idle system has 0. */
    PRESSURE_DELAY_MS = 100,   /* The purge delay under pressure, at most. */
    PRESSURE_READ_MS = 1000,   /* Between two reads. The kernel updates the value every 2 s. */
    PRESSURE_VALID_MS = 2000,  /* A reading of the pressure counts for this time. */
    PRESSURE_RETRY_MS = 60000, /* The same, where the pressure is unknown. */
    PRESSURE_BYTES = 1 << 20,  /* Less free memory is not worth the reads. */

    /* ---- Scavenger, in ms -------------------------------------------------------------------- */

    SCAVENGER_RETRY_MS = 100,       /* Pause after a start or a refusal. A refusal doubles it, */
    SCAVENGER_RETRY_MAX_MS = 60000, /* up to this. */
    SCAVENGER_FEW_THREADS = 16,   /* Caches that are compared with the existing threads, at most. */
    SCAVENGER_RECOUNT_MS = 10000, /* Between two comparisons if nothing is dirty. */
    /* An ending thread waits so long for the scavenger at most. After that, exit handlers of the
     * program may run in it. With nice 19 and three busy processes on its CPU, it needs up to 2 s
     * to end. */
    SCAVENGER_END_MS = 5000,
};

#endif
