/* core/large.c - blocks above the largest class. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "large.h"

#include <errno.h>

#include "../os/check.h"
#include "../os/os.h"
#include "extent.h"
#include "meta.h"
#include "options.h"
#include "pagemap.h"
#include "usage.h"

enum { LARGE_GROWTH_SLACK = 8 }; /* a growing mapping reserves 1/8 more, to grow in fewer steps */

/* One addition changes both the count and the bytes of blocks with their own mapping. */
enum { LARGE_COUNT_SHIFT = 40 };

static struct {
    uint64_t granule_bytes; /* atomic; bytes of blocks that are granules of an arena */
    uint64_t mapped;        /* atomic; granules of the others, and their number from bit 40 up */
} large;

uint64_t hk_large_live_bytes(void) {
    uint64_t count, bytes;
    hk_large_mapped(&count, &bytes);
    return bytes + hk_stat_get(&large.granule_bytes);
}

void hk_large_mapped(uint64_t *count, uint64_t *bytes) {
    uint64_t mapped = hk_stat_get(&large.mapped);
    *count = mapped >> LARGE_COUNT_SHIFT;
    *bytes = (mapped & ((UINT64_C(1) << LARGE_COUNT_SHIFT) - 1)) << HK_GRANULE_SHIFT;
}

/* Adds `bytes` and `blocks` to the counts. Both may be negative, wrapped around. */
static void large_count(const struct hk_span *span, size_t bytes, uint64_t blocks) {
    int64_t granules = (int64_t)bytes >> HK_GRANULE_SHIFT;
    /* relaxed: statistics */
    if (span->chunk != NULL)
        hk_add_relaxed(&large.granule_bytes, bytes);
    else
        hk_add_relaxed(&large.mapped, (blocks << LARGE_COUNT_SHIFT) + (uint64_t)granules);
}

/* ---- Blocks ---------------------------------------------------------------------------------- */

/* Mappings start at granules, like runs of an arena. */
static size_t large_align(size_t align) {
    return align > HK_GRANULE_BYTES ? align : HK_GRANULE_BYTES;
}

size_t hk_large_page_bytes(void) { return hk_os_page_bytes(); }

static uint32_t large_granules(size_t bytes) {
    return (uint32_t)(hk_round_up(bytes, HK_GRANULE_BYTES) >> HK_GRANULE_SHIFT);
}

/* Whether the largest run of an arena has room for a block wherever its alignment places it. */
static bool large_fits_arena(size_t bytes, size_t align) {
    size_t most = HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES;
    return align <= most && bytes <= most - (large_align(align) - HK_GRANULE_BYTES);
}

size_t hk_large_bytes(size_t size, size_t align) {
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    return large_fits_arena(bytes, align) ? bytes : hk_round_up(bytes, HK_GRANULE_BYTES);
}

/* Gets memory for a block of `bytes`, and records it in the span. */
static struct hk_block large_map(struct hk_span *span, struct hk_arena *arena, size_t bytes,
                                 size_t align) {
    if (large_fits_arena(bytes, align)) {
        span->granules = large_granules(bytes);
        struct hk_granules run =
            hk_arena_take_aligned(arena, span->granules, large_align(align), HK_GRANULES_DENSE);
        span->chunk = run.chunk;
        span->bytes = bytes;
        return (struct hk_block){(void *)run.base, run.zero};
    }

    struct hk_range range =
        hk_extent_take(hk_round_up(bytes, HK_GRANULE_BYTES), large_align(align));
    span->chunk = NULL;
    span->bytes = range.bytes;
    span->mapping = range.mapping;
    return (struct hk_block){(void *)range.base, !range.dirty};
}

/* Gives back the memory of a block that is not in the pagemap, and its span. */
static void large_release(struct hk_span *span) {
    if (span->chunk != NULL) {
        hk_arena_give(span->chunk, span->base, span->granules);
        hk_span_destroy(span);
        return;
    }
    struct hk_range range = {span->base, span->bytes, span->mapping, true};
    hk_extent_give(range, span, hk_span_metadata(span));
}

struct hk_block hk_large_alloc(struct hk_arena *arena, void *owner, size_t size, size_t align) {
    struct hk_block none = {NULL, false};
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    struct hk_span *span = size > PTRDIFF_MAX ? NULL : hk_span_create(HK_CLASS_NONE, HK_SPAN_PLAIN);
    if (span == NULL)
        return none;

    struct hk_block block = large_map(span, arena, bytes, align);
    if (block.start == NULL) {
        hk_span_destroy(span);
        return none;
    }

    span->base = (uintptr_t)block.start;
    span->owner = owner;
    if (!hk_pagemap_enter(span)) {
        large_release(span);
        return none;
    }

    hk_large_begin(span);
    return block;
}

void hk_large_begin(const struct hk_span *span) { large_count(span, span->bytes, 1); }

void hk_large_free(struct hk_span *span) {
    hk_pagemap_remove(span);
    large_count(span, (size_t)0 - span->bytes, UINT64_MAX);
    large_release(span);
}

void hk_large_retire(struct hk_span *span) {
    span->scans = 0;
    /* relaxed: only detects double frees, which nothing orders */
    hk_store_relaxed(&span->retired, true);
}

bool hk_large_is_live(const struct hk_span *span) {
    return !hk_load_relaxed(&span->retired); /* relaxed: as in hk_large_retire */
}

void hk_large_reuse(struct hk_span *span, size_t size) {
    hk_store_relaxed(&span->retired, false); /* relaxed: as in hk_large_retire */
    if (span->chunk == NULL)
        return;

    size_t bytes = hk_round_up(size, hk_os_page_bytes());
    if (span->bytes == bytes)
        return;
    size_t old_bytes = span->bytes;
    span->bytes = bytes;
    large_count(span, span->bytes - old_bytes, 0);
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

    hk_store_relaxed(&span->granules, granules); /* relaxed: read by hk_validate */
    span->bytes = bytes;
    return true;
}

/* Does the move. The old address leaves the pagemap first, because another thread may map and enter
 * it once the kernel has freed it. If the move fails, the entry is restored, which needs no
 * memory. */
static enum hk_os_move large_move_pages(struct hk_span *span, void *to, size_t bytes) {
    hk_pagemap_remove(span);
    enum hk_os_move result = hk_os_move((void *)span->base, span->bytes, to, bytes);
    if (result == HK_OS_MOVE_DONE)
        span->base = (uintptr_t)to;
    bool entered = hk_pagemap_enter(span);
    hk_assert(entered);
    (void)entered;
    return result;
}

/* Moves the pages of a mapping to a place with room for `bytes`. If the target can be neither used
 * nor unmapped, metadata must record it, so we allocate the metadata before the target. */
static bool large_move_mapping(struct hk_span *span, size_t bytes, size_t align) {
    void *node = hk_meta_alloc(HK_EXTENT_NODE_BYTES);
    if (node == NULL)
        return false;

    void *to = (void *)hk_extent_map(bytes, large_align(align));
    enum hk_os_move result = to == NULL ? HK_OS_MOVE_TARGET_GONE : HK_OS_MOVE_REFUSED;
    if (to != NULL && hk_pagemap_reserve((uintptr_t)to))
        result = large_move_pages(span, to, bytes);

    if (result == HK_OS_MOVE_REFUSED) {
        struct hk_range target = {(uintptr_t)to, bytes, hk_extent_number(), false};
        hk_extent_unmap(target, node, HK_EXTENT_NODE_BYTES);
    } else {
        hk_meta_free(node, HK_EXTENT_NODE_BYTES);
    }
    return result == HK_OS_MOVE_DONE;
}

/* Grows a block into the kept extent directly after it. */
static bool large_extend(struct hk_span *span, size_t bytes) {
    if (bytes <= span->bytes)
        return false;
    struct hk_range behind = hk_extent_take_at(span->base + span->bytes, bytes - span->bytes);
    if (behind.base == 0)
        return false;
    span->bytes = bytes;
    if (span->mapping != behind.mapping)
        span->mapping = HK_EXTENT_MAPPINGS;
    return true;
}

/* Unmaps the end of a mapping. */
static bool large_shrink(struct hk_span *span, size_t bytes) {
    struct hk_range end = {span->base + bytes, span->bytes - bytes, span->mapping, true};
    if (!hk_extent_drop(end))
        return false;
    span->bytes = bytes;
    return true;
}

/* Grows a mapping in place, or moves it without a copy. It gets a new number, because it may grow
 * up to another part of the mapping that it was a part of. The OS sees two mappings there. */
static bool large_grow(struct hk_span *span, size_t bytes, size_t align) {
    if (span->mapping == HK_EXTENT_MAPPINGS)
        return false; /* mremap takes one mapping at a time */
    if (hk_extent_has(bytes, large_align(align)))
        return false; /* a copy into its pages costs less than faults of new ones */

    size_t more = bytes - span->bytes;
    if (!hk_usage_add(more))
        return false;

    int error = hk_os_resize((void *)span->base, span->bytes, bytes);
    /* After any other error the range cannot be moved either, because it has become several
     * mappings or the call is forbidden. */
    if (error == 0 || (error == ENOMEM && large_move_mapping(span, bytes, align))) {
        span->bytes = bytes;
        span->mapping = hk_extent_number();
        return true;
    }

    hk_usage_sub(more);
    return false;
}

static bool large_resize_mapping(struct hk_span *span, size_t bytes, size_t align) {
    if (bytes <= span->bytes && bytes >= span->bytes - span->bytes / LARGE_GROWTH_SLACK)
        return true; /* the reserve of earlier growth */
    if (bytes < HK_ARENA_GRANULES_MAX * HK_GRANULE_BYTES / 2)
        return false; /* small enough for an arena, so a copy pays off */
    return bytes < span->bytes ? large_shrink(span, bytes) : large_grow(span, bytes, align);
}

/* Like large_resize_mapping, but first tries to avoid a system call, and then to add a reserve. */
static bool large_resize_mapping_best(struct hk_span *span, const struct hk_large_aim *aim,
                                      size_t align) {
    return large_extend(span, aim->bytes) ||
           large_resize_mapping(span, aim->bytes + aim->reserve, align) ||
           large_resize_mapping(span, aim->bytes, align);
}

struct hk_large_aim hk_large_aim(const struct hk_span *span, size_t size) {
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    struct hk_large_aim aim = {bytes, 0};
    if (span->chunk != NULL)
        return aim;

    aim.bytes = hk_round_up(bytes, HK_GRANULE_BYTES);
    if (aim.bytes > span->bytes)
        aim.reserve = hk_round_up(aim.bytes / LARGE_GROWTH_SLACK, HK_GRANULE_BYTES);
    return aim;
}

void *hk_large_resize_to(struct hk_span *span, const struct hk_large_aim *aim, size_t align) {
    size_t old_bytes = span->bytes;
    bool done = span->chunk != NULL ? large_resize_granules(span, aim->bytes)
                                    : large_resize_mapping_best(span, aim, align);
    if (!done)
        return NULL;
    large_count(span, span->bytes - old_bytes, 0);
    return (void *)span->base;
}

void *hk_large_resize(struct hk_span *span, size_t size, size_t align) {
    if (size > PTRDIFF_MAX)
        return NULL;
    struct hk_large_aim aim = hk_large_aim(span, size);
    return hk_large_resize_to(span, &aim, align);
}

bool hk_large_may_have(const struct hk_span *span, size_t size) {
    size_t bytes = hk_round_up(size + (size == 0), hk_os_page_bytes());
    return span->chunk != NULL ? span->bytes == bytes : span->bytes >= bytes;
}
