/* thread/budget.c - the size of a thread cache. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "budget.h"

#include "../core/options.h"
#include "../os/check.h"
#include "threads.h"
#include "tunables.h"

/* The budget of a new thread, from its part of the total. */
static size_t budget_start(size_t part) {
    return hk_max(hk_min(part / THREAD_START_PART, THREAD_START_MAX), THREAD_START_MIN);
}

size_t hk_budget_limit(void) { return hk_option(HK_OPTION_thread_cache_kb) << 10; }

size_t hk_budget_held(const struct hk_thread *thread) {
    return thread->capacity_bytes + thread->large.bytes;
}

/* With HK_CHECKS_FAST each free searches its bin. */
uint32_t hk_budget_depth(const struct hk_thread *thread, size_t class) {
    size_t depth = hk_max(hk_classes[class].depth >> thread->depth_shift, THREAD_DEPTH_MIN);
    bool searched = hk_option(HK_OPTION_checks) == HK_CHECKS_FAST;
    return (uint32_t)(searched ? hk_min(depth, THREAD_SEARCHED_DEPTH) : depth);
}

/* The budget is an initial amount, which shrinks as the number of threads grows, plus a bonus. It
 * is capped by the thread's part of the total and by the limit for one thread.
 *
 * Most of the bonus is for regret, the bytes of refills from classes that the thread had flushed. A
 * larger cache would have kept those blocks. A thread that only allocates or only frees has no
 * regret. It needs no cache, but it needs large batches if it moves many bytes, so a part of all
 * bytes moved counts too.
 *
 * If the option does not set the total, each thread may reach THREAD_PART_MIN, regardless of the
 * number of threads. */
void hk_budget_set(struct hk_thread *thread) {
    uint32_t count = hk_thread_count();
    hk_assert(count > 0); /* this one */

    size_t total = hk_option(HK_OPTION_cache_total_mb) << 20;
    size_t part = (total != 0 ? total : hk_threads.cpus * (size_t)THREAD_TOTAL_PER_CPU) / count;
    size_t start = budget_start(part);
    size_t most = hk_max(part, total != 0 ? start : THREAD_PART_MIN);
    size_t bonus = hk_min(thread->regret_bytes, THREAD_REGRET_MAX) * THREAD_REGRET_FACTOR +
                   thread->moved_bytes / THREAD_MOVED_PART;

    thread->budget = hk_min(hk_min(start + bonus, most), hk_budget_limit());
    thread->no_room = SIZE_MAX;

    thread->depth_shift = 0;
    while (most << thread->depth_shift < THREAD_DEEP_BYTES)
        thread->depth_shift++;
}

/* A refill counts as regret if the thread has flushed such blocks since its last refill. */
void hk_budget_note_refill(struct hk_thread *thread, size_t class, size_t bytes) {
    thread->moved_bytes += bytes;
    if (!hk_bit_get(thread->flushed, (uint32_t) class))
        return;

    hk_bit_clear(thread->flushed, (uint32_t) class);
    thread->regret_bytes += bytes;
}
