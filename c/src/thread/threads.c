/* thread/threads.c - the list of thread caches. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "threads.h"

#include "../heap/heaps.h"

struct hk_threads hk_threads;

uint32_t hk_thread_count(void) {
    /* relaxed: a size, orders nothing. In a forked child, the caches of other threads do not
     * count. */
    return hk_load_relaxed(&hk_threads.vanished) ? 1 : hk_load_relaxed(&hk_threads.count);
}

bool hk_threads_are_many(void) {
    return hk_thread_count() > 1 || hk_peek(&hk_threads.parked) != NULL;
}

void hk_threads_ask_trim(void) { hk_add_relaxed(&hk_threads.trims, 1); /* relaxed: a request */ }

uint32_t hk_threads_cpu(void) {
    if (hk_heaps_count() == 0)
        return hk_os_cpu();
    hk_nodes_read();
    return hk_nodes() != NULL ? hk_os_cpu() : 0;
}

/* Takes the THREADS lock and chooses a heap for the calling thread. Returns NULL if out of memory.
 * If *spare is not NULL afterwards, the caller drops it after it has released the lock.
 *
 * The nodes must be known if another thread has a heap, and are read without the lock. */
static struct hk_heap *threads_lock_heap(struct hk_heap **spare) {
    bool tried = false;
    for (;;) {
        bool first = hk_heaps_count() == 0;
        uint32_t cpu = hk_threads_cpu();
        hk_lock(&hk_threads.lock, HK_RANK_THREADS);
        bool late = first && hk_heaps_count() > 0; /* another thread was faster */
        bool wants = !late && !tried && hk_heaps_need_spare(cpu);
        if (!late && !wants)
            return hk_heaps_choose(spare, cpu);

        hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
        if (wants)
            *spare = hk_heap_create();
        tried |= wants;
    }
}

struct hk_heap *hk_thread_any_heap(void) {
    struct hk_heap *heap = hk_heaps_at(0);
    if (heap != NULL)
        return heap;

    struct hk_heap *spare = NULL;
    heap = threads_lock_heap(&spare);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    hk_heaps_drop_spare(spare);
    return heap;
}

struct hk_heap *hk_thread_sampled_heap(void) {
    struct hk_heap *heap = hk_heaps_sampled();
    if (heap != NULL || hk_thread_any_heap() == NULL)
        return heap;

    struct hk_heap *spare = hk_heap_create();
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    heap = hk_heaps_use_sampled(&spare);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    hk_heaps_drop_spare(spare);
    return heap;
}

bool hk_threads_attach(struct hk_thread *thread) {
    struct hk_heap *spare = NULL;
    thread->heap = threads_lock_heap(&spare);
    if (thread->heap != NULL) {
        thread->heap->threads++;
        thread->next = hk_threads.first;
        if (hk_threads.first != NULL)
            hk_threads.first->prev = thread;
        hk_fence_stores(); /* a forked child finds a complete cache in the list */
        hk_threads.first = thread;
        hk_add_locked(&hk_threads.count, 1);
        hk_thread_use_cache_locked(thread);
    }

    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    hk_heaps_drop_spare(spare);
    return thread->heap != NULL;
}

void hk_threads_unlink_locked(struct hk_thread *thread) {
    if (thread->is_parked)
        hk_threads_unpark_locked(thread);

    if (thread->prev != NULL)
        thread->prev->next = thread->next;
    else
        hk_threads.first = thread->next;
    if (thread->next != NULL)
        thread->next->prev = thread->prev;

    thread->place = NULL;
    thread->heap->threads--;
    hk_sub_locked(&hk_threads.count, 1);
}

void hk_threads_unlink(struct hk_thread *thread) {
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    hk_threads_unlink_locked(thread);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
}

struct hk_thread *hk_threads_take(bool (*matches)(const struct hk_thread *thread, const void *arg),
                                  const void *arg) {
    hk_lock(&hk_threads.lock, HK_RANK_THREADS);
    struct hk_thread *thread = hk_threads.first;
    while (thread != NULL && !matches(thread, arg))
        thread = thread->next;

    if (thread != NULL)
        hk_threads_unlink_locked(thread);
    hk_unlock(&hk_threads.lock, HK_RANK_THREADS);
    return thread;
}

/* ---- Parked caches --------------------------------------------------------------------------- */

void hk_threads_park_locked(struct hk_thread *thread) {
    thread->is_parked = true;
    thread->place = NULL;
    thread->parked_next = hk_threads.parked;
    hk_store_locked(&hk_threads.parked, thread);
    hk_add_locked(&hk_threads.parked_bytes, thread->parked_bytes);
    thread->heap->threads--;
    hk_sub_locked(&hk_threads.count, 1);
}

void hk_threads_unpark_locked(struct hk_thread *thread) {
    struct hk_thread *before = hk_threads.parked;
    while (before != thread && before->parked_next != thread)
        before = before->parked_next;

    if (before == thread)
        hk_store_locked(&hk_threads.parked, thread->parked_next);
    else
        before->parked_next = thread->parked_next;

    thread->is_parked = false;
    hk_sub_locked(&hk_threads.parked_bytes, thread->parked_bytes);
    thread->heap->threads++;
    hk_add_locked(&hk_threads.count, 1);
}

/* ---- Repair ---------------------------------------------------------------------------------- */

/* Rebuilds everything else from the `next` links, which are always intact, starting at `first`. */
void hk_threads_repair(struct hk_lock *lock) {
    (void)lock;
    hk_heaps_forget_threads();
    hk_store_locked(&hk_threads.parked_bytes, 0);
    hk_store_locked(&hk_threads.parked, NULL);
    hk_store_locked(&hk_threads.count, 0);

    struct hk_thread *prev = NULL;
    for (struct hk_thread *thread = hk_threads.first; thread != NULL; thread = thread->next) {
        thread->prev = prev;
        prev = thread;
        thread->heap->threads++;
        hk_add_locked(&hk_threads.count, 1);
        if (thread->is_parked)
            hk_threads_park_locked(thread);
    }
}
