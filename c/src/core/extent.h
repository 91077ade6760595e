/* core/extent.h - mapped address space without an owner.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the provider of address ranges for large mappings, and for chunks and metadata if the
 * OS maps no more memory. There are two kinds of extents. Cached extents are freed blocks that
 * still have their pages, within the limits of the option large_cache_mb and the purge delay.
 * Refused extents are ranges that are not unmapped. Each hole needs a mapping, so the OS may refuse
 * at vm.max_map_count, and we do not let holes use more than half of that. The pages of refused
 * extents have been given back, and their number is not limited. They are reused like cached
 * extents, and each purge tries to unmap them again. Neighbours of the same kind are merged.
 *
 * The node of an extent lives in the metadata of the freed block itself, so that a free never needs
 * memory. All changes of the lists are single stores. If a thread stops anywhere in between, as in
 * a forked child, at most one extent is lost, and none is listed twice.
 * Owns: both lists. Threads: any. Takes the EXTENT lock, never while it maps, purges or unmaps.
 * Boundary: hak_os_map_boundary, hk_os_unmap, hk_os_purge, core/meta, core/usage, core/dirty.
 */
#ifndef HK_CORE_EXTENT_H
#define HK_CORE_EXTENT_H

#include "../base/compiler.h"

enum {
    HK_EXTENT_MAPPINGS = 0,    /* the number of a range that spans several mappings */
    HK_EXTENT_NODE_BYTES = 64, /* enough metadata for a node */
};

/* Whole granules of address space. */
struct hk_range {
    uintptr_t base; /* 0: none */
    size_t bytes;
    uint32_t mapping; /* number of its mapping, or HK_EXTENT_MAPPINGS */
    bool dirty;       /* it may be nonzero; otherwise all bytes are zero */
};

/* A list of extents, oldest first. */
struct hk_extent_list {
    struct hk_extent *first; /* lock:EXTENT */
    uint64_t bytes;          /* atomic, stored under EXTENT; the sum, see hk_extent_repair */
};
enum { HK_EXTENTS_CACHED, HK_EXTENTS_REFUSED, HK_EXTENTS_KINDS };
extern struct hk_extent_list hk_extents[HK_EXTENTS_KINDS];

/* The remaining cost allowed for a purge. Both fields are counted down, and the purge stops when
 * one reaches 0. */
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

/* Takes a range of `bytes`, kept or new, and counts it in core/usage. The base is 0 if there is no
 * memory or the hard limit would be exceeded. */
struct hk_range hk_extent_take(size_t bytes, size_t align);

/* Creates a mapping for a large block. Returns 0 if out of memory. Requests huge pages if much
 * memory is in use. The mapping is not counted in core/usage. */
uintptr_t hk_extent_map(size_t bytes, size_t align);

/* Takes the range of `bytes` that begins at `base`, if it is kept, and counts it in core/usage. */
struct hk_range hk_extent_take_at(uintptr_t base, size_t bytes);

/* Takes a kept range of `least` to `most` bytes, as long as possible. Only a dirty range is counted
 * in core/usage. */
struct hk_range hk_extent_take_kept(size_t least, size_t most);

/* Whether hk_extent_take would find a cached range. */
bool hk_extent_has(size_t bytes, size_t align);

/* The number of a new mapping. */
uint32_t hk_extent_number(void);

/* Caches the range of a freed block, evicting older ones if necessary. If it exceeds the cache
 * limit, only its first `limit` bytes are cached. `node` is metadata of `node_bytes`, at least
 * HK_EXTENT_NODE_BYTES, which now belongs to the extent. The range is counted in core/usage. */
void hk_extent_give(struct hk_range range, void *node, size_t node_bytes);

/* Like hk_extent_give, but unmaps the range. If the OS refuses, the range is kept without its
 * pages. */
void hk_extent_unmap(struct hk_range range, void *node, size_t node_bytes);

/* Keeps a range that the OS has refused to unmap. */
void hk_extent_keep(struct hk_range range, void *node, size_t node_bytes);

/* Like hk_extent_unmap, but without a node from the caller. Returns false and changes nothing if a
 * node is needed and there is no memory for it. */
bool hk_extent_drop(struct hk_range range);

/* Unmaps cached extents that were freed before `before_ms`, and tries again to unmap refused ones.
 * Returns the bytes given back. */
size_t hk_extent_purge(uint64_t before_ms, struct hk_purge_budget *budget);

/* Bytes of cached extents, and of refused ones. Statistics. */
uint64_t hk_extent_cached_bytes(void);
uint64_t hk_extent_refused_bytes(void);

/* Recounts the lists after the EXTENT lock was taken over from a thread that stopped in the middle.
 * Under the lock, in a forked child. */
void hk_extent_repair(void);

/* Whether the counts match the lists and no two extents overlap. Takes the lock. */
bool hk_extent_valid(void);

#endif
