/* core/arena.h - granules of one heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: takes chunks (1, 2, 4, 8 MiB by default) from the OS, or from kept extents where the
 * OS maps nothing more, hands out runs of granules, and knows by two bits a granule which are in
 * use and which were touched since they last read as zero. Free runs need no merging: they are runs
 * of clear bits. Free and touched granules are dirty. They go back to the OS when two scans of
 * hk_arena_purge in a row found them free. Once much is in use (option huge_page_mb), further
 * chunks ask for huge pages. A huge page that is mostly in use is not broken up by purging. A chunk
 * that does give memory back is excluded from huge pages, or the kernel would soon fill the holes
 * again.
 * Owns: chunks and their descriptors. Threads: any. Takes the ARENA lock, never while it maps or
 * purges, and the GROWTH lock while it maps a chunk. Boundary: hak_os_map_boundary, hk_os_unmap,
 * hk_os_purge, core/extent, core/meta.
 */
#ifndef HK_CORE_ARENA_H
#define HK_CORE_ARENA_H

#include "../base/bits.h"
#include "../os/lock.h"
#include "extent.h"
#include "size_class.h"

enum { HK_ARENA_BUCKETS = 36 }; /* see arena_bucket */

/* What a run is for. Blocks of at most a page, of which nearly every page will be touched, may lie
 * in chunks with huge pages; larger ones, of which a program may touch little, never do. */
enum hk_granules_use { HK_GRANULES_DENSE, HK_GRANULES_SPARSE, HK_GRANULES_USES };

/* Which dirty granules to give back: those that the last scan found free as well, all, or all and
 * the address space of chunks that are entirely free. */
enum hk_purge { HK_PURGE_DECAYED, HK_PURGE_FREE, HK_PURGE_ALL };

struct hk_chunk {
    uintptr_t base;            /* const */
    struct hk_arena *arena;    /* const */
    uint32_t granules;         /* const */
    enum hk_granules_use side; /* const; which of the arena's sides it is on */
    uint32_t descriptor_bytes; /* const; metadata of this structure */
    uint32_t mapping;          /* const; as in core/extent.h */
    bool huge;                 /* atomic, stored under PURGE; it asks for huge pages */
    bool small_pages;          /* lock:PURGE; it is excluded from huge pages, where there are any */
    bool sweep;                /* lock:PURGE; untouched granules may have pages of huge ones */
    uint32_t longest;          /* lock:ARENA; granules of the longest free run */
    struct hk_chunk *next;     /* lock:ARENA; the bucket's list */
    struct hk_chunk *prev;     /* lock:ARENA */
    struct hk_chunk *older;    /* lock:ARENA; all chunks of the arena */
    uint64_t *used;            /* lock:ARENA; bit i: granule i is handed out (or being purged) */
    uint64_t *touched;         /* lock:ARENA; bit i: granule i may hold something else than zero */
    uint64_t *decayed;         /* lock:ARENA; bit i: granule i was dirty at the last scan already */
    uint64_t bits[];           /* the three bitmaps */
};

struct hk_arena {
    struct hk_lock lock;     /* rank ARENA */
    struct hk_lock growth;   /* rank GROWTH; held while a chunk is mapped and added */
    uint32_t chunks_mapped;  /* lock:ARENA; how often it grew: the next size */
    struct hk_chunk *chunks; /* lock:ARENA; all of them, newest first */
    uint64_t touched;        /* lock:ARENA; granules with their bit set, in all chunks */
    uint64_t dirty;          /* atomic, stored under ARENA; of these, free ones */
    /* The run that is marked used while its pages are given back. `purging` is set first and
     * cleared last, so that a forked child can free the run. */
    struct hk_chunk *purging;  /* lock:ARENA */
    struct hk_run purging_run; /* lock:ARENA */
    struct hk_chunk *purge_at; /* lock:PURGE; where a scan goes on that ran out of its budget */
    uint32_t purge_from;       /* lock:PURGE; the granule in it */
    enum hk_purge purge_which; /* lock:PURGE; the scan that it was */
    struct hk_arena_side {
        uint64_t filled;                            /* lock:ARENA; bit b: bucket b has a chunk */
        struct hk_chunk *buckets[HK_ARENA_BUCKETS]; /* lock:ARENA; by their longest free run */
    } sides[HK_GRANULES_USES]; /* chunks for dense use only, chunks for all uses */
};

/* A run of granules as handed out. `chunk` NULL: there is no memory. */
struct hk_granules {
    uintptr_t base;
    struct hk_chunk *chunk;
    bool zero; /* all bytes are zero */
};

/* Address space of chunks that asked for huge pages, in all arenas. A statistic. */
uint64_t hk_arena_huge_bytes(void);

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

/* To be called before pages of a chunk are given back. Under the PURGE lock. */
void hk_arena_stop_huge(struct hk_chunk *chunk);

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

/* Bytes of free granules that were touched, in all arenas. */
uint64_t hk_arena_dirty_bytes(void);

/* Calls `visit` for the base of each granule in use, under the lock; skips what it returns
 * (granules, at least 1). */
void hk_arena_visit(struct hk_arena *arena, uint32_t (*visit)(void *arg, uintptr_t base),
                    void *arg);

/* The arena's formulas hold. Takes the lock. */
bool hk_arena_valid(struct hk_arena *arena);

#endif
