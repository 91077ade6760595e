/* heap/heap.h - the owners of slabs and of uncached free blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a lock and a list of slabs with free blocks for each class. The thread that empties a
 * slab releases it, so an idle heap does not hold memory back.
 * Owns: its arena and slabs. A heap is never destroyed. When its threads have exited, it is
 * available to new threads.
 * Threads: any. Takes one CLASS lock at a time, for a batch. No lock is held while memory comes
 * from or returns to the arena. Boundary: core/arena, core/slab, core/large, core/pagemap,
 * core/meta, core/nodes, hk_os_cpu, hk_os_purge.
 */
#ifndef HK_HEAP_HEAP_H
#define HK_HEAP_HEAP_H

#include "../core/arena.h"
#include "../core/error.h"
#include "../core/nodes.h"
#include "../core/slab.h"
#include "../os/lock.h"

#define HK_HEAPS_FOR_CPUS 256u
/* Each node may have one heap more, and the sampled blocks have one. */
#define HK_HEAPS_MAX (HK_HEAPS_FOR_CPUS + HK_NODES_MAX + 1)
#define HK_BATCH_MAX 160u /* blocks returned together: 11 bytes of stack each */

struct hk_heap_class {
    struct hk_lock lock;
    struct hk_span *first; /* lock:CLASS; slabs that are not exhausted, used from the front */
    struct hk_span *last;  /* lock:CLASS */
    struct hk_span *scan;  /* lock:CLASS; the slab that a scan visits next, or NULL at the end */
    uint32_t slabs;        /* atomic, stored under CLASS; all slabs, including exhausted ones */
    uint32_t listed;       /* lock:CLASS; slabs in the list */
    uint32_t empty;        /* lock:CLASS; empty slabs in the list */
    uint32_t uses;         /* atomic, stored under CLASS; incremented by each take and give */
    uint32_t uses_seen;    /* lock:PURGE; at the last scan */
    uint32_t uses_idle;    /* lock:PURGE; at the last scan that found nothing to give back */
    uint64_t
        blocks_allocated; /* lock:CLASS; with blocks_purging, the sum of bump - free over slabs */
    uint64_t blocks_purging; /* lock:CLASS; free, but taken while their pages are given back */
    uint64_t refills;        /* lock:CLASS; statistics, as in struct hak_class_stats */
    uint64_t flushes;        /* lock:CLASS */
} HK_CACHE_ALIGNED;

struct hk_heap {
    struct hk_heap_class classes[HK_CLASS_COUNT];
    struct hk_arena arena;
    uint32_t threads;        /* lock:THREADS; threads attached now */
    uint32_t number;         /* const; its place in the table of heaps */
    uint32_t cpu;            /* const; on which its first thread started, see hk_heap_node */
    bool sampled;            /* const; its slabs are those of sampled blocks */
    struct hk_span *purging; /* atomic, stored under CLASS; the slab that a purge works on */
    uint64_t purging_bits[HK_SLAB_WORDS_MAX]; /* lock:CLASS; the blocks taken from it */
};

/* Creates a zeroed heap. Returns NULL if out of memory. */
struct hk_heap *hk_heap_create(void);

/* The NUMA node of a heap. Its threads start on this node, and touch its memory first. */
static inline uint32_t hk_heap_node(const struct hk_heap *heap) { return hk_nodes_of(heap->cpu); }

/* Takes up to `count` blocks of a class into `to`, from existing slabs or from a new one. Returns
 * their number, which is 0 only if out of memory. */
uint32_t hk_heap_take(struct hk_heap *heap, size_t class, void **to, uint32_t count);

/* Takes one block. The result also says whether it is known to be zero. */
struct hk_block hk_heap_take_one(struct hk_heap *heap, size_t class);

/* Returns blocks of one class to their slabs in their owner heaps. Adds pointers that are not
 * allocated blocks of the class to *mistakes. */
void hk_heap_give(size_t class, void *const *blocks, uint32_t count, struct hk_mistakes *mistakes);

/* The same for blocks that no thread needed since the last scan, so the class does not count as
 * used. Under the PURGE lock. */
void hk_heap_give_idle(size_t class, void *const *blocks, uint32_t count,
                       struct hk_mistakes *mistakes);

/* Removes pointers that are not allocated blocks of the class from a batch, and adds them to
 * *mistakes. It takes no lock, so it may miss a block that another thread frees at the same time.
 * Returns the number of remaining blocks. */
uint32_t hk_heap_check_batch(size_t class, void **blocks, uint32_t count,
                             struct hk_mistakes *mistakes);

/* Moves the blocks of heaps on the caller's NUMA node to the front, and returns their number. The
 * others should return to their heaps at once. With one node, all blocks are local. */
uint32_t hk_heap_local_first(size_t class, void **blocks, uint32_t count);

/* Returns one block directly to its slab, so that a double free is always detected. `class` is the
 * class that the caller expects. */
void hk_heap_give_one(const char *function, size_t class, void *block);

/* Extends a block in place into the free granules after it. The block must be alone in its slab, as
 * the blocks of the largest classes are, and not sampled. It becomes a block of `new_class`, or a
 * large block of `size` bytes. If that is impossible, returns false and changes nothing. */
bool hk_heap_extend(void *block, size_t class, size_t new_class, size_t size);

/* Adopts a slab of a private heap, while other threads may free its blocks. The heap is that of the
 * slab's granules. Under the lock of the private heap. */
void hk_heap_adopt(struct hk_span *slab);

/* The state of the block at an address, read from its slab under the lock. HK_SLAB_DONE means that
 * it is allocated or cached by a thread or a transfer cache. */
enum hk_slab_result hk_heap_look(const void *block);

/* Reports a block as a bad pointer that was passed to `function`. */
void hk_heap_report(const char *function, const void *block, enum hk_slab_result result);

/* Reports a block of a class unless it is allocated or cached. It takes no lock, so it may miss a
 * block that another thread frees at the same time. */
bool hk_heap_check_fast(const char *function, const void *block);

/* For a forked child. The first rebuilds a class from the bits of its slabs if a vanished thread
 * held its lock. The second undoes a purge that a vanished thread had begun. */
void hk_heap_repair_class(struct hk_heap *heap, size_t class);
void hk_heap_repair_purge(void *unused, struct hk_heap *heap);

#endif
