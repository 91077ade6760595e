/* api/free.c - free and sized free. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <hakmem.h>

#include "../core/error.h"
#include "../core/large.h"
#include "../core/options.h"
#include "front.h"

/* A block of which the window does not know the class. */
static void free_by_span(const char *function, void *block) {
    struct hk_span *span = hk_registry_find(block);
    if (hk_unlikely(span == NULL))
        hk_bad_pointer(function, block, HK_CAUSE_ALIEN);
    else if (span->class != HK_CLASS_NONE)
        hk_thread_flush(function, span->class, block);
    else if (hk_unlikely((uintptr_t)block != span->base))
        hk_bad_pointer(function, block, HK_CAUSE_INSIDE);
    else if (hk_unlikely(!hk_large_is_live(span)))
        hk_bad_pointer(function, block, HK_CAUSE_FREE);
    else
        hk_thread_free_large(span);
}

HK_NOINLINE void hk_free_slow(void *block) {
    if (block == NULL)
        return;
    size_t class = hk_registry_class(block);
    if (class != HK_CLASS_NONE)
        hk_thread_flush("free", class, block);
    else
        free_by_span("free", block);
}

/* Checking mode: whether the block is what the caller's layout stands for. */
static bool free_layout_matches(const char *function, void *block, size_t class, size_t size) {
    if (!hk_heap_check(function, block))
        return false;
    const struct hk_span *span = hk_registry_find(block);
    bool matches = span->class == class;
    if (matches && class == HK_CLASS_NONE)
        matches = hk_large_may_have(span, size);
    if (matches)
        return true;
    hk_bad_pointer(function, block, HK_CAUSE_LAYOUT);
    return false;
}

/* A sized free that the bin could not take. */
static void free_sized_slow(const char *function, void *block, size_t size, size_t align) {
    size_t class = hk_class_of_layout(size, align);
    if (hk_option(HK_OPTION_checks) && !free_layout_matches(function, block, class, size))
        return;
    if (class == HK_CLASS_NONE)
        free_by_span(function, block);
    else if (!hk_bin_push(&hk_cache->bins[class], block))
        hk_thread_flush(function, class, block);
}

HK_NOINLINE void hk_dealloc_slow(void *block, size_t size, size_t align) {
    free_sized_slow("hak_dealloc", block, size, align);
}

void hak_free(void *ptr) { hk_front_free(ptr); }

void hak_free_sized(void *ptr, size_t size) {
    if (ptr == NULL)
        return;
    if (!hk_bin_push(hk_front_bin(size, HK_MALLOC_ALIGN), ptr))
        free_sized_slow("free_sized", ptr, size, HK_MALLOC_ALIGN);
}

void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) {
    if (ptr != NULL) /* hak_aligned_alloc never gives less than malloc's alignment */
        free_sized_slow("free_aligned_sized", ptr, size,
                        alignment > HK_MALLOC_ALIGN ? alignment : HK_MALLOC_ALIGN);
}

void hak_dealloc(void *ptr, size_t size, size_t align) { hk_front_dealloc(ptr, size, align); }
