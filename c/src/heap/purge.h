/* heap/purge.h - when memory goes back to the OS.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: three ways in which free memory goes back. A scan decays free memory and gives back what
 * stayed free for a purge delay: in small steps, taken by the scavenger or, where that is absent, by
 * slow calls. A balance keeps the free memory of a program without scavenger within a limit, at the end
 * of the frees that exceed it. A trim gives back everything now.
 * Owns: the place of the scan, the limit of the balance. Threads: any, no lock held. One thread at a
 * time works, under the PURGE lock, for at most 256 system calls; then others get in
 * between. Mistakes of the program that it finds are reported after the lock is released.
 * Boundary: heap/thread, heap/heap, core/arena, core/large.
 */
#ifndef HK_HEAP_PURGE_H
#define HK_HEAP_PURGE_H

#include "../base/compiler.h"

enum { HK_PURGE_STEP_CALLS = 128 }; /* the last slab of a step may take as many again */

/* Bytes that are free and may be resident: dirty granules and cached extents. */
uint64_t hk_purge_dirty_bytes(void);

/* From slow calls, now and then: a part of the scan, if one is due and no scavenger does it. */
void hk_purge_tick(uint64_t now_ms);

/* A part of the scan. HK_PURGE_UNFINISHED: the scan is not at its end. HK_PURGE_WAITING: it is, and
 * a later scan may give back more. */
enum hk_purge_progress { HK_PURGE_DONE, HK_PURGE_WAITING, HK_PURGE_UNFINISHED };
enum hk_purge_progress hk_purge_step(void);

/* At the end of a free or of a shrinking reallocation that may have made memory dirty: gives back
 * the excess over the limit, at a bounded cost, unless the scavenger will do it. True if that was
 * anything. */
bool hk_purge_balance(void);

/* Gives back everything that can be given back. Returns the bytes. */
size_t hk_purge_all(void);

/* After an allocation of `bytes` failed: gives back everything if that was not tried in vain just
 * now, and says whether trying again makes sense. */
bool hk_purge_for(size_t bytes);
/* The second attempt succeeded. */
void hk_purge_helped(void);

#endif
