/* purge/scavenger.c - the background thread. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "scavenger.h"

#include "../core/arena.h"
#include "../core/dirty.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../os/os.h"
#include "../thread/count.h"
#include "../thread/recover.h"
#include "../thread/threads.h"
#include "decay.h"
#include "pressure.h"
#include "tunables.h"

enum { BACKGROUND_AUTO, BACKGROUND_ALWAYS, BACKGROUND_NEVER };

static struct {
    uint32_t present;  /* atomic: 0, or the scavenger_mark of the process that has one */
    uint64_t id;       /* atomic: its hk_os_thread_id, stored by the scavenger */
    uint32_t ended;    /* atomic: counts ended threads of the program, to end the pause of a scan */
    uint64_t retry_ms; /* atomic: time of the next attempt to start it */
    uint64_t pause_ms; /* atomic: pause after the next refusal */
} scavenger;

/* Whether the program has enough threads of its own to justify a scavenger. */
static bool scavenger_is_allowed(void) {
    uint64_t background = hk_option(HK_OPTION_background);
    uint32_t needed = background == BACKGROUND_ALWAYS ? 1 : 2;
    return background != BACKGROUND_NEVER && hk_thread_count() >= needed;
}

static bool scavenger_is_wanted(void) {
    uint64_t threshold = hk_option(HK_OPTION_purge_thread_mb) << 20;
    return threshold != 0 && scavenger_is_allowed() &&
           (hk_usage_bytes() >= threshold || hk_decay_dirty_bytes() >= threshold);
}

/* The value of `present` in this process. A forked child finds the mark of its parent, which
 * differs. */
static uint32_t scavenger_mark(void) { return hk_os_generation() + 1; }

bool hk_scavenger_is_present(void) {
    /* relaxed: only decides which thread gives memory back */
    uint32_t present = hk_load_relaxed(&scavenger.present);
    return present != 0 && present == scavenger_mark();
}

/* ---- The thread ------------------------------------------------------------------------------ */

/* Threads that created their cache too late for our destructor must not keep the scavenger running.
 * With many caches that does not matter, because the scavenger is allowed anyway. */
static void scavenger_recount_threads(void) {
    if (hk_thread_count() <= SCAVENGER_FEW_THREADS)
        hk_recover_gone();
}

/* Sleeps half a purge delay, or less if memory pressure begins or a thread of the program ends. */
static void scavenger_pause(void) {
    uint64_t begin_ms = hk_os_now_ms();
    for (uint64_t now = begin_ms; scavenger_is_allowed(); now = hk_os_now_ms()) {
        hk_pressure_look(now);
        uint64_t end_ms = begin_ms + hk_pressure_delay_ms(now) / 2 + 1;
        if (now >= end_ms)
            return;

        uint64_t wait_ms = hk_min(end_ms - now, hk_pressure_wait_ms(now));
        uint32_t ended = hk_load_relaxed(&scavenger.ended); /* relaxed: the futex compares it */
        if (scavenger_is_allowed())
            hk_os_wait_ms(&scavenger.ended, ended, wait_ms);
    }
}

/* Scans until no memory is left that a later scan may give back. */
static void scavenger_settle(void) {
    do {
        scavenger_pause();
        scavenger_recount_threads();
        hk_dirty_clear();
        enum hk_decay_progress progress;
        while ((progress = hk_decay_step()) == HK_DECAY_UNFINISHED && scavenger_is_allowed()) {
        }
        if (progress == HK_DECAY_DONE)
            return;
    } while (scavenger_is_allowed());
}

static void *scavenger_run(void *arg) {
    hk_thread_disable_cache();
    hk_store_relaxed(&scavenger.id,
                     hk_os_thread_id()); /* relaxed: the store of `present` orders it */

    /* This is for memory that became dirty while there was no scavenger, possibly in a parent
     * process. */
    hk_dirty_signal();

    /* The first recount comes soon, because a joined thread still exists for a moment. */
    uint64_t recount_ms = SCAVENGER_RETRY_MS;

    while (scavenger_is_wanted()) {
        while (!hk_dirty_wait_ms(recount_ms) && scavenger_is_allowed()) {
            scavenger_recount_threads();
            recount_ms = SCAVENGER_RECOUNT_MS;
        }
        scavenger_settle();
    }

    /* release: publishes `id`. It pairs with the acquire in scavenger_await_end. */
    hk_store_release(&scavenger.present, 0);
    hk_os_wake(&scavenger.present);
    return arg;
}

/* Waits until the scavenger is gone. If main called pthread_exit, libc runs the exit handlers in
 * the thread that ends last. That must not be the scavenger, with its small stack and without
 * privileges. Also, a program that has joined its threads expects to be single-threaded. */
static void scavenger_await_end(void) {
    uint64_t end_ms = hk_os_now_ms() + SCAVENGER_END_MS;
    for (uint64_t now = hk_os_now_ms(); now < end_ms && !scavenger_is_allowed();
         now = hk_os_now_ms()) {
        /* acquire: pairs with the release in scavenger_run */
        uint32_t present = hk_load_acquire(&scavenger.present);
        if (present != 0) {
            hk_os_wait_ms(&scavenger.present, present, end_ms - now);
            continue;
        }

        hk_os_wake(&scavenger.present); /* each waiter wakes the next one */
        if (hk_os_thread_is_gone(hk_load_relaxed(&scavenger.id))) /* relaxed: acquired above */
            return;
        hk_os_wait_ms(&scavenger.present, 0, 1);
    }
}

bool hk_scavenger_thread_ended(void) {
    if (!hk_scavenger_is_present())
        return false;

    scavenger_recount_threads();
    if (scavenger_is_allowed())
        return false;

    hk_add_relaxed(&scavenger.ended, 1); /* relaxed: the wakes order */
    hk_os_wake(&scavenger.ended);
    hk_dirty_signal();
    scavenger_await_end();
    return true;
}

/* ---- Starting the thread --------------------------------------------------------------------- */

static void scavenger_note_refusal(uint64_t now) {
    uint64_t pause =
        hk_load_relaxed(&scavenger.pause_ms); /* relaxed: one thread at a time is here */
    pause = pause == 0 ? SCAVENGER_RETRY_MS : pause;
    hk_store_relaxed(&scavenger.retry_ms, now + pause); /* relaxed: a time */
    hk_store_relaxed(&scavenger.pause_ms, pause * 2 < SCAVENGER_RETRY_MAX_MS
                                              ? pause * 2
                                              : SCAVENGER_RETRY_MAX_MS); /* relaxed: as above */
}

/* The blocks that libc allocates for the thread do not count for the calling thread. */
static bool scavenger_create(void) {
    static const struct hk_os_thread thread = {scavenger_run, "hakmem-purge"};
    struct hak_thread_counters counters = hk_counters;
    bool created = hk_os_start_thread(&thread);
    hk_counters = counters;
    return created;
}

/* Whether pthread_create returns. In a child of the clone system call, it may wait for a lock that
 * a thread of the parent held. A second thread shows that this lock is free. Such a child also ends
 * by the exit system call of its only thread, which a thread of ours would prevent. */
static bool scavenger_is_safe(void) { return hk_os_is_known_to_libc() || hk_thread_count() >= 2; }

/* No thread starts in a signal handler or a child of vfork. With background=auto, none starts in a
 * sandbox either. */
static bool scavenger_start(uint64_t signal_mask) {
    bool always = hk_option(HK_OPTION_background) == BACKGROUND_ALWAYS;
    if (!hk_os_may_start_thread(signal_mask) || (!always && hk_os_is_sandboxed()))
        return false;
    hk_recover_gone(); /* only threads that still exist count */
    return scavenger_is_allowed() && scavenger_is_safe() && scavenger_create();
}

void hk_scavenger_want(uint64_t signal_mask) {
    if (hk_likely(hk_scavenger_is_present() || !scavenger_is_wanted()))
        return;

    uint64_t now = hk_os_now_ms();
    uint32_t seen =
        hk_load_relaxed(&scavenger.present); /* relaxed: 0, or the mark of a parent process */
    if (seen == 0 && now < hk_load_relaxed(&scavenger.retry_ms)) /* relaxed: a time */
        return;

    /* relaxed: the creation of the thread orders its reads */
    if (!hk_cas_relaxed(&scavenger.present, &seen, scavenger_mark()))
        return;

    if (scavenger_start(signal_mask)) {
        /* A program that starts and joins one thread after another gets few scavengers. */
        hk_store_relaxed(&scavenger.retry_ms, now + SCAVENGER_RETRY_MS); /* relaxed: a time */
        hk_store_relaxed(&scavenger.pause_ms, 0);                        /* relaxed: as above */
        return;
    }

    scavenger_note_refusal(now);
    hk_store_relaxed(&scavenger.present, 0); /* relaxed: as above */
    hk_os_wake(&scavenger.present);
}
