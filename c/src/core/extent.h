/* core/extent.h - mapped address space without an owner.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the provider of address ranges for large mappings, and for chunks and metadata where
 * the OS maps nothing more. There are two kinds of extents. Cached extents are freed blocks with
 * their pages, within the option large_cache_mb and the purge delay. Refused extents are ranges
 * that the OS did not unmap, as at vm.max_map_count, where each hole needs a mapping, or that were
 * not unmapped so that holes do not use up more than half of that. Their pages have gone back,
 * their number has no limit, they are reused like the others, and each purge tries to unmap them
 * again. Neighbours of one kind are merged.
 *
 * The node of an extent lives in the metadata of the freed block itself, so that a free never needs
 * memory. All changes of the lists are single stores: if a thread stops anywhere in the middle, as
 * in a forked child, an extent is lost at most, never listed twice.
 * Owns: both lists. Threads: any; takes the EXTENT lock, never while it maps, purges or unmaps.
 * Boundary: hak_os_map_boundary, hk_os_unmap, hk_os_purge, core/meta, core/usage, core/dirty.
 */
#ifndef HK_CORE_EXTENT_H
#define HK_CORE_EXTENT_H

#include "../base/compiler.h"

enum {
    HK_EXTENT_MAPPINGS = 0,    /* the number of a range that is of several mappings */
    HK_EXTENT_NODE_BYTES = 64, /* metadata that suffices for a node */
};

/* Whole granules of address space. */
struct hk_range {
    uintptr_t base; /* 0: none */
    size_t bytes;
    uint32_t mapping; /* number of its mapping; HK_EXTENT_MAPPINGS: of several */
    bool dirty;       /* it may hold anything; else all bytes are zero */
};

/* A list of extents, oldest first. */
struct hk_extent_list {
    struct hk_extent *first; /* lock:EXTENT */
    uint64_t bytes;          /* atomic, stored under EXTENT; the sum, see hk_extent_repair */
};
enum { HK_EXTENTS_CACHED, HK_EXTENTS_REFUSED, HK_EXTENTS_KINDS };
extern struct hk_extent_list hk_extents[HK_EXTENTS_KINDS];

/* What a purge may cost. Both are counted down, and it stops when one is used up. */
struct hk_purge_budget {
    uint32_t calls; /* system calls */
    size_t bytes;   /* given back */
};
static inline void hk_purge_spend(struct hk_purge_budget *budget, uint32_t calls, size_t bytes) {
    budget->calls -= calls < budget->calls ? calls : budget->calls;
    budget->bytes -= bytes < budget->bytes ? bytes : budget->bytes;
}
static inline bool hk_purge_is_spent(const struct hk_purge_budget *budget) {
    return budget->calls == 0 || budget->bytes == 0;
}
#define HK_PURGE_UNLIMITED ((struct hk_purge_budget){UINT32_MAX, SIZE_MAX})

/* A range of `bytes`, kept or new, counted in core/usage. Base 0 without memory and beyond the
 * limit. */
struct hk_range hk_extent_take(size_t bytes, size_t align);

/* A new mapping for a large block; 0 without memory. Where much is in use, it asks for huge pages.
 * Not counted. */
uintptr_t hk_extent_map(size_t bytes, size_t align);

/* The range of `bytes` that begins at `base`, if it is kept, counted in core/usage. */
struct hk_range hk_extent_take_at(uintptr_t base, size_t bytes);

/* A kept range of `least` to `most` bytes, as long as possible. It is counted in core/usage only if
 * it is dirty. */
struct hk_range hk_extent_take_kept(size_t least, size_t most);

/* Whether hk_extent_take would find a cached range. */
bool hk_extent_has(size_t bytes, size_t align);

/* The number of a new mapping. */
uint32_t hk_extent_number(void);

/* Caches the range of a freed block, evicting older ones if necessary. If it exceeds the cache
 * limit, only its first `limit` bytes are cached. `node` is metadata of `node_bytes`, at least
 * HK_EXTENT_NODE_BYTES, which now belongs to the extent. The range is counted in core/usage. */
void hk_extent_give(struct hk_range range, void *node, size_t node_bytes);

/* As hk_extent_give, but unmaps the range. Where the OS refuses, the range is kept without its
 * pages. */
void hk_extent_unmap(struct hk_range range, void *node, size_t node_bytes);

/* Keeps a range that the OS has refused to unmap. */
void hk_extent_keep(struct hk_range range, void *node, size_t node_bytes);

/* As hk_extent_unmap, without metadata at hand: false, nothing changed, if that would be needed and
 * there is none. */
bool hk_extent_drop(struct hk_range range);

/* Unmaps cached extents that were freed before `before_ms`, and tries again to unmap refused ones.
 * Returns the bytes given back. */
size_t hk_extent_purge(uint64_t before_ms, struct hk_purge_budget *budget);

/* Bytes of cached extents, and of refused ones. Statistics. */
uint64_t hk_extent_cached_bytes(void);
uint64_t hk_extent_refused_bytes(void);

/* After the EXTENT lock was taken over from a thread that stopped in the middle: counts anew. Under
 * the lock, in a forked child. */
void hk_extent_repair(void);

/* The counts match the lists, and no two extents overlap. Takes the lock. */
bool hk_extent_valid(void);

#endif
