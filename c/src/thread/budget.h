/* thread/budget.h - the size of a thread cache.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: how many bytes a thread may cache, and how many blocks of a class. The budget grows
 * with the thread's regret: bytes that it refilled from classes that it had flushed.
 * Owns: the budget fields of a thread cache. Threads: the owner of the cache.
 * Boundary: core/options, the number of threads.
 */
#ifndef HK_THREAD_BUDGET_H
#define HK_THREAD_BUDGET_H

#include "tcache.h"

/* Recomputes a thread's budget. */
void hk_budget_set(struct hk_thread *thread);

/* Bytes that a thread's bins and large blocks may hold by now. */
size_t hk_budget_held(const struct hk_thread *thread);

/* The most that one thread may cache. Pre-warming need not earn it. */
size_t hk_budget_limit(void);

/* The most blocks in a bin. */
uint32_t hk_budget_depth(const struct hk_thread *thread, size_t class);

/* Counts the refill of a class that follows, or a large block. */
void hk_budget_note_refill(struct hk_thread *thread, size_t class, size_t bytes);

#endif
