/* thread/thread.c - the start and end of threads and of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "thread.h"

#include <limits.h>
#include <pthread.h>

#include "../base/string.h"
#include "../core/meta.h"
#include "../core/options.h"
#include "../heap/heaps.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../transfer/transfer.h"
#include "bins.h"
#include "budget.h"
#include "hooks.h"
#include "park.h"
#include "prewarm.h"
#include "recover.h"
#include "threads.h"

enum {
    /* Rounds of destructors in which the thread keeps its cache. ThreadSanitizer's state ends in
     * the last one. */
    THREAD_END_ROUNDS = PTHREAD_DESTRUCTOR_ITERATIONS - HK_THREAD_SANITIZER,
};

enum process_start { PROCESS_START_NOT, PROCESS_START_RUNNING, PROCESS_START_DONE };

static struct {
    uint32_t started;     /* atomic: enum process_start, DONE once the const fields are set */
    uint32_t starter;     /* atomic; number of the thread that starts the process */
    bool options_pending; /* const until the constructor; there was no environment yet */
    pthread_key_t key;    /* const */
    bool has_key;         /* const */
} process;

/* ---- End of a thread ------------------------------------------------------------------------- */

/* Destroys a cache. Its blocks may soon serve other threads. */
static void thread_release(struct hk_thread *thread) {
    hk_bins_empty_for_others(thread);
    hk_threads_unlink(thread);
    hk_meta_free(thread, sizeof *thread);
}

static void thread_finish(struct hk_thread *thread) {
    hk_thread_disable_cache();
    hk_tcache_enter(thread); /* left only by a thread that adopts the cache */
    if (!hk_park(thread))
        thread_release(thread);
    hk_thread_hooks.ended();
}

/* The destructor of the key. Destructors of the program may allocate and free, so ours asks to be
 * called again until the last round. Destructors that run even later use a heap directly. */
static void thread_end(void *cache) {
    struct hk_thread *thread = cache;
    if (++thread->end_rounds < THREAD_END_ROUNDS && pthread_setspecific(process.key, thread) == 0)
        return;
    thread_finish(thread);
}

/* ---- Start of the process -------------------------------------------------------------------- */

static void process_read_options(void) {
    hk_options_read();
    hk_threads.cpus = hk_os_cpus();
    hk_heaps_start((uint32_t)hk_option(HK_OPTION_heaps), hk_threads.cpus);
    hk_transfer_start(hk_threads.cpus);
}

/* Starts the process, in the first thread that calls this. No lock is held, because a wrapper of
 * pthread_key_create may allocate. Until the start is done, the wrapper and other threads get their
 * blocks from a heap without a cache. Returns false if the start is not done. */
static HK_SLOW bool process_start(void) {
    uint32_t not_started = PROCESS_START_NOT;
    /* acquire: the const fields. It pairs with the release below. */
    if (hk_load_acquire(&process.started) == PROCESS_START_DONE)
        return true;

    /* In a forked child, the starting thread may have vanished. relaxed: the child has one
     * thread */
    uint32_t running = PROCESS_START_RUNNING;
    if (hk_lock_thread_vanished(hk_load_relaxed(&process.starter)))
        hk_cas_relaxed(&process.started, &running, PROCESS_START_NOT);

    /* acquire: as above. One thread wins. */
    if (!hk_cas_acquire(&process.started, &not_started, PROCESS_START_RUNNING))
        return not_started == PROCESS_START_DONE;

    hk_store_relaxed(&process.starter, hk_lock_self()); /* relaxed: for a forked child */
    hk_os_generation();
    hk_thread_hooks.process_started();
    process.options_pending = hk_os_environment_is_early();
    process_read_options();

    /* This reads a file, which a sandbox that the program enters later may forbid. */
    hk_os_mappings_max();
    process.has_key = pthread_key_create(&process.key, thread_end) == 0;

    /* release: publishes the const fields. It pairs with the acquire above. */
    hk_store_release(&process.started, PROCESS_START_DONE);
    return true;
}

void hk_thread_start_late(void) {
    process_start();
    if (process.options_pending) {
        hk_options_read_late();
        process.options_pending = false;
    }

    hk_os_find_thread_create();
    /* A library that contains hakmem must stay loaded, because its threads run our code when they
     * exit, and its blocks outlive it. */
    hk_os_stay_loaded((const void *)(uintptr_t)thread_end);
}

/* ---- Start of a thread ----------------------------------------------------------------------- */

/* Creates a cache for the calling thread, not yet in the list. Returns NULL if out of memory. */
static struct hk_thread *thread_create(void) {
    struct hk_thread *thread = hk_meta_alloc(sizeof *thread);
    if (thread == NULL)
        return NULL;

    memset(thread, 0, sizeof *thread);
    for (size_t class = 0; class < HK_CLASS_COUNT; ++class)
        hk_bins_reset(thread, class);

    thread->cache.kind = HK_CACHE_OWN;
    thread->trim_seen = hk_load_relaxed(&hk_threads.trims); /* relaxed: a request, orders nothing */
    thread->number = hk_lock_self();
    thread->signal_mask = hk_os_signal_mask();
    hk_recover_identify(thread);
    return thread;
}

/* Finds a parked cache for the calling thread or creates one, in the list and with a heap. Returns
 * NULL if out of memory. */
static struct hk_thread *thread_adopt_or_create(void) {
    struct hk_thread *thread = hk_park_adopt();
    if (thread != NULL)
        return thread;

    thread = thread_create();
    if (thread != NULL && !hk_threads_attach(thread)) {
        hk_meta_free(thread, sizeof *thread);
        return NULL;
    }
    return thread;
}

static HK_SLOW struct hk_thread *thread_begin(void) {
    if (!process_start())
        return NULL;
    if (hk_option(HK_OPTION_checks) == HK_CHECKS_FULL || !process.has_key) {
        hk_thread_disable_cache();
        return NULL;
    }

    hk_recover_vanished();
    hk_recover_gone_if_many();

    struct hk_thread *thread = thread_adopt_or_create();
    if (thread == NULL)
        return NULL;

    hk_budget_set(thread);
    /* This may allocate. The cache is in use since it is in the list. */
    if (pthread_setspecific(process.key, thread) != 0) { /* we would not notice its end */
        hk_thread_disable_cache();
        thread_release(thread);
        return NULL;
    }

    hk_prewarm_thread(thread, (enum hak_prewarm_set)hk_option(HK_OPTION_prewarm));
    return thread;
}

struct hk_thread *hk_thread_get(void) {
    struct hk_thread *thread = hk_thread_own;
    if (hk_likely(thread != NULL))
        return thread;
    return hk_cache_get()->kind == HK_CACHE_UNINITIALIZED ? thread_begin() : NULL;
}
