/* core/chunk.h - a chunk of address space, and what is known of its granules.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the descriptor of a chunk. Three bits say of each granule whether it is in use,
 * whether memory may stand behind it (committed), and whether it may hold something else than zero
 * (written). Free runs need no merging: they are runs of clear bits.
 *
 * A chunk that is aligned to huge pages may ask for them, page by page. The kernel puts memory
 * behind all of a huge page at its first use, so its granules are committed together. A page of
 * which a part went back no longer asks, or the kernel would soon fill the hole again. It asks
 * again when all of it has gone back.
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

/* The use of a chunk. A huge one consists of aligned huge pages that may ask, and is for dense use.
 * The others have small pages, for both uses or for sparse use only. A use takes from the side of
 * its own number first, and then from the next one. */
enum hk_chunk_side { HK_CHUNK_HUGE, HK_CHUNK_SHARED, HK_CHUNK_SPARSE, HK_CHUNK_SIDES };

struct hk_chunk {
    uintptr_t base;            /* const */
    struct hk_arena *arena;    /* const */
    uint32_t granules;         /* const */
    uint32_t descriptor_bytes; /* const; metadata of this structure */
    uint32_t mapping;          /* const; as in core/extent.h */
    enum hk_chunk_side side;   /* const */
    uint32_t asks;             /* atomic, stored under ARENA; bit p: huge page p is asked for */
    uint32_t longest;          /* lock:ARENA; granules of the longest free run */
    struct hk_chunk *next;     /* lock:ARENA; the bucket's list */
    struct hk_chunk *prev;     /* lock:ARENA */
    struct hk_chunk *older;    /* lock:ARENA; all chunks of the arena */
    uint64_t *used;            /* lock:ARENA; bit i: granule i is handed out (or being purged) */
    uint64_t *committed;       /* lock:ARENA; bit i: memory may stand behind granule i */
    uint64_t *written;         /* lock:ARENA; bit i: granule i may hold something else than zero */
    uint64_t *decayed;         /* lock:ARENA; bit i: granule i was dirty at the last scan already */
    uint64_t bits[];           /* the four bitmaps */
};

/* Most granules of a chunk: `asks` has a bit for each of its huge pages. */
#define HK_CHUNK_GRANULES_MAX (32 * HK_HUGE_GRANULES)

size_t hk_chunk_descriptor_bytes(uint32_t granules);

/* Fills the descriptor of a free chunk in `base`; `written`: it may hold anything. */
void hk_chunk_init(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, bool written);

HK_FAST uintptr_t hk_chunk_address(const struct hk_chunk *chunk, uint32_t granule) {
    return chunk->base + granule * HK_GRANULE_BYTES;
}

/* The place of granules that begin at an address in the chunk. */
HK_FAST struct hk_run hk_chunk_run(const struct hk_chunk *chunk, uintptr_t base,
                                   uint32_t granules) {
    return (struct hk_run){(uint32_t)((base - chunk->base) >> HK_GRANULE_SHIFT), granules};
}

/* Granules of the longest free run. */
uint32_t hk_chunk_longest(const struct hk_chunk *chunk);

/* The free granules around a free run, itself included. */
uint32_t hk_chunk_free_around(const struct hk_chunk *chunk, struct hk_run run);

/* Where to take `granules` from in a chunk that has them: from its shortest run that is long
 * enough, and there from the first place that is committed throughout. */
struct hk_run hk_chunk_choose(const struct hk_chunk *chunk, uint32_t granules);

/* The first free run of `granules` whose address is aligned; count 0 if there is none. */
struct hk_run hk_chunk_choose_aligned(const struct hk_chunk *chunk, uint32_t granules,
                                      size_t align);

/* Committed granules of a run. */
uint32_t hk_chunk_committed(const struct hk_chunk *chunk, struct hk_run run);

/* A run with the rest of those huge pages that it lies in and that are asked for. */
struct hk_run hk_chunk_whole_pages(const struct hk_chunk *chunk, struct hk_run run);

/* ---- Huge pages ------------------------------------------------------------------------------ */

/* Whether memory of `bytes`, all in use, should lie in huge pages. */
bool hk_huge_is_wanted(uint64_t bytes);

/* Address space of chunks that asks for huge pages. A statistic. */
uint64_t hk_chunk_huge_bytes(void);

/* The bits of one huge page of a bitmap of the chunk. */
HK_FAST uint32_t hk_page_bits(const uint64_t *words, uint32_t page) {
    return (uint32_t)(words[page / 2] >> (page % 2 * HK_HUGE_GRANULES));
}

HK_FAST bool hk_chunk_asks_at(const struct hk_chunk *chunk, uint32_t granule) {
    return (hk_peek(&chunk->asks) >> (granule / HK_HUGE_GRANULES)) & 1;
}

/* The huge pages that a run lies in stop asking; or they ask again if nothing of them is committed.
 * Returns those that changed, and maybe pages between, as a run of granules. The caller then tells
 * the kernel, without the lock. */
struct hk_run hk_chunk_stop_asking(struct hk_chunk *chunk, struct hk_run run);
struct hk_run hk_chunk_ask_again(struct hk_chunk *chunk, struct hk_run run);
void hk_chunk_advise(const struct hk_chunk *chunk, struct hk_run pages, enum hk_os_huge huge);

/* The chunk does not ask any more, because it ends or the process has no huge pages. */
void hk_chunk_forget_huge(struct hk_chunk *chunk);

/* The formulas of struct hk_chunk hold, but for granules of `purging`. */
bool hk_chunk_valid(const struct hk_chunk *chunk, struct hk_run purging);

#endif
