/* thread/budget.h - the size of a thread cache.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the limits of a thread cache in bytes, and of a bin in blocks. The budget grows with
 * the thread's regret: bytes that it refilled from classes that it had flushed.
 * Owns: the budget fields of a thread cache. Threads: the owner of the cache.
 * Boundary: core/options, the number of threads.
 */
#ifndef HK_THREAD_BUDGET_H
#define HK_THREAD_BUDGET_H

#include "tcache.h"

/* Recomputes a thread's budget. */
void hk_budget_set(struct hk_thread *thread);

/* The bytes of blocks that a thread's bins have room for, plus the bytes of its cached large
 * blocks. */
size_t hk_budget_held(const struct hk_thread *thread);

/* The maximum bytes that one thread may cache. Pre-warming may use all of it at once. */
size_t hk_budget_limit(void);

/* The maximum number of blocks in a bin. */
uint32_t hk_budget_depth(const struct hk_thread *thread, size_t class);

/* Count a refill or a flush of a class, or a large block that was not cached, before it
 * happens. */
void hk_budget_note_refill(struct hk_thread *thread, size_t class, size_t bytes);
void hk_budget_note_flush(struct hk_thread *thread, size_t class, size_t bytes);

#endif
