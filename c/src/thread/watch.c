/* thread/watch.c - watched threads. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "watch.h"

#include "../os/os.h"
#include "threads.h"

/* Whether the thread-local variables of a listed cache's owner exist. A thread leaves the list,
 * under the lock, before its variables are gone. A thread that created its cache in its last
 * destructor does not, so we ask the kernel. */
static bool watch_may_switch(const struct hk_thread *thread) {
    /* relaxed: stored before the cache was listed */
    return thread->place != NULL && !hk_lock_thread_vanished(thread->number) &&
           !hk_os_thread_is_gone(hk_load_relaxed(&thread->id));
}

/* Switches a thread that uses its own cache. If the thread disables its cache at the same time, one
 * of both stores wins, and it must be the other one. */
static void watch_switch_locked(struct hk_thread *thread) {
    struct hk_cache *own = &thread->cache;
    if (watch_may_switch(thread)) /* relaxed: as in hk_cache_get */
        hk_cas_relaxed(thread->place, &own, hk_tcache_watched());
}

static void watch_switch_all_locked(void) {
    for (struct hk_thread *thread = hk_threads.first; thread != NULL; thread = thread->next)
        watch_switch_locked(thread);
}

void hk_watch_set(enum hk_watcher watcher, uint32_t number) {
    unsigned shift = (unsigned)watcher * HK_WATCH_BITS;
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    uint64_t others = hk_watch & ~((uint64_t)UINT32_MAX << shift);
    /* release: publishes the settings of the watch. It pairs with hk_watch_number_acquire. */
    hk_store_release(&hk_watch, others | (uint64_t)number << shift);
    if (number != 0)
        watch_switch_all_locked();
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

void hk_watch_once(void) {
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    watch_switch_all_locked();
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

HK_SLOW void hk_watch_leave(struct hk_thread *thread) {
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    if (!hk_watch_is_on()) /* relaxed: as in hk_cache_get */
        hk_store_relaxed(&hk_cache, &thread->cache);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

/* Another thread may switch this one at the same time. Both store the same address. */
void hk_watch_own_start(enum hk_watch_reason reason) {
    hk_watch_own |= reason;
    if (hk_thread_own != NULL)
        hk_store_relaxed(&hk_cache, hk_tcache_watched()); /* relaxed: as in hk_cache_get */
}

void hk_watch_own_stop(enum hk_watch_reason reason) {
    if ((hk_watch_own & reason) == 0)
        return;
    hk_watch_own &= ~(uint32_t)reason;
    if (hk_thread_own != NULL && !hk_watch_is_on())
        hk_watch_leave(hk_thread_own);
}
