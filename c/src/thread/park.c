/* thread/park.c - the caches of threads that ended. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "park.h"

#include "../core/dirty.h"
#include "../heap/heaps.h"
#include "../os/os.h"
#include "bins.h"
#include "recover.h"
#include "threads.h"
#include "tunables.h"

static uint16_t park_usual[HK_CLASS_COUNT]; /* atomic; see hk_park_usual */

static void park_note_usual(const struct hk_thread *thread) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        /* relaxed: an average that may miss a thread */
        uint32_t usual = hk_load_relaxed(&park_usual[class]);
        uint32_t blocks = thread->capacity[class] / 2u;
        hk_store_relaxed(&park_usual[class], (uint16_t)((usual + blocks + 1) / 2));
    }
}

uint32_t hk_park_usual(size_t class) {
    return hk_load_relaxed(&park_usual[class]); /* relaxed: an average */
}

bool hk_park(struct hk_thread *thread) {
    size_t most = hk_min(hk_threads.cpus * (size_t)THREAD_PARKED_PER_CPU, THREAD_PARKED_MAX);
    park_note_usual(thread);
    hk_large_cache_drop_all(&thread->large);
    thread->parked_ms = hk_os_now_ms();
    thread->parked_bytes = hk_bins_bytes(thread);

    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    bool parks = hk_threads.parked_bytes + thread->parked_bytes <= most;
    if (parks) {
        hk_store_relaxed(&thread->id, 0); /* relaxed: as in hk_recover_identify */
        hk_threads_park_locked(thread);
    }
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);

    if (parks)
        hk_dirty_signal();
    return parks;
}

struct hk_thread *hk_park_adopt(void) {
    if (hk_peek(&hk_threads.parked) == NULL)
        return NULL;

    uint32_t number = hk_lock_self();
    uint32_t cpu = hk_threads_cpu();
    struct hk_heap *no_spare = NULL;

    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = hk_threads.parked;
    while (thread != NULL && hk_heap_node(thread->heap) != hk_nodes_of(cpu))
        thread = thread->parked_next;
    if (thread != NULL) {
        thread->number = number;
        hk_threads_unpark_locked(thread);
        thread->heap->threads--;
        thread->heap = hk_heaps_choose(&no_spare, cpu);
        thread->heap->threads++;
        hk_recover_identify(thread);
        hk_thread_use_cache_locked(thread);
    }
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    if (thread == NULL)
        return NULL;

    hk_store_relaxed(&thread->busy, 0); /* relaxed: as in hk_tcache_enter */
    thread->signal_mask = hk_os_signal_mask();
    thread->end_rounds = 0;
    thread->frees_in_a_row = 0;
    return thread;
}

/* ---- Emptying parked caches ------------------------------------------------------------------ */

static bool park_is_older(const struct hk_thread *thread, const void *before_ms) {
    return thread->is_parked && thread->parked_ms <= *(const uint64_t *)before_ms;
}

/* Empties one cache that was parked at or before a time. Returns false if there is none. */
static bool park_release_one(uint64_t before_ms) {
    if (hk_peek(&hk_threads.parked) == NULL)
        return false;
    struct hk_thread *thread = hk_threads_take(park_is_older, &before_ms);
    if (thread != NULL)
        hk_bins_destroy(thread);
    return thread != NULL;
}

bool hk_park_release(uint64_t before_ms) {
    while (park_release_one(before_ms)) {
    }
    return hk_peek(&hk_threads.parked) != NULL;
}

void hk_park_shrink(size_t bytes) {
    while (hk_peek(&hk_threads.parked_bytes) > bytes && park_release_one(UINT64_MAX)) {
    }
}
