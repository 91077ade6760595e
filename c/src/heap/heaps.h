/* heap/heaps.h - the heaps of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a table of heaps, at most one for each CPU, and the choice of one for a thread. A
 * heap is made when a thread starts and all others are in use.
 * Owns: the table. Threads: any, without a lock, unless a function says otherwise.
 * Boundary: heap/heap, core/meta.
 */
#ifndef HK_HEAP_HEAPS_H
#define HK_HEAP_HEAPS_H

#include "heap.h"

/* At the start of the process: how many heaps there may be. */
void hk_heaps_start(uint32_t max);

/* A new heap for hk_heaps_choose, if all heaps seem to be in use by the `threads` that there are
 * and there may be more. Else NULL. */
struct hk_heap *hk_heaps_spare(uint32_t threads);

/* The heap with the fewest threads, or *spare, which is then set to NULL, if all are in use. NULL
 * without memory. Under the THREADS lock. */
struct hk_heap *hk_heaps_choose(struct hk_heap **spare);

/* Frees a spare heap that was not chosen; NULL is allowed. */
void hk_heaps_drop_spare(struct hk_heap *spare);

/* Heaps so far. Their numbers lie below. */
uint32_t hk_heaps_count(void);

/* A heap by its number; NULL past the last. */
struct hk_heap *hk_heaps_at(uint32_t number);

/* Calls `visit` for each heap. */
void hk_heaps_each(void (*visit)(void *arg, struct hk_heap *heap), void *arg);

/* In a forked child, under the THREADS lock: no thread counts as attached to a heap any more. */
void hk_heaps_forget_threads(void);

#endif
