/* api/alloc.c - malloc, calloc and layout forms. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>
#include <string.h>

#include "../guard/guard.h"
#include "../profile/profile.h"
#include "../purge/retry.h"
#include "../thread/watch.h"
#include "front.h"
#include "own.h"

/* Takes a block from the layers below. Above HK_MID_MAX, where zeroing is expensive, the result
 * also says whether the block is known to be zero. */
static struct hk_block alloc_block(size_t class, size_t size, size_t align) {
    if (class == HK_CLASS_NONE)
        return hk_slow_take_large(size, align);
    if (size > HK_MID_MAX)
        return hk_slow_take_one(class);
    return (struct hk_block){hk_slow_refill(class), false};
}

/* Handles an allocation that found no memory. Gives back cached and free memory, and tries
 * again. */
static HK_SLOW struct hk_block alloc_again(size_t class, size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    if (hk_purge_for(size))
        block = alloc_block(class, size, align);
    if (block.start == NULL)
        errno = ENOMEM;
    else
        hk_purge_helped();
    return block;
}

/* Serves an allocation that found its bin empty. */
static HK_NOINLINE void *alloc_below(size_t class, size_t size, size_t align) {
    void *block = hk_likely(class != HK_CLASS_NONE) ? hk_slow_refill(class)
                                                    : hk_slow_take_large(size, align).start;
    return hk_likely(block != NULL) ? block : alloc_again(class, size, align).start;
}

/* Takes a guarded block in a watched thread. */
static HK_NOINLINE void *alloc_guarded(size_t class, size_t size, size_t align) {
    void *block = hk_guard_alloc(size, align, HK_FRAME()).start;
    return block != NULL ? block : alloc_below(class, size, align);
}

/* Takes a sample in a watched thread. A sample is not guarded, or the profile would miss it. */
static HK_NOINLINE void *alloc_sample(size_t class, size_t size, size_t align) {
    void *block = hk_profile_sample(class, size, align, HK_FRAME()).start;
    if (block != NULL)
        return block;
    return hk_guard_count() ? alloc_guarded(class, size, align) : alloc_below(class, size, align);
}

/* Serves a thread with a default heap. It takes no samples and no guarded blocks, which would
 * outlive the heap. */
static HK_NOINLINE struct hk_block alloc_default(size_t class, size_t size, size_t align) {
    struct hak_heap *heap = hk_own_get_default();
    if (hk_unlikely(heap == NULL))
        return (struct hk_block){alloc_below(class, size, align), false};
    struct hk_block block = {NULL, false};
    if (hk_likely(hk_own_take_fast(heap, hk_own_cell_at[class], &block.start)))
        return block;
    return hk_own_alloc(heap, class, size, align);
}

/* Serves a watched thread, or one that found its bin empty. The calls are tail calls, so that the
 * stack of a sample begins with the frame of the program. */
static HK_NOINLINE void *alloc_watched(size_t class, size_t size, size_t align) {
    if (hk_unlikely(hk_own_default.heap != NULL))
        return alloc_default(class, size, align).start;
    if (hk_likely(!hk_watch_is_on()))
        return alloc_below(class, size, align);
    if (hk_unlikely(hk_profile_count(size)))
        return alloc_sample(class, size, align);
    if (hk_unlikely(hk_guard_count()))
        return alloc_guarded(class, size, align);
    void *block = hk_watch_pop(class);
    return hk_likely(block != NULL) ? block : alloc_below(class, size, align);
}

/* Serves every allocation that the front could not serve. */
static inline void *alloc_any(size_t class, size_t size, size_t align) {
    void *block = hk_bin_pop(hk_cache_bin(hk_row_of(class))); /* HK_CLASS_NONE has an empty bin */
    return hk_likely(block != NULL) ? block : alloc_watched(class, size, align);
}

HK_NOINLINE void *hk_malloc_slow(size_t size) {
    return alloc_any(hk_class_of(size), size, HK_MALLOC_ALIGN);
}

HK_NOINLINE void *hk_alloc_slow(size_t size, size_t align) {
    return alloc_any(hk_class_of_layout(size, align), size, align);
}

/* Like alloc_below, but zeroes the first `size` bytes. */
static HK_NOINLINE void *alloc_zeroed_below(size_t class, size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    if (hk_unlikely(hk_own_default.heap != NULL)) {
        block = alloc_default(class, size, align);
        if (block.start != NULL && !block.zero)
            memset(block.start, 0, size);
        return block.start;
    }

    if (hk_unlikely(hk_watch_is_on())) {
        if (hk_unlikely(hk_profile_count(size)))
            block = hk_profile_sample(class, size, align, HK_FRAME());
        if (block.start == NULL && hk_unlikely(hk_guard_count()))
            block = hk_guard_alloc(size, align, HK_FRAME());
        if (block.start == NULL)
            block.start = hk_watch_pop(class);
    }

    if (hk_likely(block.start == NULL))
        block = alloc_block(class, size, align);
    if (hk_unlikely(block.start == NULL))
        block = alloc_again(class, size, align);
    if (block.start != NULL && !block.zero)
        memset(block.start, 0, size);
    return block.start;
}

/* Allocates a block and zeroes its first `size` bytes. */
static inline void *alloc_zeroed(size_t class, size_t size, size_t align) {
    void *block = hk_bin_pop(hk_cache_bin(hk_row_of(class)));
    return hk_likely(block != NULL) ? memset(block, 0, size)
                                    : alloc_zeroed_below(class, size, align);
}

void *hak_malloc(size_t size) { return hk_front_malloc(size); }
void *hak_alloc(size_t size, size_t align) { return hk_front_alloc(size, align); }

void *hak_calloc(size_t count, size_t size) {
    size_t bytes;
    if (hk_unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    return alloc_zeroed(hk_class_of(bytes), bytes, HK_MALLOC_ALIGN);
}

void *hak_alloc_zeroed(size_t size, size_t align) {
    return alloc_zeroed(hk_class_of_layout(size, align), size, align);
}
