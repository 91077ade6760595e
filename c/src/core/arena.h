/* core/arena.h - granules of one heap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: takes chunks (1, 1, 2, 4, 8 MiB by default) from the OS, or from kept extents if the
 * OS maps no more memory, and hands out runs of granules from the fullest chunk that has room. Free
 * committed granules are dirty. They are returned to the OS after two scans of hk_arena_purge in a
 * row found them free.
 *
 * Once much of an arena is committed (option huge_page_mb), further chunks request huge pages. A
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

/* The use of a run. With dense use, nearly every page will soon be touched, so the run may lie in
 * huge pages. With sparse use, many pages may stay untouched, so it lies in small ones. */
enum hk_granules_use { HK_GRANULES_DENSE, HK_GRANULES_SPARSE };

/* Which dirty granules to give back. DECAYED: those that the previous scan also found free. WHOLE:
 * all except in huge pages that are partly in use. FREE: all except in huge pages that are mostly
 * in use. ALL: all, and the address space of chunks that are entirely free. */
enum hk_purge { HK_PURGE_DECAYED, HK_PURGE_WHOLE, HK_PURGE_FREE, HK_PURGE_ALL };

struct hk_arena {
    struct hk_lock lock;     /* rank ARENA */
    struct hk_lock growth;   /* rank GROWTH; held while a chunk is mapped and added */
    uint32_t chunks_mapped;  /* lock:ARENA; number of chunks so far, for the next size */
    struct hk_chunk *chunks; /* lock:ARENA; all of them, newest first */
    uint64_t committed;      /* lock:ARENA; granules with their bit set, in all chunks */
    uint64_t dense;          /* lock:ARENA; granules ever taken for dense use */
    uint64_t dirty;          /* atomic, stored under ARENA; committed granules that are free */
    bool grew;               /* lock:ARENA; unwritten granules were taken since the last scan */
    /* The run that is marked used while its pages are given back. `purging` is set first and
     * cleared last, so that a forked child can free the run. */
    struct hk_chunk *purging;  /* lock:ARENA */
    struct hk_run purging_run; /* lock:ARENA */
    /* lock:PURGE; the position of a scan, which resumes there after its budget ran out */
    struct hk_arena_place {
        enum hk_purge which;
        bool grows;             /* the arena has grown since the previous scan */
        struct hk_chunk *chunk; /* NULL before the first one */
        uint32_t granule;       /* the next granule in the chunk */
        uint32_t page;          /* the huge page that `wanted` describes */
        uint32_t wanted;        /* bits of its granules to give back */
    } place;
    bool has_sparse; /* lock:GROWTH; it has mapped a chunk for sparse use besides huge pages */
    struct hk_arena_side {
        uint64_t filled;                            /* lock:ARENA; bit b: bucket b has a chunk */
        struct hk_chunk *buckets[HK_ARENA_BUCKETS]; /* lock:ARENA; by their longest free run */
    } sides[HK_CHUNK_SIDES];
};

/* A run of granules that was handed out. `chunk` is NULL if there is no memory. */
struct hk_granules {
    uintptr_t base;
    struct hk_chunk *chunk;
    bool zero; /* all bytes are zero */
};

/* The largest run that an arena serves. */
#define HK_ARENA_GRANULES_MAX 64u /* 4 MiB */

struct hk_granules hk_arena_take(struct hk_arena *arena, uint32_t granules,
                                 enum hk_granules_use use);

/* Like hk_arena_take, but the address is aligned to `align`, a power of two of whole granules. */
struct hk_granules hk_arena_take_aligned(struct hk_arena *arena, uint32_t granules, size_t align,
                                         enum hk_granules_use use);

void hk_arena_give(struct hk_chunk *chunk, uintptr_t base, uint32_t granules);

/* Takes the granules directly after a run, if they are free. */
bool hk_arena_extend(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, uint32_t more);

/* Stops requesting the huge pages that contain these granules. Called before pages of granules in
 * use are given back. Under the PURGE lock. */
void hk_arena_break_huge(struct hk_chunk *chunk, uintptr_t base, uint32_t granules);

/* If the process has disabled huge pages, stops preserving them. Called before a scan, under the
 * PURGE lock. */
void hk_arena_obey_huge_mode(struct hk_arena *arena);

/* Gives dirty granules back to the OS, within the budget. A scan that uses it up resumes at its
 * position in the next call with the same `which`. Returns the bytes given back. Under the PURGE
 * lock. */
size_t hk_arena_purge(struct hk_arena *arena, enum hk_purge which, struct hk_purge_budget *budget);

/* Recomputes everything from the bits of the chunks, after the ARENA lock was taken over from a
 * thread that stopped in the middle. Granules that the thread was about to take or give stay in
 * use. Under the lock, in a forked child. */
void hk_arena_repair(struct hk_arena *arena);
/* Frees the run that was being purged, if any, and repairs the arena, after the PURGE lock was
 * taken over. Takes the ARENA lock. */
void hk_arena_repair_purge(struct hk_arena *arena);

/* Bytes of free granules that are committed, in all arenas. */
uint64_t hk_arena_dirty_bytes(void);

/* Calls `visit` with the base of each granule in use, under the lock. `visit` returns the number of
 * granules to skip, at least 1. */
void hk_arena_visit(struct hk_arena *arena, uint32_t (*visit)(void *arg, uintptr_t base),
                    void *arg);

/* Whether the arena's invariants hold. Takes the lock. */
bool hk_arena_valid(struct hk_arena *arena);

/* ---- Shared by the files of the arena, under the ARENA lock ---------------------------------- */

/* Marks a run used or free and moves the chunk to its new bucket. */
void hk_arena_mark(struct hk_chunk *chunk, struct hk_run run, bool used);

/* Adds `more` dirty granules to the count and subtracts `less`. */
void hk_arena_count_dirty(struct hk_arena *arena, uint64_t more, uint64_t less);

/* Takes a chunk out of its bucket. */
void hk_arena_unlink(struct hk_chunk *chunk);

#endif
