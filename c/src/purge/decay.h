/* purge/decay.h - scans that give memory back.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a scan decays free memory and gives back what stayed free for a purge delay, in small
 * steps. A trim gives back everything now.
 * Owns: the PURGE lock, the place of the scan. Threads: any, no lock held. One thread at a time
 * works, for at most 256 system calls. Then others get in between. Mistakes of the program that a
 * scan finds are reported after the lock is released.
 * Boundary: thread, heap/scan, transfer, core/arena, core/extent.
 */
#ifndef HK_PURGE_DECAY_H
#define HK_PURGE_DECAY_H

#include "../os/lock.h"

enum { HK_DECAY_STEP_CALLS = 128 }; /* the last slab of a step may take as many again */

/* Bytes that are free and may be resident: dirty granules and cached extents. */
uint64_t hk_decay_dirty_bytes(void);

/* A part of the scan. HK_DECAY_UNFINISHED: the scan is not at its end. HK_DECAY_WAITING: it is, and
 * a later scan may give back more. */
enum hk_decay_progress { HK_DECAY_DONE, HK_DECAY_WAITING, HK_DECAY_UNFINISHED };
enum hk_decay_progress hk_decay_step(void);

/* The same of at most `calls` system calls, unless another thread is at it. True at the end of the
 * scan. */
bool hk_decay_try_step(uint32_t calls);

/* Gives back everything that can be given back. Returns the bytes. */
size_t hk_decay_all(void);

/* The process is left with one thread, and maybe without a scavenger. More threads may start, or
 * none for a long time, so little is left for them. */
void hk_decay_leave_one(void);

/* For others that give memory back: hk_arena_purge and hk_extent_purge run under the PURGE lock. */
bool hk_decay_try_lock(void);
void hk_decay_unlock(void);

/* In a forked child, for a PURGE lock that a vanished thread held. */
void hk_decay_repair(struct hk_lock *lock);

#endif
