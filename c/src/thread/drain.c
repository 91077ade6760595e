/* thread/drain.c - emptying the caches of sleeping threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "drain.h"

#include "../base/string.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/meta.h"
#include "../os/os.h"
#include "bins.h"
#include "threads.h"

enum {
    DRAIN_BLOCKS = 1900, /* Blocks taken from one cache at once, in a buffer of 16 KiB. */
};

/* Blocks that a drain takes from one cache, one class after the other. */
struct drain {
    void *blocks[DRAIN_BLOCKS];
    uint32_t counts[HK_CLASS_COUNT];           /* of each class */
    struct hk_span *large[HK_LARGE_CACHE_MAX]; /* NULL for none */
    bool handlers_block;                       /* see hk_os_handlers_block_their_signal */
    bool passed;                               /* the second barrier succeeded, as it must */
    bool whole;                                /* takes the newest blocks, too */
    bool full;                                 /* there was no room for more */
    struct hk_mistakes mistakes;
};

/* ---- Choosing caches ------------------------------------------------------------------------- */

static bool drain_is_empty(const struct hk_thread *thread) {
    return hk_peek(&thread->large.bytes) + hk_bins_bytes(thread) == 0;
}

/* Whether the thread has done nothing since the last check. Sets *works if it made slow calls. */
static bool drain_is_idle(struct hk_thread *thread, bool *works) {
    uintptr_t tops = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        tops += (uintptr_t)hk_peek(&thread->cache.bins[class].top);

    uint32_t calls = hk_peek(&thread->slow_calls);
    *works = calls != thread->drain_calls;

    bool idle = !*works && tops == thread->drain_tops;
    thread->drained = thread->drained && idle;
    thread->drain_calls = calls;
    thread->drain_tops = tops;
    return idle;
}

_Static_assert(sizeof(struct drain) <= 16384, "a power of two of metadata");

static bool drain_is_own(const struct hk_thread *thread) { return thread == hk_thread_own; }

/* Marks the caches to drain. Returns false if there are none. Sets *works if a working thread may
 * be idle the next time. */
static bool drain_mark(bool all, bool *works) {
    bool found = false;
    *works = false;

    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    for (struct hk_thread *thread = hk_threads.first; thread != NULL; thread = thread->next) {
        bool at_work = false;
        hk_lock(&thread->lock, HK_RANK_THREAD);
        bool idle = drain_is_idle(thread, &at_work);
        thread->drains = (all || (idle && !thread->drained)) && !thread->is_parked &&
                         !drain_is_own(thread) && !drain_is_empty(thread);
        found |= thread->drains;
        hk_unlock(&thread->lock, HK_RANK_THREAD);
        *works |= at_work && !drain_is_own(thread);
    }

    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    return found;
}

/* ---- Draining one cache ---------------------------------------------------------------------- */

/* Sets a bound in each bin of an owner that is in no slow call. Under the THREADS lock. */
static void drain_bound(struct hk_thread *thread, struct drain *drain) {
    uint32_t room = DRAIN_BLOCKS;
    void **to = drain->blocks;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        uint32_t blocks = hk_bins_count(thread, class);
        blocks -= !drain->whole && blocks > 0;
        uint32_t count = (uint32_t)hk_min(blocks, room);
        drain->counts[class] = count;
        if (count == 0)
            continue;

        void **slot = thread->floor[class] + count - 1;
        /* One operation, because between a load and a store the owner may pop the block and push
         * another one there. relaxed: the barrier orders everything */
        to[count - 1] = hk_swap_relaxed(slot, NULL);
        room -= count;
        to += count;
    }

    drain->full = room == 0;
}

/* Takes the blocks below the bound of a bin. Returns false if its owner has reached the bound. If
 * the top is at the bound, a pop that read the slot before it was bounded may still be in progress,
 * but not in a sleeping thread. */
static bool drain_take(struct hk_thread *thread, size_t class, const struct drain *drain,
                       void **to) {
    uint32_t count = drain->counts[class];
    void **floor = thread->floor[class];
    void **bound = floor + count;
    void *none = NULL;

    /* acquire: the slots, and all uses of their blocks before the frees. It pairs with the release
     * in hk_bin_set_top. If the slot is not NULL, the owner popped below the bound and pushed
     * again. */
    void **top = hk_load_acquire(&thread->cache.bins[class].top);
    if (!drain->passed || top < bound || (top == bound && !drain->whole) ||
        hk_load_relaxed(&bound[-1]) != NULL) {
        /* relaxed: restores the block, unless the owner has pushed another one */
        hk_cas_relaxed(&bound[-1], &none, to[count - 1]);
        return false;
    }

    memcpy(to, floor, (count - 1) * sizeof *to);
    hk_store_relaxed(&bound[-2], NULL); /* relaxed: before its block can be allocated again */
    thread->floor[class] = bound;
    return true;
}

/* Takes the blocks below all bounds, and the large blocks. Returns true if it took anything. */
static bool drain_collect(struct hk_thread *thread, struct drain *drain) {
    void **from = drain->blocks;
    void **to = drain->blocks;

    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        uint32_t count = drain->counts[class];
        if (count > 0 && !drain_take(thread, class, drain, from))
            drain->counts[class] = 0;
        memmove(to, from, drain->counts[class] * sizeof *to);
        from += count;
        to += drain->counts[class];
    }

    for (uint32_t i = 0; i < HK_LARGE_CACHE_MAX; i++)
        drain->large[i] = hk_large_cache_remove(&thread->large);
    return to > drain->blocks || drain->large[0] != NULL;
}

static bool drain_sleeps(const struct hk_thread *thread, const struct drain *drain) {
    uint64_t id =
        hk_load_relaxed(&thread->id); /* relaxed: stored before the thread's cache was listed */
    return drain->handlers_block && hk_os_thread_sleeps(id, thread->signal_mask);
}

/* Takes blocks out of a cache. Returns false if it took none, because there are none, its owner is
 * in a slow call, or barriers do not work. Under the THREADS lock. */
static bool drain_locked(struct hk_thread *thread, struct drain *drain) {
    bool taken = false;
    hk_store_relaxed(&hk_tcache_drained, thread); /* relaxed: the barrier orders it */
    hk_lock(&thread->lock, HK_RANK_THREAD);

    /* acquire: the owner's last slow call. It pairs with the release in hk_tcache_leave. */
    if (hk_os_barrier() && hk_load_acquire(&thread->busy) == 0) {
        drain->whole = drain_sleeps(thread, drain);
        drain_bound(thread, drain);
        drain->passed = hk_os_barrier();
        drain->whole = drain->whole && drain_sleeps(thread, drain);
        taken = drain_collect(thread, drain);
    }

    hk_unlock(&thread->lock, HK_RANK_THREAD);
    /* release: our changes. It pairs with the acquire in hk_tcache_enter. */
    hk_store_release(&hk_tcache_drained, NULL);
    return taken;
}

/* Takes blocks out of the next marked cache. The cache of a sleeping thread stays marked while it
 * has more. Returns false if no cache is marked. */
static bool drain_next(struct drain *drain, bool *taken) {
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = hk_threads.first;
    while (thread != NULL && !thread->drains)
        thread = thread->next;

    *taken = thread != NULL && !thread->is_parked && drain_locked(thread, drain);
    if (thread != NULL) {
        thread->drains = *taken && drain->whole && drain->full;
        thread->drained = !thread->drains;
    }
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    return thread != NULL;
}

/* ---- Draining all marked caches -------------------------------------------------------------- */

/* Returns the blocks to their owner heaps. */
static void drain_give(struct drain *drain) {
    void *const *blocks = drain->blocks;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        if (drain->counts[class] > 0)
            hk_heap_give(class, blocks, drain->counts[class], &drain->mistakes);
        blocks += drain->counts[class];
    }

    for (uint32_t i = 0; i < HK_LARGE_CACHE_MAX; i++) {
        if (drain->large[i] != NULL)
            hk_large_free(drain->large[i]);
    }
}

/* Drains the marked caches. Returns true if it took anything. */
static bool drain_marked(void) {
    bool taken, any = false;
    struct drain *drain = hk_os_is_sandboxed() ? NULL : hk_meta_alloc(sizeof *drain);
    if (drain == NULL)
        return false;

    drain->handlers_block = hk_os_handlers_block_their_signal();
    drain->mistakes.count = 0;
    while (drain_next(drain, &taken)) {
        if (taken)
            drain_give(drain);
        any |= taken;
    }

    hk_mistakes_report("free", &drain->mistakes);
    hk_meta_free(drain, sizeof *drain);
    return any;
}

bool hk_drain_idle(void) {
    bool works;
    bool found = drain_mark(false, &works);
    return (found && drain_marked()) || works;
}

void hk_drain_all(void) {
    bool works;
    if (drain_mark(true, &works))
        drain_marked();
}

/* ---- Waiting owners -------------------------------------------------------------------------- */

/* NOLINTNEXTLINE(misc-no-recursion): only if another drain starts meanwhile */
void hk_tcache_wait(struct hk_thread *thread) {
    if (thread->busy > 1) /* the drain has seen the outer slow call */
        return;

    hk_store_relaxed(&thread->busy, 0); /* relaxed: nothing was changed */
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    /* Drains hold the lock, so this drain did not survive a fork. relaxed: stored under the lock */
    if (hk_load_relaxed(&hk_tcache_drained) == thread) {
        hk_drain_repair(thread);
        hk_store_relaxed(&hk_tcache_drained, NULL);
    }

    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    hk_tcache_enter(thread);
}

void hk_drain_repair(struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        void **to = thread->floor[class];
        for (void **from = to; from < thread->cache.bins[class].top; from++) {
            if (*from != NULL)
                *to++ = *from;
        }
        if (to != thread->cache.bins[class].top)
            hk_bin_set_top(&thread->cache.bins[class], to);
    }
}
