/* heap/helper.c - the thread that gives memory back. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "helper.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>

#include "../core/arena.h"
#include "../core/large.h"
#include "../core/options.h"
#include "../core/usage.h"
#include "../os/os.h"
#include "purge.h"
#include "thread.h"

enum {
    HELPER_STACK_BYTES = 64 * 1024,
    HELPER_ALONE = 4, /* a program with one thread gets its second later */
    HELPER_WORK_NONE = 0,
    HELPER_WORK_SOME = 1,
};

enum helper_state { HELPER_ABSENT, HELPER_PRESENT, HELPER_REFUSED };

static struct {
    uint32_t state; /* atomic: enum helper_state */
    uint32_t work;  /* atomic: HELPER_WORK_*; the thread sleeps while it is NONE */
} helper;

static bool helper_is_wanted(void) {
    uint64_t threshold = hk_option(HK_OPTION_purge_thread_mb) << 20;
    uint64_t enough = hk_thread_count() > 1 ? threshold : HELPER_ALONE * threshold;
    return threshold != 0 && (hk_usage_bytes() >= enough ||
                              hk_arena_dirty_bytes() + hk_extent_cached_bytes() >= threshold);
}

bool hk_helper_is_present(void) {
    /* relaxed: only whether somebody else will look */
    return hk_load_relaxed(&helper.state) == HELPER_PRESENT;
}

/* Until nothing is left that waits for its time. */
static void helper_settle(void) {
    do {
        hk_os_sleep_ms(hk_option(HK_OPTION_purge_delay_ms) / 2 + 1);
        /* acquire: what was freed by threads that set SOME before; the locks of the look do the rest */
        hk_swap_acquire(&helper.work, HELPER_WORK_NONE);
    } while (hk_purge_step());
}

static void *helper_run(void *arg) {
    hk_os_name_thread("hakmem-purge");
    while (helper_is_wanted()) {
        /* relaxed: only whether to look */
        while (hk_load_relaxed(&helper.work) == HELPER_WORK_NONE)
            hk_os_wait(&helper.work, HELPER_WORK_NONE);
        helper_settle();
    }
    hk_store_relaxed(&helper.state, HELPER_ABSENT); /* relaxed: nothing is published by it */
    return arg;
}

/* A detached thread on a stack of that size; 0: the usual one. */
static bool helper_create(size_t stack_bytes) {
    pthread_attr_t attr;
    if (pthread_attr_init(&attr) != 0)
        return false;
    if (stack_bytes != 0)
        pthread_attr_setstacksize(&attr, stack_bytes);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sigset_t all, saved;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &saved);
    pthread_t thread;
    bool created = pthread_create(&thread, &attr, helper_run, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &saved, NULL);
    pthread_attr_destroy(&attr);
    return created;
}

void hk_helper_want(void) {
    /* relaxed loads: only whether to try; the exchange decides */
    if (hk_likely(hk_load_relaxed(&helper.state) != HELPER_ABSENT || !helper_is_wanted()))
        return;
    uint32_t absent = HELPER_ABSENT;
    /* relaxed: pthread_create orders what the new thread sees */
    if (!hk_cas_relaxed(&helper.state, &absent, HELPER_PRESENT))
        return;
    /* A program with much static TLS, which lies on the stack, needs the usual size. A refusal
     * (limits, seccomp) is not tried again: looks of busy threads still give back. */
    if (!helper_create(HELPER_STACK_BYTES) && !helper_create(0))
        hk_store_relaxed(&helper.state, HELPER_REFUSED); /* relaxed: as above */
}

void hk_helper_work(void) {
    /* relaxed: a stale SOME is of a helper that is about to look; should it miss what was just freed,
     * that waits for the next free */
    if (hk_load_relaxed(&helper.work) != HELPER_WORK_NONE)
        return;
    hk_store_relaxed(&helper.work, HELPER_WORK_SOME); /* relaxed: the wake orders */
    if (hk_helper_is_present())
        hk_os_wake(&helper.work);
}

void hk_helper_fork_child(void) {
    /* relaxed: the child has one thread */
    hk_store_relaxed(&helper.state, HELPER_ABSENT);
    hk_store_relaxed(&helper.work, HELPER_WORK_NONE);
}
