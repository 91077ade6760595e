/* purge/decay.h - scans that give memory back.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a scan decays free memory and gives back memory that stayed free for a purge delay,
 * in small steps. A trim gives back all free memory at once.
 * Owns: the PURGE lock, the position of the scan. Threads: any, no lock held. One thread at a time
 * works, for at most 256 system calls. Then other threads get their turn. Mistakes of the program
 * that a scan finds are reported after the lock is released.
 * Boundary: thread, heap/scan, transfer, core/arena, core/extent.
 */
#ifndef HK_PURGE_DECAY_H
#define HK_PURGE_DECAY_H

#include "../os/lock.h"

enum { HK_DECAY_STEP_CALLS = 128 }; /* the last slab of a step may need as many again */

/* Bytes that are free and may be resident: dirty granules and cached extents. */
uint64_t hk_decay_dirty_bytes(void);

/* Does part of the scan. HK_DECAY_UNFINISHED means that the scan has not ended. HK_DECAY_WAITING
 * means that it has ended and that a later scan may give back more. */
enum hk_decay_progress { HK_DECAY_DONE, HK_DECAY_WAITING, HK_DECAY_UNFINISHED };
enum hk_decay_progress hk_decay_step(void);

/* The same with at most `calls` system calls, unless another thread scans. Returns true at the end
 * of the scan. */
bool hk_decay_try_step(uint32_t calls);

/* Gives back all memory that can be given back. Returns the number of bytes. */
size_t hk_decay_all(void);

/* Shrinks the shared caches when only one thread is left in the process, possibly without a
 * scavenger. It leaves little in them, because no other thread may start for a long time. */
void hk_decay_leave_one(void);

/* For other modules that give memory back, because hk_arena_purge and hk_extent_purge run under the
 * PURGE lock. */
bool hk_decay_try_lock(void);
void hk_decay_unlock(void);

/* Repairs, in a forked child, a PURGE lock that a vanished thread held. */
void hk_decay_repair(struct hk_lock *lock);

#endif
