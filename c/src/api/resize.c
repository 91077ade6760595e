/* api/resize.c - realloc and usable size. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>
#include <string.h>

#include "../core/error.h"
#include "../core/large.h"
#include "../core/options.h"
#include "../heap/purge.h"
#include "front.h"

/* The span of a block that is live as far as can be seen; in checked mode that is certain. NULL, after the
 * mistake was reported, if it is not. */
static struct hk_span *resize_find(const char *function, const void *block) {
    if (hk_unlikely(hk_option(HK_OPTION_checks)) && !hk_heap_check(function, block))
        return NULL;
    return hk_front_find(function, block);
}

static size_t resize_usable(const struct hk_span *span) {
    return span->class != HK_CLASS_NONE ? hk_classes[span->class].block_bytes : span->bytes;
}

/* Makes a block of a class larger where it is, if it can be. */
static bool resize_in_place(void *block, size_t class, size_t new_class, size_t size,
                            size_t align) {
    return class != HK_CLASS_NONE && ((uintptr_t)block & (align - 1)) == 0 &&
           hk_heap_extend(block, class, new_class, size);
}

/* Resizes a block of which the first `used` bytes count. It stays in place while its class does, so that a
 * sized free by the new size is right. */
static void *resize(struct hk_span *span, void *block, size_t used, size_t size, size_t align) {
    size_t old_class = span->class;
    size_t class = hk_class_of_layout(size, align);
    if (class == old_class && class != HK_CLASS_NONE)
        return block;
    if (class == HK_CLASS_NONE && old_class == HK_CLASS_NONE) {
        void *resized = hk_large_resize(span, size, align);
        if (resized != NULL) {
            hk_purge_balance();
            return resized;
        }
    }
    if (resize_in_place(block, old_class, class, size, align))
        return block;
    void *moved = hk_front_alloc(size, align);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, used < size ? used : size);
    if (hk_unlikely(!hk_front_push_sized(block, 0)))
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
    struct hk_span *span = resize_find(function, ptr);
    if (hk_unlikely(span == NULL)) {
        errno = EINVAL;
        return NULL;
    }
    return resize(span, ptr, resize_usable(span), size, HK_MALLOC_ALIGN);
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
    struct hk_span *span = resize_find("hak_realloc_layout", ptr);
    if (hk_unlikely(span == NULL)) {
        errno = EINVAL;
        return NULL;
    }
    if (hk_unlikely(span->class != hk_class_of_layout(old_size, align) ||
                    old_size > resize_usable(span))) {
        hk_bad_pointer("hak_realloc_layout", ptr, HK_CAUSE_LAYOUT);
        errno = EINVAL;
        return NULL;
    }
    return resize(span, ptr, old_size, new_size, align);
}

size_t hak_usable_size(const void *ptr) {
    const struct hk_span *span = ptr != NULL ? resize_find("malloc_usable_size", ptr) : NULL;
    return span != NULL ? resize_usable(span) : 0;
}
