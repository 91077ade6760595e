/* api/alloc.c - malloc, calloc and their layout forms. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>
#include <string.h>

#include "../core/large.h"
#include "front.h"

static HK_SLOW void *alloc_no_memory(void) {
    errno = ENOMEM;
    return NULL;
}

/* From the bin, or from below when that is empty. */
static inline void *alloc_small(size_t class) {
    void *block = hk_bin_pop(&hk_cache->bins[class]);
    if (hk_unlikely(block == NULL))
        block = hk_thread_refill(class);
    return hk_likely(block != NULL) ? block : alloc_no_memory();
}

static struct hk_block alloc_large(size_t size, size_t align) {
    struct hk_thread *thread = hk_thread_get();
    struct hk_heap *heap = thread != NULL ? thread->heap : hk_thread_any_heap();
    struct hk_block block = {NULL, false};
    if (heap != NULL)
        block = hk_large_alloc(&heap->arena, heap, size, align);
    if (block.start == NULL)
        alloc_no_memory();
    return block;
}

HK_NOINLINE void *hk_malloc_slow(size_t size) {
    size_t class = hk_class_of(size);
    if (hk_likely(class != HK_CLASS_NONE))
        return alloc_small(class);
    return alloc_large(size, HK_MALLOC_ALIGN).start;
}

HK_NOINLINE void *hk_alloc_slow(size_t size, size_t align) {
    size_t class = hk_class_of_layout(size, align);
    if (hk_likely(class != HK_CLASS_NONE))
        return alloc_small(class);
    return alloc_large(size, align).start;
}

/* A block of which the first `size` bytes are zero. A bin's blocks may hold anything; from Pool on,
 * where that saves much, a block that comes from below says whether it is zero already. */
static void *alloc_zeroed(size_t class, size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    if (class == HK_CLASS_NONE) {
        block = alloc_large(size, align);
    } else if (size <= HK_MID_MAX) {
        block.start = alloc_small(class);
    } else {
        block.start = hk_bin_pop(&hk_cache->bins[class]);
        if (block.start == NULL)
            block = hk_thread_take_one(class);
        if (block.start == NULL)
            alloc_no_memory();
    }
    if (block.start != NULL && !block.zero)
        memset(block.start, 0, size);
    return block.start;
}

HK_NOINLINE void *hk_calloc_slow(size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return alloc_no_memory();
    return alloc_zeroed(hk_class_of(bytes), bytes, HK_MALLOC_ALIGN);
}

void *hak_malloc(size_t size) { return hk_front_malloc(size); }
void *hak_calloc(size_t count, size_t size) { return hk_calloc_slow(count, size); }
void *hak_alloc(size_t size, size_t align) { return hk_front_alloc(size, align); }

void *hak_alloc_zeroed(size_t size, size_t align) {
    return alloc_zeroed(hk_class_of_layout(size, align), size, align);
}
