/* heap/heaps.h - the heaps of the process.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a table of heaps, at most one for two CPUs, and the choice of one for a thread. A
 * heap is created when a thread starts while all existing heaps are in use. On a machine with
 * several NUMA nodes, this is so for each node: a thread uses a heap of the node on which it
 * starts, and keeps it if it moves. Each node may have one heap, even beyond the maximum. Once the
 * heap has been profiled, another one holds the sampled blocks. Threads never choose it.
 * Owns: the table. Threads: any, without a lock, unless a function says otherwise.
 * Boundary: heap/heap, core/meta, core/nodes.
 */
#ifndef HK_HEAP_HEAPS_H
#define HK_HEAP_HEAPS_H

#include "heap.h"

/* Sets the maximum number of heaps, or with 0 that for a number of CPUs. Called at the start of the
 * process. */
void hk_heaps_start(uint32_t max, uint32_t cpus);

/* Whether hk_heaps_choose needs a spare heap: all heaps of the node of `cpu` are in use, and more
 * heaps are allowed. Under the THREADS lock. */
bool hk_heaps_need_spare(uint32_t cpu);

/* Returns the heap with the fewest threads, of those on the node of `cpu` if there are any. If all
 * of these are in use and there is a spare one, returns *spare instead and sets it to NULL. Returns
 * NULL if out of memory. Under the THREADS lock. */
struct hk_heap *hk_heaps_choose(struct hk_heap **spare, uint32_t cpu);

/* The heap of sampled blocks, or NULL if there is none. */
struct hk_heap *hk_heaps_sampled(void);

/* Makes a spare heap that of sampled blocks, if there is none yet, and sets it to NULL. Returns the
 * heap of sampled blocks. Under the THREADS lock, after another heap was chosen. */
struct hk_heap *hk_heaps_use_sampled(struct hk_heap **spare);

/* Frees a spare heap that was not chosen. NULL is allowed. */
void hk_heaps_drop_spare(struct hk_heap *spare);

/* The current number of heaps. They are numbered from 0. */
uint32_t hk_heaps_count(void);

/* A heap by its number, or NULL past the last. */
struct hk_heap *hk_heaps_at(uint32_t number);

/* Calls `visit` for each heap. */
void hk_heaps_each(void (*visit)(void *arg, struct hk_heap *heap), void *arg);

/* Resets the number of threads of all heaps. Called in a forked child under the THREADS lock. */
void hk_heaps_forget_threads(void);

#endif
