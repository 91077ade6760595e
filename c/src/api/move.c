/* api/move.c - resizing of blocks of private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../base/string.h"
#include "count.h"
#include "front.h"
#include "limit.h"
#include "own.h"

void *hk_own_move(const struct hk_own_resize *old, void *moved, size_t size) {
    if (moved == NULL)
        return NULL;
    hk_libc_memcpy(moved, old->block, old->used < size ? old->used : size);
    hk_free_slow(old->block);
    return moved;
}

void *hk_own_alloc_outside(size_t size, size_t align) {
    struct hk_own_default suspended = hk_own_suspend_default();
    void *block = hk_front_alloc(size, align);
    hk_own_resume_default(suspended);
    return block;
}

/* Allocates a block in the heap of another one, or outside of all if that was merged. */
static void *move_alloc(const struct hk_own_resize *old, size_t size, size_t align) {
    struct hk_own_request request = {hk_own_ref_of(old->span, old->block), true,
                                     hk_class_of_layout(size, align), size, align};
    bool gone = request.ref.heap == NULL;
    struct hk_block block = {NULL, false};
    if (!gone)
        block = hk_own_request(&request, &gone);
    return gone ? hk_own_alloc_outside(size, align) : block.start;
}

void *hk_own_resize(const struct hk_own_resize *old, size_t size, size_t align) {
    size_t class = hk_class_of_layout(size, align);
    bool is_large = old->span->class == HK_CLASS_NONE;
    if (class != HK_CLASS_NONE && hk_own_by_class[class] == hk_own_by_class[old->span->class])
        return old->block;

    if (class == HK_CLASS_NONE && is_large) {
        size_t old_bytes = old->span->bytes;
        void *resized = hk_own_resize_large(old->span, size, align);
        if (resized != NULL) {
            if (hk_count_is_on())
                hk_count_resized(old_bytes, old->span->bytes);
            hk_limit_tick_and_note();
            return resized;
        }
    }
    return hk_own_move(old, move_alloc(old, size, align), size);
}
