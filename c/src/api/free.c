/* api/free.c - free and sized free. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <hakmem.h>

#include "../core/error.h"
#include "../core/large.h"
#include "../core/options.h"
#include "../guard/guard.h"
#include "../guard/print.h"
#include "../own/own.h"
#include "../profile/profile.h"
#include "../thread/check.h"
#include "../thread/watch.h"
#include "count.h"
#include "front.h"

/* Returns the reason why `block` cannot be the start of a live block of `span`, or NULL if it may
 * be one. */
static const char *free_cause(const struct hk_span *span, const void *block) {
    uint32_t index;
    /* An overflow may have damaged the span, so we check its class before we use it as an index. */
    if (span == NULL || span->class >= HK_CLASS_COUNT ||
        span->blocks != hk_classes[span->class].blocks)
        return HK_CAUSE_ALIEN;

    if (hk_unlikely(span->kind == HK_SPAN_GUARDED))
        return hk_guard_cause(span, block);

    if (span->class == HK_CLASS_NONE) {
        if ((uintptr_t)block != span->base)
            return HK_CAUSE_INSIDE;
        return hk_large_is_live(span) ? NULL : HK_CAUSE_FREE;
    }

    switch (hk_slab_locate(span, &hk_classes[span->class], block, &index)) {
    case HK_SLAB_DONE:
        return NULL;
    case HK_SLAB_INSIDE_BLOCK:
        return HK_CAUSE_INSIDE;
    default:
        return HK_CAUSE_ALIEN;
    }
}

void hk_front_report(const char *function, const struct hk_span *span, const void *block,
                     const char *cause) {
    bool guarded = span != NULL && span->kind == HK_SPAN_GUARDED;
    hk_bad_pointer_with(function, block, cause, guarded ? hk_print_block : NULL);
}

struct hk_span *hk_front_find(const char *function, const void *block) {
    struct hk_span *span = hk_pagemap_find(block);
    const char *cause = free_cause(span, block);
    if (hk_likely(cause == NULL))
        return span;
    hk_front_report(function, span, block, cause);
    return NULL;
}

/* Frees a block after its span was looked up in the pagemap. `frame` is the frame of a function
 * that the program called. */
static void free_block(const char *function, struct hk_span *span, void *block, const void *frame) {
    size_t class = span->class;
    if (hk_count_is_on())
        hk_count_freed(hk_count_usable(span));
    if (hk_span_is_private(span) && hk_own_free(function, span, block))
        return;

    if (hk_unlikely(span->kind == HK_SPAN_SAMPLED))
        hk_profile_free(function, span, block);
    else if (hk_unlikely(span->kind == HK_SPAN_GUARDED))
        hk_guard_free(function, span, block, frame);
    else if (class == HK_CLASS_NONE)
        hk_slow_free_large(span);
    else if (hk_option(HK_OPTION_checks) || !hk_bin_push(hk_cache_bin(hk_row_of(class)), block))
        hk_slow_flush(function, class, block);
}

/* Frees a block that the class map does not know. */
static HK_NOINLINE void free_unknown(void *block) {
    struct hk_span *span = hk_pagemap_find(block);
    if (span != NULL && !hk_count_is_on() && hk_own_free_fast(span, block))
        return;
    span = hk_front_find("free", block);
    if (hk_likely(span != NULL))
        free_block("free", span, block, HK_FRAME());
}

HK_NOINLINE void hk_free_slow(void *block) {
    if (block == NULL)
        return;

    const struct hk_class_map *map = hk_class_map_get();
    size_t row = hk_class_map_find(map, block);
    if (hk_likely(row != 0) && !hk_class_map_is_inside(map, row, block)) {
        size_t class = hk_class_of_row(row);
        if (hk_count_is_on())
            hk_count_freed(hk_classes[class].block_bytes);
        if (hk_unlikely(hk_watch_is_on()) && hk_watch_push(class, block))
            return;
        hk_slow_flush("free", class, block);
        return;
    }
    free_unknown(block);
}

bool hk_front_has_class(const struct hk_span *span, size_t class) {
    return span->class == class ||
           (span->coarse && hk_own_by_class[span->class] == hk_own_by_class[class]);
}

/* Whether a block may have been allocated with a size and an alignment. The size of a guarded block
 * is known exactly. Only checked mode compares the pages of a large block. Otherwise the size must
 * not exceed the block. */
static bool free_layout_matches(const struct hk_span *span, size_t size, size_t align) {
    if (span->kind == HK_SPAN_GUARDED)
        return size == span->bytes;
    if (!hk_front_has_class(span, hk_class_of_layout(size, align)))
        return false;
    if (span->class != HK_CLASS_NONE)
        return true;
    return hk_option(HK_OPTION_checks) ? hk_large_may_have(span, size) : size <= span->bytes;
}

/* Does the work of hk_front_push_sized in a watched thread. */
static bool free_sized_watched(void *block, size_t size) {
    const struct hk_class_map *map = hk_class_map_get();
    size_t row = hk_class_map_find_8(map, block);
    if (row == 0 || hk_class_map_is_inside(map, row, block) ||
        size > hk_class_map_row(map, row)->block_bytes ||
        !hk_watch_push(hk_class_of_row(row), block))
        return false;

    if (hk_count_is_on())
        hk_count_freed(hk_classes[hk_class_of_row(row)].block_bytes);
    return true;
}

/* Handles a sized free that the fast path could not. A wrong size is reported. If the program goes
 * on, the block is freed with its real size. */
static void free_sized_slow(const char *function, void *block, size_t size, size_t align) {
    if (hk_unlikely(hk_watch_is_on()) && free_sized_watched(block, size))
        return;

    struct hk_span *span = hk_front_find(function, block);
    if (hk_unlikely(span == NULL))
        return;
    if (hk_option(HK_OPTION_checks) == HK_CHECKS_FULL && !hk_check(function, block))
        return;
    if (hk_unlikely(!free_layout_matches(span, size, align)))
        hk_front_report(function, span, block, HK_CAUSE_LAYOUT);
    free_block(function, span, block, HK_FRAME());
}

HK_NOINLINE void hk_dealloc_slow(void *block, size_t size, size_t align) {
    free_sized_slow("hak_dealloc", block, size, align);
}

void hak_free(void *ptr) { hk_front_free(ptr); }

void hak_free_sized(void *ptr, size_t size) {
    if (hk_unlikely(!hk_front_push_sized(ptr, size)) && ptr != NULL)
        free_sized_slow("free_sized", ptr, size, HK_MALLOC_ALIGN);
}

void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) {
    /* hak_aligned_alloc aligns at least as strictly as malloc */
    size_t align = alignment > HK_MALLOC_ALIGN ? alignment : HK_MALLOC_ALIGN;
    if (hk_unlikely(!hk_front_push_sized(ptr, size)) && ptr != NULL)
        free_sized_slow("free_aligned_sized", ptr, size, align);
}

void hak_dealloc(void *ptr, size_t size, size_t align) { hk_front_dealloc(ptr, size, align); }
