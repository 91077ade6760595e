/* thread/slow.h - the calls that a bin cannot serve.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: refills and flushes of bins, single blocks, large blocks. A refill asks the transfer
 * cache of the CPU, then the heap. Each call does its share of the rare work: budget, clock, scans,
 * trims that were asked for.
 * Owns: nothing. Threads: the calling thread's cache. No lock held.
 * Boundary: thread/bins, thread/budget, transfer, heap/heap, core/large; upwards by thread/hooks.
 */
#ifndef HK_THREAD_SLOW_H
#define HK_THREAD_SLOW_H

#include "tcache.h"

/* One block of a class whose bin is empty; NULL without memory. */
void *hk_slow_refill(size_t class);

/* As hk_slow_refill, but takes a single block, which may be known to be zero. */
struct hk_block hk_slow_take_one(size_t class);

/* Frees a block of a class whose bin is full, or that must be checked: a block that is free already
 * is reported, in the name of `function`, unless another thread caches it. */
void hk_slow_flush(const char *function, size_t class, void *block);

/* A large block: one that the thread has cached, else a new one. start NULL without memory. */
struct hk_block hk_slow_take_large(size_t size, size_t align);

/* Frees the large block of a span: the thread may cache it. */
void hk_slow_free_large(struct hk_span *span);

#endif
