/* core/large.c - blocks above the largest class. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "large.h"

#include "../os/check.h"
#include "../os/os.h"
#include "options.h"
#include "registry.h"
#include "usage.h"

enum {
    LARGE_CACHE_SLOTS = 16,
    LARGE_REUSE_SLACK = 4,  /* a kept mapping may be 1/4 larger than the block that reuses it */
    LARGE_GROWTH_SLACK = 8, /* a mapping that grows reserves 1/8 more, so that steps are few */
};

/* A mapping without a block. */
struct large_mapping {
    uintptr_t base;
    size_t bytes;
    uint64_t freed_ms;
};

static struct {
    struct hk_lock lock;
    uint32_t count;                                /* lock:LARGE */
    struct large_mapping slots[LARGE_CACHE_SLOTS]; /* lock:LARGE; oldest first */
    uint64_t cached_bytes;                         /* atomic; sum of the slots */
    uint64_t live_bytes;                           /* atomic */
} large;

/* relaxed: statistics */
uint64_t hk_large_live_bytes(void) { return hk_load_relaxed(&large.live_bytes); }
uint64_t hk_large_cached_bytes(void) { return hk_load_relaxed(&large.cached_bytes); }

/* ---- Kept mappings ----------------------------------------------------------------------------- */

/* Removes slot `i`. Under the lock. */
static struct large_mapping large_slot_remove(uint32_t i) {
    struct large_mapping mapping = large.slots[i];
    large.count--;
    for (; i < large.count; i++)
        large.slots[i] = large.slots[i + 1];
    hk_sub_relaxed(&large.cached_bytes, mapping.bytes); /* relaxed: stored under the lock */
    return mapping;
}

/* Whether a mapping of `has` bytes may serve for a block of `bytes`. */
static bool large_mapping_suits(size_t has, size_t bytes) {
    return has >= bytes && has - bytes <= bytes / LARGE_REUSE_SLACK;
}

/* The slot of the smallest kept mapping that fits; LARGE_CACHE_SLOTS if there is none. Under the
 * lock. */
static uint32_t large_slot_find(size_t bytes, size_t align) {
    uint32_t best = LARGE_CACHE_SLOTS;
    for (uint32_t i = 0; i < large.count; i++) {
        const struct large_mapping *slot = &large.slots[i];
        if (large_mapping_suits(slot->bytes, bytes) && (slot->base & (align - 1)) == 0 &&
            (best == LARGE_CACHE_SLOTS || slot->bytes < large.slots[best].bytes))
            best = i;
    }
    return best;
}

/* Takes the smallest kept mapping that fits; bytes 0 if there is none. */
static struct large_mapping large_reuse(size_t bytes, size_t align) {
    struct large_mapping mapping = {0, 0, 0};
    if (hk_large_cached_bytes() == 0)
        return mapping;
    hk_lock(&large.lock, HK_RANK_LARGE);
    uint32_t slot = large_slot_find(bytes, align);
    if (slot != LARGE_CACHE_SLOTS)
        mapping = large_slot_remove(slot);
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return mapping;
}

static bool large_could_reuse(size_t bytes, size_t align) {
    if (hk_large_cached_bytes() == 0)
        return false;
    hk_lock(&large.lock, HK_RANK_LARGE);
    bool could = large_slot_find(bytes, align) != LARGE_CACHE_SLOTS;
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return could;
}

/* Removes the oldest mapping if it was freed before `before_ms` or if `bytes` more would be too
 * many; bytes 0 otherwise. */
static struct large_mapping large_evict(uint64_t before_ms, size_t bytes) {
    struct large_mapping oldest = {0, 0, 0};
    uint64_t limit = hk_option(HK_OPTION_large_cache_mb) << 20;
    hk_lock(&large.lock, HK_RANK_LARGE);
    if (large.count > 0 && (large.slots[0].freed_ms < before_ms ||
                            (bytes > 0 && (large.count == LARGE_CACHE_SLOTS ||
                                           hk_large_cached_bytes() + bytes > limit))))
        oldest = large_slot_remove(0);
    hk_unlock(&large.lock, HK_RANK_LARGE);
    return oldest;
}

static size_t large_unmap(struct large_mapping mapping) {
    hk_usage_sub(mapping.bytes);
    hk_os_unmap((void *)mapping.base, mapping.bytes);
    return mapping.bytes;
}

/* Keeps a mapping for reuse, in the place of older ones if need be, or unmaps it. */
static void large_keep(struct large_mapping mapping) {
    if (mapping.bytes > hk_option(HK_OPTION_large_cache_mb) << 20) {
        large_unmap(mapping);
        return;
    }
    struct large_mapping evicted;
    while ((evicted = large_evict(0, mapping.bytes)).bytes != 0)
        large_unmap(evicted);
    hk_lock(&large.lock, HK_RANK_LARGE);
    bool kept = large.count < LARGE_CACHE_SLOTS;
    if (kept) {
        large.slots[large.count++] = mapping;
        hk_add_relaxed(&large.cached_bytes, mapping.bytes); /* relaxed: stored under the lock */
    }
    hk_unlock(&large.lock, HK_RANK_LARGE);
    if (!kept)
        large_unmap(mapping);
}

size_t hk_large_purge(uint64_t before_ms) {
    size_t bytes = 0;
    struct large_mapping evicted;
    while ((evicted = large_evict(before_ms, 0)).bytes != 0)
        bytes += large_unmap(evicted);
    return bytes;
}

/* ---- Blocks ------------------------------------------------------------------------------------ */

/* Mappings start at granules, as arenas' runs do. */
static size_t large_align(size_t align) {
    return align > HK_GRANULE_BYTES ? align : HK_GRANULE_BYTES;
}

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
    struct large_mapping kept = large_reuse(bytes, align);
    span->chunk = NULL;
    if (kept.bytes != 0) {
        span->bytes = kept.bytes;
        return (struct hk_block){(void *)kept.base, false};
    }
    span->bytes = bytes;
    return (struct hk_block){large_map_new(bytes, align), true};
}

static void large_unmap_span(const struct hk_span *span) {
    if (span->chunk != NULL)
        hk_arena_give(span->chunk, span->base, span->granules);
    else
        large_keep((struct large_mapping){span->base, span->bytes, hk_os_now_ms()});
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
    hk_add_relaxed(&large.live_bytes, span->bytes); /* relaxed: a statistic */
    return block;
}

void hk_large_free(struct hk_span *span) {
    hk_registry_remove(span);
    hk_sub_relaxed(&large.live_bytes, span->bytes); /* relaxed: a statistic */
    large_unmap_span(span);
    hk_span_destroy(span);
}

void hk_large_retire(struct hk_span *span) {
    span->looks = 0;
    /* relaxed: for double frees only, which nothing orders */
    hk_store_relaxed(&span->retired, true);
}

bool hk_large_is_live(const struct hk_span *span) {
    return !hk_load_relaxed(&span->retired); /* relaxed: as in hk_large_retire */
}

bool hk_large_suits(const struct hk_span *span, size_t size, size_t align) {
    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    if ((span->base & (align - 1)) != 0)
        return false;
    if (span->chunk != NULL)
        return large_granules(bytes) == span->granules;
    return large_mapping_suits(span->bytes, bytes);
}

void hk_large_reuse(struct hk_span *span, size_t size) {
    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    hk_store_relaxed(&span->retired, false); /* relaxed: as in hk_large_retire */
    if (span->chunk == NULL || span->bytes == bytes)
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
    bool entered = hk_registry_enter(span);
    hk_assert(entered);
    (void)entered;
    return true;
}

static bool large_resize_mapping(struct hk_span *span, size_t bytes, size_t align) {
    if (bytes <= span->bytes && bytes >= span->bytes - span->bytes / LARGE_GROWTH_SLACK)
        return true; /* the reserve of earlier growth */
    if (bytes < HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES / 2)
        return false; /* small enough for an arena: worth a copy */
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

void *hk_large_resize(struct hk_span *span, size_t size, size_t align) {
    if (size > PTRDIFF_MAX)
        return NULL;
    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    size_t old_bytes = span->bytes;
    size_t reserve =
        bytes > old_bytes ? hk_round_up(bytes / LARGE_GROWTH_SLACK, HK_GRANULE_BYTES) : 0;
    bool done = span->chunk != NULL ? large_resize_granules(span, bytes)
                                    : large_resize_mapping(span, bytes + reserve, align) ||
                                          large_resize_mapping(span, bytes, align);
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
