/* api/resize.c - realloc and usable size. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>
#include <string.h>

#include "../core/error.h"
#include "../core/large.h"
#include "../core/options.h"
#include "../heap/purge.h"
#include "front.h"

/* What is known of a block: its span if it is large, else its class. */
struct resize_block {
    size_t class;
    struct hk_span *span;
};

/* False, after the error was reported, if `block` is not one. In checking mode that is certain; else
 * a pointer into a slab is believed. */
static bool resize_find(const char *function, const void *block, struct resize_block *found) {
    if (hk_unlikely(hk_option(HK_OPTION_checks)) && !hk_heap_check(function, block))
        return false;
    found->span = NULL;
    found->class = hk_registry_class(block);
    if (found->class != HK_CLASS_NONE)
        return true;
    struct hk_span *span = hk_registry_find(block);
    if (hk_unlikely(span == NULL)) {
        hk_bad_pointer(function, block, HK_CAUSE_ALIEN);
        return false;
    }
    if (hk_unlikely(span->class == HK_CLASS_NONE && (uintptr_t)block != span->base)) {
        hk_bad_pointer(function, block, HK_CAUSE_INSIDE);
        return false;
    }
    if (hk_unlikely(span->class == HK_CLASS_NONE && !hk_large_is_live(span))) {
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
        return false;
    }
    found->class = span->class;
    found->span = span;
    return true;
}

static size_t resize_usable(const struct resize_block *found) {
    return found->class != HK_CLASS_NONE ? hk_classes[found->class].block_bytes
                                         : found->span->bytes;
}

/* Makes a block of a class larger where it is, if it can be. */
static bool resize_in_place(void *block, size_t class, size_t new_class, size_t size,
                            size_t align) {
    return class != HK_CLASS_NONE && ((uintptr_t)block & (align - 1)) == 0 &&
           hk_heap_extend(block, class, new_class, size);
}

/* A block stays in place while its class does, so that a sized free by the new size is right. */
static void *resize(const char *function, void *block, size_t size, size_t align) {
    struct resize_block found;
    if (!resize_find(function, block, &found)) {
        errno = EINVAL;
        return NULL;
    }
    size_t class = hk_class_of_layout(size, align);
    if (class == found.class && class != HK_CLASS_NONE)
        return block;
    if (class == HK_CLASS_NONE && found.class == HK_CLASS_NONE) {
        void *resized = hk_large_resize(found.span, size, align);
        if (resized != NULL) {
            hk_purge_balance();
            return resized;
        }
    }
    if (resize_in_place(block, found.class, class, size, align))
        return block;
    void *moved = hk_front_alloc(size, align);
    if (moved == NULL)
        return NULL;
    size_t usable = resize_usable(&found);
    memcpy(moved, block, usable < size ? usable : size);
    hk_front_free(block);
    return moved;
}

static void *resize_or_free(const char *function, void *ptr, size_t size) {
    if (ptr == NULL)
        return hk_front_malloc(size);
    if (hk_unlikely(size == 0)) {
        hk_front_free(ptr);
        return NULL;
    }
    return resize(function, ptr, size, HK_MALLOC_ALIGN);
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
    size_t class = hk_class_of_layout(old_size, align);
    if (hk_unlikely(hk_option(HK_OPTION_checks))) {
        struct resize_block found;
        bool known = resize_find("hak_realloc_layout", ptr, &found);
        if (known && found.class != class)
            hk_bad_pointer("hak_realloc_layout", ptr, HK_CAUSE_LAYOUT);
        if (!known || found.class != class) {
            errno = EINVAL;
            return NULL;
        }
    }
    if (class == HK_CLASS_NONE)
        return resize("hak_realloc_layout", ptr, new_size, align);
    size_t new_class = hk_class_of_layout(new_size, align);
    if (class == new_class || resize_in_place(ptr, class, new_class, new_size, align))
        return ptr;
    void *moved = hk_front_alloc(new_size, align);
    if (moved == NULL)
        return NULL;
    memcpy(moved, ptr, old_size < new_size ? old_size : new_size);
    hk_front_dealloc(ptr, old_size, align);
    return moved;
}

size_t hak_usable_size(const void *ptr) {
    struct resize_block found;
    if (ptr == NULL || !resize_find("malloc_usable_size", ptr, &found))
        return 0;
    return resize_usable(&found);
}
