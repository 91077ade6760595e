/* own/give.c - frees of single blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/pagemap.h"
#include "../thread/hooks.h"
#include "slabs.h"

struct hak_heap *hk_own_of(const struct hk_span *span) {
    uintptr_t owner = (uintptr_t)hk_span_owner(span);
    /* A guarded span has a slot as its owner, which is never tagged. */
    return (owner & HK_SPAN_PRIVATE) != 0 ? (struct hak_heap *)(owner - HK_SPAN_PRIVATE) : NULL;
}

struct hak_heap *hk_own_lock_of(const struct hk_span *span, const void *block, bool *is_mistake) {
    struct hak_heap *heap = hk_own_of(span);
    *is_mistake = false;
    if (heap == NULL)
        return NULL;

    hk_own_lock(heap);
    *is_mistake = hk_pagemap_find(block) != span;
    if (!*is_mistake && hk_own_of(span) == heap)
        return heap;
    hk_own_unlock(heap);
    return NULL;
}

struct hk_own_ref hk_own_ref_of(const struct hk_span *span, const void *block) {
    bool is_mistake;
    struct hk_own_ref ref = {hk_own_lock_of(span, block, &is_mistake), 0};
    if (ref.heap != NULL) {
        ref.id = ref.heap->id;
        hk_own_unlock(ref.heap);
    }
    return ref;
}

/* What a free leaves to do without the lock. */
struct own_freed {
    struct hk_span *span; /* to release, or NULL */
    bool emptied;         /* a slab has no live blocks any more */
};

/* Puts a small block into its slab. Returns the cause of a mistake, or NULL. */
HK_FAST const char *own_give_small(struct hak_heap *heap, struct hk_span *slab, const void *block,
                                   struct own_freed *freed) {
    uint32_t index;
    if (hk_slab_locate(slab, &hk_classes[slab->class], block, &index) != HK_SLAB_DONE)
        return HK_CAUSE_ALIEN;
    if (hk_slab_look_at(slab, index) == HK_SLAB_NOT_A_BLOCK)
        return HK_CAUSE_ALIEN;
    if (hk_bit_get(slab->bits, index) || hk_own_is_cached(heap, slab, block, index))
        return HK_CAUSE_FREE;

    if (hk_unlikely(hk_slab_is_exhausted(slab))) {
        hk_own_unlink(heap, slab);
        hk_own_link(heap, slab);
    }
    hk_slab_give(slab, index);
    if (heap->limit != 0)
        heap->used -= hk_classes[slab->class].block_bytes;

    if (hk_unlikely(hk_slab_is_empty(slab)))
        *freed = (struct own_freed){hk_own_retire(heap, slab), true};
    return NULL;
}

static void own_give_large(struct hak_heap *heap, struct hk_span *span, struct own_freed *freed) {
    hk_own_unlink_large(heap, span);
    hk_pagemap_remove(span);
    heap->used -= span->bytes;
    span->next = NULL;
    freed->span = span;
}

static HK_SLOW void own_after_free(const struct own_freed *freed) {
    if (freed->span != NULL) {
        hk_own_release(freed->span);
        hk_thread_hooks.freed(freed->emptied ? HK_FREED_SMALL : HK_FREED_LARGE);
    }
    hk_dirty_signal();
}

bool hk_own_free_fast(struct hk_span *span, void *block) {
    struct hak_heap *heap = hk_own_of(span);
    struct own_freed freed = {NULL, false};
    if (heap == NULL || hk_unlikely(!hk_own_enter(heap)))
        return false;

    /* An overflow may have damaged the span, so we check its class before we use it as an index. */
    bool done = hk_pagemap_find(block) == span && span->class != HK_CLASS_NONE &&
                span->class < HK_CLASS_COUNT && own_give_small(heap, span, block, &freed) == NULL;
    hk_own_leave();
    if (hk_unlikely(freed.emptied))
        own_after_free(&freed);
    return done;
}

bool hk_own_free(const char *function, struct hk_span *span, void *block) {
    bool is_mistake;
    const char *cause = NULL;
    struct own_freed freed = {NULL, false};
    struct hak_heap *heap = hk_own_lock_of(span, block, &is_mistake);
    if (heap == NULL && !is_mistake)
        return false;

    if (heap == NULL)
        cause = HK_CAUSE_ALIEN;
    else if (span->class != HK_CLASS_NONE)
        cause = own_give_small(heap, span, block, &freed);
    else
        own_give_large(heap, span, &freed);
    if (heap != NULL)
        hk_own_unlock(heap);

    if (freed.span != NULL || freed.emptied)
        own_after_free(&freed);
    if (hk_unlikely(cause != NULL))
        hk_bad_pointer(function, block, cause);
    return true;
}

/* Counts a large block with other bytes than before. */
static void own_count_resize(struct hak_heap *heap, size_t bytes, size_t old_bytes) {
    heap->used += bytes - old_bytes;
    heap->large_bytes += bytes - old_bytes;
}

/* Counts a larger or smaller block before it is resized. Returns false if that would exceed the
 * limit. */
static bool own_begin_resize(const struct hk_span *span, size_t bytes) {
    bool is_mistake;
    struct hak_heap *heap = hk_own_lock_of(span, (const void *)span->base, &is_mistake);
    if (heap == NULL)
        return !is_mistake;

    bool allowed = bytes <= span->bytes || heap->limit == 0 ||
                   (heap->used <= heap->limit && heap->limit - heap->used >= bytes - span->bytes);
    if (allowed)
        own_count_resize(heap, bytes, span->bytes);
    hk_own_unlock(heap);
    return allowed;
}

/* Replaces the count by the bytes that the block has now: the old ones, or some more in reserve. */
static void own_end_resize(const struct hk_span *span, size_t counted) {
    bool is_mistake;
    struct hak_heap *heap = hk_own_lock_of(span, (const void *)span->base, &is_mistake);
    if (heap == NULL)
        return;
    own_count_resize(heap, span->bytes, counted);
    hk_own_unlock(heap);
}

void *hk_own_resize_large(struct hk_span *span, size_t size, size_t align) {
    if (size > PTRDIFF_MAX || !own_begin_resize(span, size))
        return NULL;
    void *resized = hk_large_resize(span, size, align);
    own_end_resize(span, size);
    if (resized != NULL)
        hk_thread_hooks.freed(HK_FREED_LARGE);
    return resized;
}
