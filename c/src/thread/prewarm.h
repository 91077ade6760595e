/* thread/prewarm.h - filling a thread's cache in advance.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a function that fills bins to the counts of the size-class table. It does not touch
 * the blocks, so the cost is address space and a few pointers, but no pages.
 * Owns: nothing. Threads: the calling thread's cache. Boundary: thread/bins.
 */
#ifndef HK_THREAD_PREWARM_H
#define HK_THREAD_PREWARM_H

#include <hakmem.h>

struct hk_thread;

/* Returns the bytes of the blocks added. */
size_t hk_prewarm_thread(struct hk_thread *thread, enum hak_prewarm_set set);

#endif
