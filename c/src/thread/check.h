/* thread/check.h - whether a block is allocated, for checked mode.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a search for a block in its slab, the bin of the thread and the transfer caches.
 * Owns: nothing. Threads: any, no lock held. Boundary: heap/heap, transfer, thread/bins.
 */
#ifndef HK_THREAD_CHECK_H
#define HK_THREAD_CHECK_H

#include "../base/compiler.h"

/* Whether `block` is the start of a block that is not free: neither in its slab, nor in a transfer
 * cache, nor in the bin of the calling thread. Otherwise reports it as a bad pointer that was
 * passed to `function`. */
bool hk_check(const char *function, const void *block);

#endif
