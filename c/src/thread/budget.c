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

static size_t budget_earned(size_t regret) {
    return hk_min(regret, THREAD_REGRET_MAX) * THREAD_REGRET_FACTOR;
}

/* The part of the budget that the thread has earned.
 *
 * Most of it is for regret, the bytes of refills that a larger cache would have avoided. A thread
 * whose memory grows and shrinks by more than any cache holds has regret, too, but little for its
 * traffic. Beyond a moderate size, the budget therefore grows only as long as regret is frequent.
 *
 * A thread that only allocates or only frees has no regret. It needs no cache, but it needs large
 * batches if it moves many bytes, so a part of the bytes that it moved in one direction counts
 * too. */
static size_t budget_bonus(const struct hk_thread *thread) {
    size_t in = thread->refilled_bytes;
    size_t out = thread->flushed_bytes;
    size_t net = in > out ? in - out : out - in;
    size_t regret = thread->regret_bytes;
    size_t rare = (in + out) / THREAD_REGRET_PART;
    size_t frequent = regret > rare ? regret - rare : 0;

    return hk_max(hk_min(budget_earned(regret), THREAD_REGRET_MODERATE), budget_earned(frequent)) +
           net / THREAD_MOVED_PART;
}

/* The budget is an initial amount, which shrinks as the number of threads grows, plus a bonus. It
 * is capped by the thread's part of the total and by the limit for one thread. If the option does
 * not set the total, each thread may reach THREAD_PART_MIN, regardless of the number of threads. */
void hk_budget_set(struct hk_thread *thread) {
    uint32_t count = hk_thread_count();
    hk_assert(count > 0); /* this one */

    size_t total = hk_option(HK_OPTION_cache_total_mb) << 20;
    size_t part = (total != 0 ? total : hk_threads.cpus * (size_t)THREAD_TOTAL_PER_CPU) / count;
    size_t start = budget_start(part);
    size_t most = hk_max(part, total != 0 ? start : THREAD_PART_MIN);

    thread->budget = hk_min(hk_min(start + budget_bonus(thread), most), hk_budget_limit());
    thread->no_room = SIZE_MAX;

    thread->depth_shift = 0;
    while (most << thread->depth_shift < THREAD_DEEP_BYTES)
        thread->depth_shift++;
}

/* Whether the thread has flushed such blocks since the last refill of the class. A large block is
 * compared with the last one that was flushed. */
static bool budget_regrets(const struct hk_thread *thread, size_t class, size_t bytes) {
    if (class == HK_CLASS_NONE)
        return bytes <= thread->flushed_large && thread->flushed_large / 2 <= bytes;
    return hk_bit_get(thread->flushed, (uint32_t) class);
}

void hk_budget_note_refill(struct hk_thread *thread, size_t class, size_t bytes) {
    thread->refilled_bytes += bytes;
    if (budget_regrets(thread, class, bytes))
        thread->regret_bytes += bytes;

    hk_bit_clear(thread->flushed, (uint32_t) class);
    if (class == HK_CLASS_NONE)
        thread->flushed_large = 0;
}

void hk_budget_note_flush(struct hk_thread *thread, size_t class, size_t bytes) {
    thread->flushed_bytes += bytes;
    hk_bit_set(thread->flushed, (uint32_t) class);
    if (class == HK_CLASS_NONE)
        thread->flushed_large = bytes;
}
