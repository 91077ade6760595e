/* thread/recover.c - the caches of threads that no longer exist.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "recover.h"

#include "../os/os.h"
#include "bins.h"
#include "drain.h"
#include "hooks.h"
#include "threads.h"
#include "tunables.h"

static uint32_t recover_generation;                  /* atomic; the last process noticed */
static uint32_t recover_sweep_at = THREAD_SWEEP_MIN; /* atomic; caches at the next sweep */

/* Returns the blocks of a cache without a thread to their owner heaps. A bin that was being changed
 * when the thread vanished is lost. */
static void recover_cache(struct hk_thread *thread) {
    hk_lock(&thread->lock, HK_RANK_THREAD); /* repairs an orphaned lock */
    hk_unlock(&thread->lock, HK_RANK_THREAD);
    hk_recover_repair(&thread->lock);
    hk_drain_repair(thread);
    hk_bins_destroy(thread);
}

void hk_recover_identify(struct hk_thread *thread) {
    /* relaxed: for threads that start later */
    hk_store_relaxed(&thread->generation, hk_os_generation());
    hk_store_relaxed(&thread->id, hk_os_thread_id());
}

/* ---- Threads of a parent process ------------------------------------------------------------- */

/* Only notes the fork, because a child that runs another program at once should not pay for the
 * caches of the parent. The forking thread continues in the child under another id. */
void hk_recover_notice_fork(void) {
    uint32_t generation = hk_os_generation();
    /* relaxed: the thread that changes it does the work. The locks order the rest. */
    uint32_t seen = hk_load_relaxed(&recover_generation);
    if (hk_likely(seen == generation) || !hk_os_is_first_thread() ||
        !hk_cas_relaxed(&recover_generation, &seen, generation))
        return;

    hk_lock_note_fork();
    hk_store_relaxed(&hk_threads.vanished, 1); /* relaxed: the child has one thread */
    if (hk_thread_own != NULL)
        hk_recover_identify(hk_thread_own);
}

void hk_recover_fork_child(void) {
    hk_os_note_fork();
    hk_recover_notice_fork();
}

static bool recover_is_vanished(const struct hk_thread *thread, const void *unused) {
    (void)unused;
    return hk_lock_thread_vanished(thread->number);
}

void hk_recover_vanished(void) {
    uint32_t yes = 1;
    hk_recover_notice_fork();
    /* relaxed: one thread wins. The lock of the list orders the caches. */
    if (hk_likely(!hk_load_relaxed(&hk_threads.vanished)) ||
        !hk_cas_relaxed(&hk_threads.vanished, &yes, 0))
        return;

    struct hk_thread *thread;
    while ((thread = hk_threads_take(recover_is_vanished, NULL)) != NULL)
        recover_cache(thread);
}

void hk_thread_each(void (*visit)(void *arg, struct hk_thread *thread), void *arg) {
    hk_recover_vanished();
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    for (struct hk_thread *thread = hk_threads.first; thread != NULL; thread = thread->next) {
        hk_lock(&thread->lock, HK_RANK_THREAD);
        visit(arg, thread);
        hk_unlock(&thread->lock, HK_RANK_THREAD);
    }
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

/* ---- Threads that ended without our destructor ----------------------------------------------- */

struct recover_owner {
    uint32_t number;
    uint64_t id; /* 0 if unknown */
};

static bool recover_is_owned_by(const struct hk_thread *thread, const void *arg) {
    const struct recover_owner *owner = arg;
    /* relaxed: an owner that is gone has stored its own id */
    return thread->number == owner->number && hk_load_relaxed(&thread->id) == owner->id;
}

/* Gets the owners of the caches, without the first `skipped` ones. Returns their number. */
static uint32_t recover_owners(uint32_t skipped, struct recover_owner owners[THREAD_SWEEP_BATCH]) {
    uint32_t generation = hk_os_generation();
    uint32_t count = 0;

    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    for (struct hk_thread *thread = hk_threads.first; thread != NULL && count < THREAD_SWEEP_BATCH;
         thread = thread->next) {
        if (skipped > 0) {
            skipped--;
            continue;
        }

        /* relaxed: threads store their own ids, and vanished ones have stored theirs */
        bool known = hk_load_relaxed(&thread->generation) == generation;
        owners[count++] =
            (struct recover_owner){thread->number, known ? hk_load_relaxed(&thread->id) : 0};
    }
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    return count;
}

void hk_recover_gone(void) {
    struct recover_owner owners[THREAD_SWEEP_BATCH];
    uint32_t count, skipped = 0;

    while ((count = recover_owners(skipped, owners)) > 0) {
        skipped += count;
        for (uint32_t i = 0; i < count; i++) {
            struct hk_thread *thread = hk_os_thread_is_gone(owners[i].id)
                                           ? hk_threads_take(recover_is_owned_by, &owners[i])
                                           : NULL;
            if (thread != NULL) {
                recover_cache(thread);
                hk_thread_hooks.gone(owners[i].number);
                skipped--;
            }
        }
    }

    uint32_t next = 2 * hk_thread_count();
    /* relaxed: a threshold */
    hk_store_relaxed(&recover_sweep_at, next > THREAD_SWEEP_MIN ? next : THREAD_SWEEP_MIN);
}

void hk_recover_gone_if_many(void) {
    if (hk_thread_count() >= hk_load_relaxed(&recover_sweep_at)) /* relaxed: as above */
        hk_recover_gone();
}

/* ---- Repair ---------------------------------------------------------------------------------- */

/* Resets the bin named by `moving`, which may be half replaced. */
void hk_recover_repair(struct hk_lock *lock) {
    struct hk_thread *thread = HK_HOLDER(struct hk_thread, lock, lock);
    size_t class = hk_load_relaxed(&thread->moving); /* relaxed: its thread is gone */
    if (class != HK_CLASS_NONE)
        hk_bins_reset(thread, class);
}
