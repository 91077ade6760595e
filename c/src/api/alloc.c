/* api/alloc.c - malloc, calloc and layout forms. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>

#include "../base/string.h"
#include "../guard/guard.h"
#include "../profile/dump.h"
#include "../profile/profile.h"
#include "../purge/retry.h"
#include "../thread/watch.h"
#include "count.h"
#include "front.h"
#include "limit.h"
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

/* Handles an allocation that found no memory. Gives back cached and free memory, and tries again.
 * The callback for limits may free more. */
static HK_SLOW struct hk_block alloc_again(size_t class, size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    if (hk_purge_for(size))
        block = alloc_block(class, size, align);
    if (block.start == NULL && hk_limit_call_refused(size)) {
        hk_purge_for(size);
        block = alloc_block(class, size, align);
    }

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
    if (hk_unlikely(block == NULL))
        block = alloc_again(class, size, align).start;
    hk_limit_note();
    return block;
}

/* Like alloc_below, but the result says whether the block is known to be zero. */
static struct hk_block alloc_below_zeroed(size_t class, size_t size, size_t align) {
    struct hk_block block = alloc_block(class, size, align);
    if (hk_unlikely(block.start == NULL))
        block = alloc_again(class, size, align);
    hk_limit_tick_and_note();
    return block;
}

/* ---- Watched threads ------------------------------------------------------------------------- */

/* Serves a thread with a default heap. It takes no samples and no guarded blocks, which would
 * outlive the heap. */
static HK_NOINLINE struct hk_block alloc_private(struct hak_heap *heap, size_t class, size_t size,
                                                 size_t align) {
    struct hk_block block = {NULL, false};
    if (hk_likely(hk_own_take_fast(heap, hk_own_cell_at[class], &block.start)))
        return block;
    return hk_own_alloc(heap, class, size, align);
}

static HK_SLOW struct hk_block alloc_sample(size_t class, size_t size, size_t align,
                                            const void *frame) {
    struct hk_block block = hk_profile_sample(class, size, align, frame);
    if (block.start != NULL)
        hk_dump_after_sample();
    return block;
}

/* Takes a sample, a guarded block, or a block of the thread's own bin. Its start is NULL if there
 * is none. A sample is not guarded, or the profile would miss it. `frame` is the frame of a
 * function that the program called. */
static inline struct hk_block alloc_special(size_t class, size_t size, size_t align,
                                            const void *frame) {
    struct hk_block block = {NULL, false};
    if (hk_unlikely(hk_profile_count(size)))
        block = alloc_sample(class, size, align, frame);
    if (block.start == NULL && hk_unlikely(hk_guard_count()))
        block = hk_guard_alloc(size, align, frame);
    if (block.start == NULL)
        block.start = hk_watch_pop(class);
    return block;
}

/* Serves a watched thread. Private blocks are already counted. */
static HK_NOINLINE void *alloc_watched(size_t class, size_t size, size_t align) {
    struct hak_heap *heap = hk_own_get_default();
    if (hk_unlikely(heap != NULL))
        return alloc_private(heap, class, size, align).start;

    void *block = alloc_special(class, size, align, HK_FRAME()).start;
    if (hk_unlikely(block == NULL))
        block = alloc_below(class, size, align);
    hk_count_block(block);
    return block;
}

/* ---- Slow paths ------------------------------------------------------------------------------ */

/* Serves an allocation that found no block in the current cache. */
static HK_NOINLINE void *alloc_slow(size_t class, size_t size, size_t align) {
    return hk_likely(!hk_watch_is_on()) ? alloc_below(class, size, align)
                                        : alloc_watched(class, size, align);
}

/* Serves every allocation that the front could not serve. The calls are tail calls, so that the
 * stack of a sample begins with the frame of the program. */
static inline void *alloc_any(size_t class, size_t size, size_t align) {
    void *block = hk_bin_pop(hk_cache_bin(hk_row_of(class))); /* HK_CLASS_NONE has an empty bin */
    return hk_likely(block != NULL) ? block : alloc_slow(class, size, align);
}

HK_NOINLINE void *hk_malloc_slow(size_t size) {
    return alloc_any(hk_class_of(size), size, HK_MALLOC_ALIGN);
}

HK_NOINLINE void *hk_alloc_slow(size_t size, size_t align) {
    return alloc_any(hk_class_of_layout(size, align), size, align);
}

/* Allocates a block and zeroes its first `size` bytes. */
static HK_NOINLINE void *alloc_zeroed_slow(size_t class, size_t size, size_t align) {
    struct hk_block block = {NULL, false};
    struct hak_heap *heap = NULL;
    if (hk_unlikely(hk_watch_is_on())) {
        heap = hk_own_get_default();
        block = heap != NULL ? alloc_private(heap, class, size, align)
                             : alloc_special(class, size, align, HK_FRAME());
    }

    if (hk_likely(block.start == NULL) && hk_likely(heap == NULL))
        block = alloc_below_zeroed(class, size, align);
    if (block.start != NULL && !block.zero)
        hk_libc_memset(block.start, 0, size);
    if (hk_likely(heap == NULL))
        hk_count_block(block.start);
    return block.start;
}

static inline void *alloc_zeroed(size_t class, size_t size, size_t align) {
    void *block = hk_bin_pop(hk_cache_bin(hk_row_of(class)));
    return hk_likely(block != NULL) ? hk_libc_memset(block, 0, size)
                                    : alloc_zeroed_slow(class, size, align);
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
