/* core/arena.h - granules of one heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: takes chunks (1, 1, 2, 4, 8 MiB by default) from the OS, or from kept extents where
 * the OS maps nothing more, and hands out runs of granules of the fullest chunk that has room. Free
 * committed granules are dirty. They go back to the OS when two scans of hk_arena_purge in a row
 * found them free.
 *
 * Once much of an arena is committed (option huge_page_mb), further chunks ask for huge pages. A
 * huge page that is mostly in use is not broken up by a scan.
 *
 * Owns: chunks and their descriptors. Threads: any. Takes the ARENA lock, never while it maps or
 * purges, and the GROWTH lock while it maps a chunk. Boundary: hak_os_map_boundary, hk_os_unmap,
 * hk_os_purge, core/chunk, core/extent, core/meta.
 */
#ifndef HK_CORE_ARENA_H
#define HK_CORE_ARENA_H

#include "../os/lock.h"
#include "chunk.h"
#include "extent.h"

enum { HK_ARENA_BUCKETS = 36 }; /* see arena_bucket */

/* The use of a run. In dense use, nearly every page will soon be used, so the run may lie in huge
 * pages. In sparse use, maybe not, so it lies in small ones. */
enum hk_granules_use { HK_GRANULES_DENSE, HK_GRANULES_SPARSE };

/* Which dirty granules to give back: those that the last scan found free as well; all but those in
 * a huge page that is partly in use, or that is mostly in use; all, and the address space of chunks
 * that are entirely free. */
enum hk_purge { HK_PURGE_DECAYED, HK_PURGE_WHOLE, HK_PURGE_FREE, HK_PURGE_ALL };

struct hk_arena {
    struct hk_lock lock;     /* rank ARENA */
    struct hk_lock growth;   /* rank GROWTH; held while a chunk is mapped and added */
    uint32_t chunks_mapped;  /* lock:ARENA; how often it grew: the next size */
    struct hk_chunk *chunks; /* lock:ARENA; all of them, newest first */
    uint64_t committed;      /* lock:ARENA; granules with their bit set, in all chunks */
    uint64_t dense;          /* lock:ARENA; granules taken for dense use, ever */
    uint64_t dirty;          /* atomic, stored under ARENA; of these, free ones */
    bool grew;               /* lock:ARENA; unwritten granules were taken since the last scan */
    /* The run that is marked used while its pages are given back. `purging` is set first and
     * cleared last, so that a forked child can free the run. */
    struct hk_chunk *purging;  /* lock:ARENA */
    struct hk_run purging_run; /* lock:ARENA */
    /* lock:PURGE; the place of a scan, which goes on there after it ran out of its budget */
    struct hk_arena_place {
        enum hk_purge which;
        bool grows;             /* the arena has grown since the scan before */
        struct hk_chunk *chunk; /* NULL: before the first one */
        uint32_t granule;       /* in the chunk, the next one */
        uint32_t page;          /* in the chunk, the one that `wanted` is of */
        uint32_t wanted;        /* bits: granules of that page that are to go back */
    } place;
    bool has_sparse; /* lock:GROWTH; it has mapped a chunk for sparse use beside huge pages */
    struct hk_arena_side {
        uint64_t filled;                            /* lock:ARENA; bit b: bucket b has a chunk */
        struct hk_chunk *buckets[HK_ARENA_BUCKETS]; /* lock:ARENA; by their longest free run */
    } sides[HK_CHUNK_SIDES];
};

/* A run of granules as handed out. `chunk` NULL: there is no memory. */
struct hk_granules {
    uintptr_t base;
    struct hk_chunk *chunk;
    bool zero; /* all bytes are zero */
};

/* The largest run that an arena serves. */
#define HK_ARENA_GRANULES_MAX 64u /* 4 MiB */

struct hk_granules hk_arena_take(struct hk_arena *arena, uint32_t granules,
                                 enum hk_granules_use use);

/* As hk_arena_take, from an address aligned to `align` on, a power of two of whole granules. */
struct hk_granules hk_arena_take_aligned(struct hk_arena *arena, uint32_t granules, size_t align,
                                         enum hk_granules_use use);

void hk_arena_give(struct hk_chunk *chunk, uintptr_t base, uint32_t granules);

/* Takes the granules directly behind a run, if they are free. */
bool hk_arena_extend(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, uint32_t more);

/* To be called before pages of granules in use are given back: the huge pages that they lie in stop
 * asking. Under the PURGE lock. */
void hk_arena_break_huge(struct hk_chunk *chunk, uintptr_t base, uint32_t granules);

/* Where the process has disabled huge pages, nothing is kept for their sake any more. Before a
 * scan, under the PURGE lock. */
void hk_arena_obey_huge_mode(struct hk_arena *arena);

/* Gives dirty granules back to the OS, within the budget. A scan that ran out of it goes on at its
 * place in the next call with the same `which`. Returns the bytes given back. Under the PURGE lock.
 */
size_t hk_arena_purge(struct hk_arena *arena, enum hk_purge which, struct hk_purge_budget *budget);

/* After the ARENA lock was taken over from a thread that stopped in the middle: derives everything
 * anew from the bits of the chunks. Granules that the thread was about to take or give stay in use.
 * Under the lock, in a forked child. */
void hk_arena_repair(struct hk_arena *arena);
/* After the PURGE lock was taken over: also frees the run that was being purged. Takes the lock. */
void hk_arena_repair_purge(struct hk_arena *arena);

/* Bytes of free granules that are committed, in all arenas. */
uint64_t hk_arena_dirty_bytes(void);

/* Calls `visit` for the base of each granule in use, under the lock; skips what it returns
 * (granules, at least 1). */
void hk_arena_visit(struct hk_arena *arena, uint32_t (*visit)(void *arg, uintptr_t base),
                    void *arg);

/* The arena's formulas hold. Takes the lock. */
bool hk_arena_valid(struct hk_arena *arena);

/* ---- Shared by the files of the arena, under the ARENA lock ---------------------------------- */

/* Marks a run used or free and moves the chunk to its new bucket. */
void hk_arena_mark(struct hk_chunk *chunk, struct hk_run run, bool used);

/* Counts dirty granules that came and that went. */
void hk_arena_count_dirty(struct hk_arena *arena, uint64_t more, uint64_t less);

/* Takes a chunk out of its bucket. */
void hk_arena_unlink(struct hk_chunk *chunk);

#endif
