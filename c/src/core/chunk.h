/* core/chunk.h - a chunk of address space, and the state of its granules.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the descriptor of a chunk. Three bits record for each granule whether it is in use,
 * whether it may be backed by memory (committed), and whether it may be nonzero (written). Free
 * runs need no merging, because they are runs of clear bits.
 *
 * A chunk that is aligned to huge pages may request them, page by page. The kernel backs the whole
 * of a huge page at its first use, so its granules are committed together. When part of a page has
 * been given back, we stop requesting it, or the kernel would soon fill the hole again. We request
 * it again when all of it has been given back.
 *
 * Owns: the bits of its descriptor. Threads: any, under the ARENA lock of the chunk's arena, except
 * as the fields say. Boundary: core/usage, hk_os_set_huge.
 */
#ifndef HK_CORE_CHUNK_H
#define HK_CORE_CHUNK_H

#include "../base/atomic.h"
#include "../base/bits.h"
#include "../os/os.h"
#include "size_class.h"

#define HK_HUGE_BYTES ((size_t)2 << 20) /* a huge page of x86-64, and of aarch64 with 4 KiB pages */
#define HK_HUGE_GRANULES ((uint32_t)(HK_HUGE_BYTES >> HK_GRANULE_SHIFT))

struct hk_arena;

/* The kind of a chunk, and the side of the arena that it belongs to. A huge chunk consists of
 * aligned huge pages that may be requested, and is for dense use. The others have small pages, for
 * both uses or for sparse use only. A use takes first from the side with its own number, then from
 * the next one. */
enum hk_chunk_side { HK_CHUNK_HUGE, HK_CHUNK_SHARED, HK_CHUNK_SPARSE, HK_CHUNK_SIDES };

struct hk_chunk {
    uintptr_t base;            /* const */
    struct hk_arena *arena;    /* const */
    uint32_t granules;         /* const */
    uint32_t descriptor_bytes; /* const; metadata of this structure */
    uint32_t mapping;          /* const; as in core/extent.h */
    enum hk_chunk_side side;   /* const */
    uint32_t asks;             /* atomic, stored under ARENA; bit p: huge page p is requested */
    uint32_t longest;          /* lock:ARENA; granules of the longest free run */
    struct hk_chunk *next;     /* lock:ARENA; the bucket's list */
    struct hk_chunk *prev;     /* lock:ARENA */
    struct hk_chunk *older;    /* lock:ARENA; all chunks of the arena */
    uint64_t *used;            /* lock:ARENA; bit i: granule i is handed out (or being purged) */
    uint64_t *committed;       /* lock:ARENA; bit i: granule i may be backed by memory */
    uint64_t *written;         /* lock:ARENA; bit i: granule i may be nonzero */
    uint64_t *decayed;         /* lock:ARENA; bit i: granule i was already dirty at the last scan */
    uint64_t bits[];           /* the four bitmaps */
};

/* The maximum size of a chunk in granules. `asks` has a bit for each of its huge pages. */
#define HK_CHUNK_GRANULES_MAX (32 * HK_HUGE_GRANULES)

size_t hk_chunk_descriptor_bytes(uint32_t granules);

/* Initializes the descriptor of a free chunk at `base`. `written` means that its memory may be
 * nonzero. */
void hk_chunk_init(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, bool written);

HK_FAST uintptr_t hk_chunk_address(const struct hk_chunk *chunk, uint32_t granule) {
    return chunk->base + granule * HK_GRANULE_BYTES;
}

/* The run of `granules` granules that begins at address `base` of the chunk. */
HK_FAST struct hk_run hk_chunk_run(const struct hk_chunk *chunk, uintptr_t base,
                                   uint32_t granules) {
    return (struct hk_run){(uint32_t)((base - chunk->base) >> HK_GRANULE_SHIFT), granules};
}

/* Granules of the longest free run. */
uint32_t hk_chunk_longest(const struct hk_chunk *chunk);

/* The number of granules in the free run around `run`, including `run` itself. */
uint32_t hk_chunk_free_around(const struct hk_chunk *chunk, struct hk_run run);

/* Chooses where to take `granules` in a chunk that has them: in its shortest run that is long
 * enough, and there in the first part that is entirely committed, if any. */
struct hk_run hk_chunk_choose(const struct hk_chunk *chunk, uint32_t granules);

/* The first free run of `granules` with an aligned address. Its count is 0 if there is none. */
struct hk_run hk_chunk_choose_aligned(const struct hk_chunk *chunk, uint32_t granules,
                                      size_t align);

/* Committed granules of a run. */
uint32_t hk_chunk_committed(const struct hk_chunk *chunk, struct hk_run run);

/* A run, extended to the boundaries of the requested huge pages that it overlaps. */
struct hk_run hk_chunk_whole_pages(const struct hk_chunk *chunk, struct hk_run run);

/* ---- Huge pages ------------------------------------------------------------------------------ */

/* Whether memory should lie in huge pages, given that `bytes` of it are in use. */
bool hk_huge_is_wanted(uint64_t bytes);

/* The bytes of address space in chunks that are requested as huge pages. A statistic. */
uint64_t hk_chunk_huge_bytes(void);

/* The bits of one huge page in a bitmap of the chunk. */
HK_FAST uint32_t hk_page_bits(const uint64_t *words, uint32_t page) {
    return (uint32_t)(words[page / 2] >> (page % 2 * HK_HUGE_GRANULES));
}

HK_FAST bool hk_chunk_asks_at(const struct hk_chunk *chunk, uint32_t granule) {
    return (hk_peek(&chunk->asks) >> (granule / HK_HUGE_GRANULES)) & 1;
}

/* Stops requesting the huge pages that a run overlaps, or requests them again if nothing in them is
 * committed. Returns the pages that changed, possibly with pages in between, as a run of granules.
 * The caller then passes them to hk_chunk_advise, without the lock. */
struct hk_run hk_chunk_stop_asking(struct hk_chunk *chunk, struct hk_run run);
struct hk_run hk_chunk_ask_again(struct hk_chunk *chunk, struct hk_run run);
void hk_chunk_advise(const struct hk_chunk *chunk, struct hk_run pages, enum hk_os_huge huge);

/* Stops requesting huge pages for a chunk that is about to be unmapped, or if the process has
 * none. */
void hk_chunk_forget_huge(struct hk_chunk *chunk);

/* Whether the invariants of struct hk_chunk hold, except for granules of `purging`. */
bool hk_chunk_valid(const struct hk_chunk *chunk, struct hk_run purging);

#endif
