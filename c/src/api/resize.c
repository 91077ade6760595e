/* api/resize.c - realloc and usable size. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>

#include "../base/string.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/options.h"
#include "../core/pagemap.h"
#include "../profile/profile.h"
#include "../purge/balance.h"
#include "../thread/check.h"
#include "count.h"
#include "front.h"
#include "limit.h"
#include "own.h"

/* A block that was looked up by its address. */
struct resize_block {
    size_t class;
    struct hk_span *span; /* NULL if the class was enough */
};

static HK_SLOW bool resize_find_span(const char *function, const void *block,
                                     struct resize_block *found) {
    if (hk_unlikely(hk_bin_has_new(hk_cache_bin(hk_row_of(found->class)), block))) {
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
        return false;
    }
    if (hk_unlikely(hk_option(HK_OPTION_checks)) && !hk_check(function, block))
        return false;

    found->span = hk_front_find(function, block);
    if (hk_unlikely(found->span == NULL))
        return false;
    found->class = found->span->class;
    return true;
}

/* Finds a block and checks as far as possible that it is live: by default, that it is not one of
 * the two newest of its bin. In checked mode the result is certain. If the block is not live,
 * reports the mistake and returns false. */
HK_FAST bool resize_find(const char *function, const void *block, struct resize_block *found) {
    found->class = hk_class_map_class(block);
    found->span = NULL;
    if (hk_likely(hk_class_is_start(&hk_classes[found->class], (uintptr_t)block)) &&
        hk_likely(!hk_bin_has_new(hk_cache_bin(hk_row_of(found->class)), block)) &&
        hk_likely(!hk_option(HK_OPTION_checks)))
        return true;
    return resize_find_span(function, block, found);
}

HK_FAST size_t resize_usable(const struct resize_block *found) {
    if (found->class != HK_CLASS_NONE)
        return hk_classes[found->class].block_bytes;
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): only a small block has no span here */
    return found->span->bytes;
}

/* Whether a block of another class than its layout has the layout nevertheless: it is guarded and
 * has no class, or it comes from a private heap. */
static HK_SLOW bool resize_has_layout(const struct resize_block *found, const void *block,
                                      size_t size, size_t align) {
    const struct hk_span *span = found->span != NULL ? found->span : hk_pagemap_find(block);
    if (span == NULL)
        return false;
    if (span->kind == HK_SPAN_GUARDED)
        return span->bytes == size;
    return size <= resize_usable(found) &&
           hk_front_has_class(span, hk_class_of_layout(size, align));
}

static HK_NOINLINE void *resize_private(const struct resize_block *found, void *block, size_t used,
                                        size_t size, size_t align) {
    struct hk_own_resize old = {found->span, block, used};
    return hk_own_resize(&old, size, align);
}

/* Enlarges a block of a class in place, if possible. While the heap is profiled, it moves instead,
 * so that its growth counts as an allocation. */
static bool resize_in_place(void *block, size_t class, size_t new_class, size_t size,
                            size_t align) {
    if (hk_likely(hk_classes[class].blocks != 1) || hk_watch_number(HK_WATCHER_PROFILE) != 0 ||
        ((uintptr_t)block & (align - 1)) != 0 || !hk_heap_extend(block, class, new_class, size))
        return false;

    if (hk_count_is_on())
        hk_count_resized(hk_classes[class].block_bytes, hk_count_usable_of(block));
    return true;
}

/* Resizes a block with `used` bytes of contents. The result always has the class of its new size,
 * so that a sized free with the new size is right. */
HK_FAST void *resize(const struct resize_block *found, void *block, size_t used, size_t size,
                     size_t align) {
    size_t old_class = found->class;
    size_t class = hk_class_of_layout(size, align);
    if (class == old_class && class != HK_CLASS_NONE)
        return block;

    if (hk_unlikely(found->span != NULL) && hk_unlikely(hk_span_is_private(found->span)))
        return resize_private(found, block, used, size, align);

    if (class == HK_CLASS_NONE && old_class == HK_CLASS_NONE &&
        found->span->kind != HK_SPAN_GUARDED) {
        size_t old_bytes = found->span->bytes;
        hk_profile_resize_begin(found->span);
        void *resized = hk_large_resize(found->span, size, align);
        if (resized != NULL) {
            hk_profile_resize_end(found->span, size, HK_FRAME());
            if (hk_count_is_on())
                hk_count_resized(old_bytes, found->span->bytes);
            hk_purge_balance(HK_FREED_LARGE);
            hk_limit_tick_and_note();
            return resized;
        }
    }

    if (resize_in_place(block, old_class, class, size, align))
        return block;

    void *moved = hk_likely(hk_own_default.heap == NULL) ? hk_front_alloc(size, align)
                                                         : hk_own_alloc_outside(size, align);
    if (moved == NULL)
        return NULL;

    hk_libc_memcpy(moved, block, used < size ? used : size);
    if (found->span != NULL || hk_unlikely(!hk_bin_push(hk_cache_bin(hk_row_of(old_class)), block)))
        hk_free_slow(block);
    return moved;
}

static void *resize_or_free(const char *function, void *ptr, size_t size) {
    if (ptr == NULL)
        return hk_front_malloc(size);
    if (hk_unlikely(size == 0)) {
        hk_front_free(ptr);
        return NULL;
    }

    struct resize_block found;
    if (hk_unlikely(!resize_find(function, ptr, &found))) {
        errno = EINVAL;
        return NULL;
    }
    return resize(&found, ptr, resize_usable(&found), size, HK_MALLOC_ALIGN);
}

void *hak_realloc(void *ptr, size_t size) { return resize_or_free("realloc", ptr, size); }

void *hak_reallocarray(void *ptr, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize_or_free("reallocarray", ptr, bytes);
}

void *hak_realloc_layout(void *ptr, size_t old_size, size_t align, size_t new_size) {
    struct resize_block found;
    if (hk_unlikely(!resize_find("hak_realloc_layout", ptr, &found))) {
        errno = EINVAL;
        return NULL;
    }

    if (hk_unlikely(found.class != hk_class_of_layout(old_size, align) ||
                    old_size > resize_usable(&found)) &&
        !resize_has_layout(&found, ptr, old_size, align)) {
        hk_front_report("hak_realloc_layout", found.span, ptr, HK_CAUSE_LAYOUT);
        errno = EINVAL;
        return NULL;
    }

    return resize(&found, ptr, old_size, new_size, align);
}

size_t hak_usable_size(const void *ptr) {
    struct resize_block found;
    return ptr != NULL && resize_find("malloc_usable_size", ptr, &found) ? resize_usable(&found)
                                                                         : 0;
}
