/* thread/slow.h - the calls that a bin cannot serve.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: refills and flushes of bins, single blocks, large blocks. A refill tries the transfer
 * cache of the CPU, then the heap. Each call does its share of the rare work: budget, clock, scans,
 * requested trims.
 * Owns: nothing. Threads: the calling thread's cache. No lock held.
 * Boundary: thread/bins, thread/budget, transfer, heap/heap, core/large; upwards by thread/hooks.
 */
#ifndef HK_THREAD_SLOW_H
#define HK_THREAD_SLOW_H

#include "tcache.h"

/* Counts a slow call that a layer above serves, and does its share of the rare work. */
void hk_slow_tick(struct hk_thread *thread);

/* Refills the empty bin of a class and takes one block. Returns NULL if out of memory. */
void *hk_slow_refill(size_t class);

/* Like hk_slow_refill, but takes a single block, which may be known to be zero. */
struct hk_block hk_slow_take_one(size_t class);

/* Frees a block of a class if its bin is full or the block must be checked. Reports a block that is
 * already free as a bad pointer passed to `function`, unless another thread caches it. */
void hk_slow_flush(const char *function, size_t class, void *block);

/* Takes a large block that the thread has cached, or a new one. Its start is NULL if out of
 * memory. */
struct hk_block hk_slow_take_large(size_t size, size_t align);

/* Frees the large block of a span. The thread may cache it. */
void hk_slow_free_large(struct hk_span *span);

#endif
