/* core/large.c - blocks above the largest class. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "large.h"

#include "../os/check.h"
#include "../os/os.h"
#include "options.h"
#include "registry.h"
#include "usage.h"

enum {
    LARGE_CACHE_SLOTS = 16,
    LARGE_GROWTH_SLACK = 8, /* a mapping that grows reserves 1/8 more, so that steps are few */
    LARGE_MAPPINGS = 0,     /* the number of an extent that is of several mappings */
};

/* Mapped memory without a block: whole granules of one mapping, or of neighbours. */
struct large_extent {
    uintptr_t base;
    size_t bytes;
    uint64_t freed_ms;
    uint32_t mapping; /* as in struct hk_span */
};

static struct {
    struct hk_lock lock;
    uint32_t count;                               /* lock:LARGE */
    struct large_extent slots[LARGE_CACHE_SLOTS]; /* lock:LARGE; oldest first */
    uint64_t cached_bytes;                        /* atomic; sum of the slots */
    uint64_t live_bytes;                          /* atomic */
    uint64_t live_blocks;                         /* atomic; without those that threads keep */
    uint32_t mappings;                            /* atomic; their numbers so far */
} large;

/* relaxed: statistics */
uint64_t hk_large_live_bytes(void) { return hk_load_relaxed(&large.live_bytes); }
uint64_t hk_large_cached_bytes(void) { return hk_load_relaxed(&large.cached_bytes); }

void hk_large_mapped(uint64_t *count, uint64_t *bytes) {
    *count = hk_load_relaxed(&large.live_blocks); /* relaxed: a statistic */
    *bytes = hk_large_live_bytes();
}

/* ---- Kept extents ------------------------------------------------------------------------------ */

/* Removes slot `i`. Under the lock. */
static struct large_extent large_slot_remove(uint32_t i) {
    struct large_extent extent = large.slots[i];
    large.count--;
    for (; i < large.count; i++)
        large.slots[i] = large.slots[i + 1];
    hk_sub_relaxed(&large.cached_bytes, extent.bytes); /* relaxed: stored under the lock */
    return extent;
}

/* The slot of the smallest extent that holds `bytes`; LARGE_CACHE_SLOTS if there is none. Under the
 * lock. */
static uint32_t large_slot_find(size_t bytes, size_t align) {
    uint32_t best = LARGE_CACHE_SLOTS;
    for (uint32_t i = 0; i < large.count; i++) {
        const struct large_extent *slot = &large.slots[i];
        if (slot->bytes >= bytes && (slot->base & (align - 1)) == 0 &&
            (best == LARGE_CACHE_SLOTS || slot->bytes < large.slots[best].bytes))
            best = i;
    }
    return best;
}

/* Takes the first `bytes` of slot `i`, of which some are left to it. Under the lock. */
static struct large_extent large_slot_take(uint32_t i, size_t bytes) {
    struct large_extent *slot = &large.slots[i];
    if (slot->bytes == bytes)
        return large_slot_remove(i);
    struct large_extent taken = *slot;
    taken.bytes = bytes;
    slot->base += bytes;
    slot->bytes -= bytes;
    hk_sub_relaxed(&large.cached_bytes, bytes); /* relaxed: stored under the lock */
    return taken;
}

/* Takes `bytes` from the smallest extent that holds them; bytes 0 if there is none. */
static struct large_extent large_reuse(size_t bytes, size_t align) {
    struct large_extent extent = {0, 0, 0, 0};
    if (hk_large_cached_bytes() == 0)
        return extent;
    hk_lock(&large.lock, HK_RANK_LARGE);
    uint32_t slot = large_slot_find(bytes, align);
    if (slot != LARGE_CACHE_SLOTS)
        extent = large_slot_take(slot, bytes);
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return extent;
}

static bool large_could_reuse(size_t bytes, size_t align) {
    if (hk_large_cached_bytes() == 0)
        return false;
    hk_lock(&large.lock, HK_RANK_LARGE);
    bool could = large_slot_find(bytes, align) != LARGE_CACHE_SLOTS;
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return could;
}

/* Takes the `bytes` that begin at `base`; bytes 0 if they are not kept. */
static struct large_extent large_reuse_at(uintptr_t base, size_t bytes) {
    struct large_extent extent = {0, 0, 0, 0};
    if (hk_large_cached_bytes() == 0)
        return extent;
    hk_lock(&large.lock, HK_RANK_LARGE);
    for (uint32_t i = 0; i < large.count && extent.bytes == 0; i++) {
        if (large.slots[i].base == base && large.slots[i].bytes >= bytes)
            extent = large_slot_take(i, bytes);
    }
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return extent;
}

/* Removes the oldest extent if it was freed before `before_ms` or if `bytes` more would be too many;
 * bytes 0 otherwise. */
static struct large_extent large_evict(uint64_t before_ms, size_t bytes) {
    struct large_extent oldest = {0, 0, 0, 0};
    uint64_t limit = hk_option(HK_OPTION_large_cache_mb) << 20;
    hk_lock(&large.lock, HK_RANK_LARGE);
    if (large.count > 0 && (large.slots[0].freed_ms < before_ms ||
                            (bytes > 0 && (large.count == LARGE_CACHE_SLOTS ||
                                           hk_large_cached_bytes() + bytes > limit))))
        oldest = large_slot_remove(0);
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return oldest;
}

static size_t large_unmap(struct large_extent extent) {
    hk_usage_sub(extent.bytes);
    hk_os_unmap((void *)extent.base, extent.bytes);
    return extent.bytes;
}

/* Adds the kept neighbours of an extent to it. Under the lock. */
static void large_merge(struct large_extent *extent) {
    for (uint32_t i = 0; i < large.count;) {
        const struct large_extent *slot = &large.slots[i];
        bool before = slot->base + slot->bytes == extent->base;
        if (!before && extent->base + extent->bytes != slot->base) {
            i++;
            continue;
        }
        struct large_extent neighbour = large_slot_remove(i);
        extent->base = before ? neighbour.base : extent->base;
        extent->bytes += neighbour.bytes;
        if (extent->mapping != neighbour.mapping)
            extent->mapping = LARGE_MAPPINGS;
        i = 0;
    }
}

/* Keeps an extent for reuse, in the place of older ones if need be, or unmaps it. Of one that is larger
 * than all that may be kept, the beginning is. */
static void large_keep(struct large_extent extent) {
    size_t limit = hk_option(HK_OPTION_large_cache_mb) << 20;
    if (extent.bytes > limit) {
        struct large_extent rest = extent;
        rest.base += limit;
        rest.bytes -= limit;
        large_unmap(rest);
        extent.bytes = limit;
    }
    if (extent.bytes == 0)
        return;
    struct large_extent evicted;
    while ((evicted = large_evict(0, extent.bytes)).bytes != 0)
        large_unmap(evicted);
    hk_lock(&large.lock, HK_RANK_LARGE);
    bool kept = large.count < LARGE_CACHE_SLOTS;
    if (kept) {
        large_merge(&extent);
        large.slots[large.count++] = extent;
        hk_add_relaxed(&large.cached_bytes, extent.bytes); /* relaxed: stored under the lock */
    }
    hk_unlock(&large.lock, HK_RANK_LARGE);
    if (!kept)
        large_unmap(extent);
}

size_t hk_large_purge(uint64_t before_ms) {
    size_t bytes = 0;
    struct large_extent evicted;
    while ((evicted = large_evict(before_ms, 0)).bytes != 0)
        bytes += large_unmap(evicted);
    return bytes;
}

/* ---- Blocks ------------------------------------------------------------------------------------ */

/* Mappings start at granules, as arenas' runs do. */
static size_t large_align(size_t align) {
    return align > HK_GRANULE_BYTES ? align : HK_GRANULE_BYTES;
}

size_t hk_large_page_bytes(void) { return hk_os_page_bytes(); }

static uint32_t large_granules(size_t bytes) {
    return (uint32_t)(hk_round_up(bytes, HK_GRANULE_BYTES) >> HK_GRANULE_SHIFT);
}

/* A new mapping, within the hard limit. */
static void *large_map_new(size_t bytes, size_t align) {
    if (!hk_usage_add(bytes))
        return NULL;
    void *start = hak_os_map_boundary(bytes, align);
    if (start == NULL)
        hk_usage_sub(bytes);
    return start;
}

/* The number of a new mapping. */
static uint32_t large_number(void) {
    uint32_t number;
    do
        number = hk_add_relaxed(&large.mappings, 1); /* relaxed: any other number will do */
    while (number == LARGE_MAPPINGS);
    return number;
}

/* Memory for a block of `bytes`, noted in the span. */
static struct hk_block large_map(struct hk_span *span, struct hk_arena *arena, size_t bytes,
                                 size_t align) {
    if (align <= HK_GRANULE_BYTES && bytes <= HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES) {
        span->granules = large_granules(bytes);
        struct hk_granules run = hk_arena_take(arena, span->granules, HK_GRANULES_SPARSE);
        span->chunk = run.chunk;
        span->bytes = bytes;
        return (struct hk_block){(void *)run.base, run.zero};
    }
    align = large_align(align);
    bytes = hk_round_up(bytes, HK_GRANULE_BYTES);
    struct large_extent kept = large_reuse(bytes, align);
    span->chunk = NULL;
    if (kept.bytes != 0) {
        span->bytes = kept.bytes;
        span->mapping = kept.mapping;
        return (struct hk_block){(void *)kept.base, false};
    }
    span->bytes = bytes;
    span->mapping = large_number();
    return (struct hk_block){large_map_new(bytes, align), true};
}

static void large_unmap_span(const struct hk_span *span) {
    if (span->chunk != NULL)
        hk_arena_give(span->chunk, span->base, span->granules);
    else
        large_keep((struct large_extent){span->base, span->bytes, hk_os_now_ms(), span->mapping});
}

struct hk_block hk_large_alloc(struct hk_arena *arena, void *owner, size_t size, size_t align) {
    struct hk_block none = {NULL, false};
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    struct hk_span *span = size > PTRDIFF_MAX ? NULL : hk_span_create(HK_CLASS_NONE);
    if (span == NULL)
        return none;
    struct hk_block block = large_map(span, arena, bytes, align);
    if (block.start == NULL) {
        hk_span_destroy(span);
        return none;
    }
    span->base = (uintptr_t)block.start;
    span->owner = owner;
    if (!hk_registry_enter(span)) {
        large_unmap_span(span);
        hk_span_destroy(span);
        return none;
    }
    hk_large_begin(span);
    return block;
}

void hk_large_begin(const struct hk_span *span) {
    /* relaxed: statistics */
    hk_add_relaxed(&large.live_bytes, span->bytes);
    hk_add_relaxed(&large.live_blocks, 1);
}

void hk_large_free(struct hk_span *span) {
    if (hk_large_is_live(span))
        hk_sub_relaxed(&large.live_blocks, 1); /* relaxed: a statistic */
    hk_registry_remove(span);
    hk_sub_relaxed(&large.live_bytes, span->bytes); /* relaxed: a statistic */
    large_unmap_span(span);
    hk_span_destroy(span);
}

void hk_large_retire(struct hk_span *span) {
    hk_sub_relaxed(&large.live_blocks, 1); /* relaxed: a statistic */
    span->looks = 0;
    /* relaxed: for double frees only, which nothing orders */
    hk_store_relaxed(&span->retired, true);
}

bool hk_large_is_live(const struct hk_span *span) {
    return !hk_load_relaxed(&span->retired); /* relaxed: as in hk_large_retire */
}

void hk_large_reuse(struct hk_span *span, size_t size) {
    hk_add_relaxed(&large.live_blocks, 1);   /* relaxed: a statistic */
    hk_store_relaxed(&span->retired, false); /* relaxed: as in hk_large_retire */
    if (span->chunk == NULL)
        return;
    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    if (span->bytes == bytes)
        return;
    hk_add_relaxed(&large.live_bytes, bytes - span->bytes); /* relaxed: a statistic */
    span->bytes = bytes;
}

static bool large_resize_granules(struct hk_span *span, size_t bytes) {
    if (bytes > HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES)
        return false;
    uint32_t granules = large_granules(bytes);
    if (granules > span->granules) {
        if (!hk_arena_extend(span->chunk, span->base, span->granules, granules - span->granules))
            return false;
    } else if (granules < span->granules) {
        hk_arena_give(span->chunk, span->base + granules * HK_GRANULE_BYTES,
                      span->granules - granules);
    }
    hk_store_relaxed(&span->granules,
                     granules); /* relaxed: read by hk_validate, which only looks */
    span->bytes = bytes;
    return true;
}

/* Moves the pages of a mapping to where there is room for `bytes`. */
static bool large_move_mapping(struct hk_span *span, size_t bytes, size_t align) {
    void *to = hak_os_map_boundary(bytes, large_align(align));
    if (to == NULL)
        return false;
    if (!hk_registry_reserve((uintptr_t)to)) {
        hk_os_unmap(to, bytes);
        return false;
    }
    if (!hk_os_move((void *)span->base, span->bytes, to, bytes))
        return false; /* `to` may be gone or not, so it is left alone: address space, no pages */
    hk_registry_remove(span);
    span->base = (uintptr_t)to;
    span->mapping = large_number();
    bool entered = hk_registry_enter(span);
    hk_assert(entered);
    (void)entered;
    return true;
}

/* Grows a block into the kept extent behind it, whose pages exist. */
static bool large_extend(struct hk_span *span, size_t bytes) {
    if (bytes <= span->bytes)
        return false;
    struct large_extent behind = large_reuse_at(span->base + span->bytes, bytes - span->bytes);
    if (behind.bytes == 0)
        return false;
    span->bytes = bytes;
    if (span->mapping != behind.mapping)
        span->mapping = LARGE_MAPPINGS;
    return true;
}

static bool large_resize_mapping(struct hk_span *span, size_t bytes, size_t align) {
    if (bytes <= span->bytes && bytes >= span->bytes - span->bytes / LARGE_GROWTH_SLACK)
        return true; /* the reserve of earlier growth */
    if (bytes < HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES / 2)
        return false; /* small enough for an arena: worth a copy */
    if (span->mapping == LARGE_MAPPINGS)
        return false; /* mremap takes one mapping at a time */
    if (bytes > span->bytes && large_could_reuse(bytes, large_align(align)))
        return false; /* its pages exist: a copy costs less than the faults of new ones */
    size_t more = bytes > span->bytes ? bytes - span->bytes : 0;
    if (!hk_usage_add(more))
        return false;
    if (!hk_os_resize((void *)span->base, span->bytes, bytes) &&
        !large_move_mapping(span, bytes, align)) {
        hk_usage_sub(more);
        return false;
    }
    if (more == 0)
        hk_usage_sub(span->bytes - bytes);
    span->bytes = bytes;
    return true;
}

/* As large_resize_mapping, but first without a system call, then with a reserve. */
static bool large_resize_mapping_best(struct hk_span *span, size_t bytes, size_t align) {
    bytes = hk_round_up(bytes, HK_GRANULE_BYTES);
    size_t reserve = 0;
    if (bytes > span->bytes)
        reserve = hk_round_up(bytes / LARGE_GROWTH_SLACK, HK_GRANULE_BYTES);
    return large_extend(span, bytes) || large_resize_mapping(span, bytes + reserve, align) ||
           large_resize_mapping(span, bytes, align);
}

void *hk_large_resize(struct hk_span *span, size_t size, size_t align) {
    if (size > PTRDIFF_MAX)
        return NULL;
    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    size_t old_bytes = span->bytes;
    bool done = span->chunk != NULL ? large_resize_granules(span, bytes)
                                    : large_resize_mapping_best(span, bytes, align);
    if (!done)
        return NULL;
    hk_add_relaxed(&large.live_bytes, span->bytes - old_bytes); /* relaxed: a statistic */
    return (void *)span->base;
}

bool hk_large_may_have(const struct hk_span *span, size_t size) {
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    return span->chunk != NULL ? span->bytes == bytes : span->bytes >= bytes;
}

/* ---- Fork -------------------------------------------------------------------------------------- */

void hk_large_fork_prepare(void) { hk_lock_unranked(&large.lock); }
void hk_large_fork_parent(void) { hk_unlock_unranked(&large.lock); }
void hk_large_fork_child(void) { hk_lock_reset(&large.lock); }
