/* heap/purge.h - when memory goes back to the OS.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the looks that age what is free, driven by ticks of slow paths in a busy program and by
 * heap/helper in an idle one, and the trim that gives back everything now.
 * Owns: the time of the next look. Threads: any; one at a time does the work, under the PURGE lock.
 * Boundary: heap/thread, heap/heap, core/arena, core/large.
 */
#ifndef HK_HEAP_PURGE_H
#define HK_HEAP_PURGE_H

#include "../base/compiler.h"

/* What a busy thread does now and then, no lock held. Where the helper is there it is only told; else
 * free runs and kept mappings that are old enough go, if it is time to look: a few large calls. */
void hk_purge_tick(uint64_t now_ms);

/* The helper's look: the same, and resting inboxes and slabs too. True if a later look may give back
 * more. */
bool hk_purge_step(void);

/* Gives back everything that can be given back. Returns the bytes. */
size_t hk_purge_all(void);

/* After an allocation of `bytes` failed: gives back what can be given back, and says whether trying
 * again makes sense. */
bool hk_purge_for(size_t bytes);

void hk_purge_fork_prepare(void);
void hk_purge_fork_parent(void);
void hk_purge_fork_child(void);

#endif
