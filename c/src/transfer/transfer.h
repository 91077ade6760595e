/* transfer/transfer.h - free blocks in transit between threads.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a transfer cache for each CPU. It holds an array of block pointers for each class,
 * into which thread caches flush batches, and from which the refills of other threads take them.
 * No slab is visited on the way. Blocks stay near the CPU that used them last, and threads on
 * different CPUs share nothing here.
 *
 * The number of the CPU is a hint. A thread that moves in between uses the transfer cache of the
 * CPU that it left. Locks are only tried, because the holder may have been preempted. A thread that
 * finds one taken goes to the next cache, and then to the heap. (The idea of caches between threads
 * and the central lists is that of tcmalloc's transfer cache.)
 *
 * CPUs of different NUMA nodes share no cache, and none takes from a cache of another node. Callers
 * put only blocks of heaps on their own node.
 *
 * Arrays grow on demand within a budget of bytes for each CPU. Scans take out blocks that no thread
 * needed since the previous scan, and return unused arrays to the budget.
 *
 * Owns: the transfer caches and their arrays. Blocks are never read or written.
 * Threads: any, no lock held but PURGE. Takes one TRANSFER lock, and META below it.
 * Boundary: hk_os_cpu, core/meta, core/nodes, core/options.
 */
#ifndef HK_TRANSFER_TRANSFER_H
#define HK_TRANSFER_TRANSFER_H

#include "../core/size_class.h"
#include "../os/lock.h"

#define HK_TRANSFER_CPUS_MAX 256u

/* Sets the maximum number of transfer caches of a NUMA node, at the start of the process. If there
 * are more CPUs, those of one node share caches. */
void hk_transfer_start(uint32_t cpus);

/* Takes up to `count` of the newest blocks of a class into `to`, from the cache of this CPU or of
 * one that has many. Returns their number, which is 0 if there are none or if other threads hold
 * the locks. */
uint32_t hk_transfer_take(size_t class, void **to, uint32_t count);

/* Puts blocks of a class into a transfer cache. They must be allocated blocks of their slabs.
 * `freed` is the block that the program is freeing, or NULL. It is first compared with the two
 * newest blocks. If it is one of them, no block is put. */
struct hk_transfer_put {
    uint32_t count;      /* the blocks that fit */
    bool freed_is_there; /* a double free */
};
struct hk_transfer_put hk_transfer_put(size_t class, void *const *blocks, uint32_t count,
                                       const void *freed);

/* The blocks of a class in all transfer caches, and the numbers of takes and puts so far. */
struct hk_transfer_counts {
    uint64_t blocks;
    uint64_t takes; /* refills */
    uint64_t puts;  /* flushes */
};
void hk_transfer_count(size_t class, struct hk_transfer_counts *sum);

/* Bytes of the blocks in all transfer caches. */
size_t hk_transfer_bytes(void);

/* Calls `visit` with the blocks that each transfer cache holds of a class, under its lock. */
void hk_transfer_each(size_t class, void (*visit)(void *arg, void *const *blocks, uint32_t count),
                      void *arg);

/* Takes up to `count` of the oldest blocks. The choice is between those that no thread needed since
 * the last scan (IDLE), the older half, and all. A result below `count` ends the scan of this class
 * in this place. */
enum hk_transfer_which { HK_TRANSFER_IDLE, HK_TRANSFER_HALF, HK_TRANSFER_ALL };
uint32_t hk_transfer_take_oldest(uint32_t place, size_t class, enum hk_transfer_which which,
                                 void **to, uint32_t count);

/* Repairs, in a forked child, a class with a TRANSFER lock that a vanished thread held. */
void hk_transfer_repair(struct hk_lock *lock);

/* The number of places for transfer caches, most of which may be empty. The places for
 * hk_transfer_take_oldest are below it. */
uint32_t hk_transfer_places(void);

#endif
