/* own/give.c - frees of single blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/dirty.h"
#include "../core/error.h"
#include "../core/large.h"
#include "../core/pagemap.h"
#include "../thread/hooks.h"
#include "slabs.h"

/* A part gets another heap only after its spans have another owner. */
struct hak_heap *hk_own_of(const struct hk_span *span) {
    struct hk_own_part *part;
    struct hak_heap *heap;
    do {
        part = hk_own_part_of(span);
        /* acquire: the new owner of the span. It pairs with the release in
         * own_begin_part_locked. */
        heap = part != NULL ? hk_load_acquire(&part->heap) : NULL;
    } while (hk_own_part_of(span) != part);
    return heap;
}

/* An empty slab may move to another part meanwhile, with a block that is freed twice. */
struct hk_own_part *hk_own_lock_of(const struct hk_span *span, const void *block,
                                   bool *is_mistake) {
    struct hk_own_part *part;
    *is_mistake = false;
    while (!*is_mistake && (part = hk_own_part_of(span)) != NULL) {
        hk_own_lock(part);
        *is_mistake = hk_pagemap_find(block) != span;
        if (!*is_mistake && hk_own_part_of(span) == part)
            return part;
        hk_own_unlock(part);
    }
    return NULL;
}

/* A heap that is being merged has no id any more. */
struct hk_own_ref hk_own_ref_of(const struct hk_span *span, const void *block) {
    bool is_mistake;
    struct hk_own_ref ref = {NULL, 0};
    struct hk_own_part *part = hk_own_lock_of(span, block, &is_mistake);
    if (part == NULL)
        return ref;

    ref.heap = hk_peek(&part->heap);
    ref.id = hk_own_id(ref.heap);
    hk_own_unlock(part);
    if (ref.id == 0)
        ref.heap = NULL;
    return ref;
}

/* What a free leaves to do without the lock. */
struct own_freed {
    struct hk_span *span; /* to release, or NULL */
    bool emptied;         /* a slab has no live blocks any more */
};

/* Puts a small block into its slab. Returns the cause of a mistake, or NULL. */
HK_FAST const char *own_give_small(struct hk_own_part *part, struct hk_span *slab,
                                   const void *block, struct own_freed *freed) {
    uint32_t index;
    if (hk_slab_locate(slab, &hk_classes[slab->class], block, &index) != HK_SLAB_DONE)
        return HK_CAUSE_ALIEN;
    if (hk_slab_look_at(slab, index) == HK_SLAB_NOT_A_BLOCK)
        return HK_CAUSE_ALIEN;
    if (hk_bit_get(slab->bits, index) || hk_own_is_cached(part, slab, block, index))
        return HK_CAUSE_FREE;

    if (hk_unlikely(hk_slab_is_exhausted(slab))) {
        hk_own_unlink(part, slab);
        hk_own_link(part, slab);
    }
    hk_slab_give(slab, index);
    if (hk_unlikely(part->limited))
        hk_own_unreserve(hk_peek(&part->heap), hk_classes[slab->class].block_bytes);

    if (hk_unlikely(hk_slab_is_empty(slab)))
        *freed = (struct own_freed){hk_own_retire(part, slab), true};
    return NULL;
}

static void own_give_large(struct hak_heap *heap, struct hk_span *span, struct own_freed *freed) {
    hk_own_unlink_large(heap, span);
    hk_pagemap_remove(span);
    hk_own_unreserve(heap, span->bytes);
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
    struct hk_own_part *part = hk_own_part_of(span);
    struct own_freed freed = {NULL, false};
    if (part == NULL)
        return false;

    bool entered = hk_own_enter(part);
    if (!entered)
        hk_own_lock_slow(part);
    /* A part that we enter without the lock keeps its spans, because to take them, other threads
     * take the bias. An overflow may have damaged the span, so we check its class before we use it
     * as an index. */
    bool done = (entered || hk_own_part_of(span) == part) && hk_pagemap_find(block) == span &&
                span->class != HK_CLASS_NONE && span->class < HK_CLASS_COUNT &&
                own_give_small(part, span, block, &freed) == NULL;
    if (entered)
        hk_own_leave();
    else
        hk_unlock(&part->lock, HK_RANK_OWN);

    if (hk_unlikely(freed.emptied))
        own_after_free(&freed);
    return done;
}

bool hk_own_free(const char *function, struct hk_span *span, void *block) {
    bool is_mistake;
    const char *cause = NULL;
    struct own_freed freed = {NULL, false};
    struct hk_own_part *part = hk_own_lock_of(span, block, &is_mistake);
    if (part == NULL && !is_mistake)
        return false;

    if (part == NULL)
        cause = HK_CAUSE_ALIEN;
    else if (span->class != HK_CLASS_NONE)
        cause = own_give_small(part, span, block, &freed);
    else
        own_give_large(hk_peek(&part->heap), span, &freed);
    if (part != NULL)
        hk_own_unlock(part);

    if (freed.span != NULL || freed.emptied)
        own_after_free(&freed);
    if (hk_unlikely(cause != NULL))
        hk_bad_pointer(function, block, cause);
    return true;
}

/* ---- Resizing of large blocks ---------------------------------------------------------------- */

struct own_resize {
    struct hk_span *span;
    struct hk_large_aim aim;
    uint64_t old_bytes;
    uint64_t counted;      /* at the limit, beside the old bytes */
    struct hk_own_ref ref; /* of the heap, if the limit refuses */
};

/* Counts the bytes that the block may have more, before it is resized. It gets a reserve only
 * within the limit. */
static bool own_count_growth(struct hk_own_part *part, struct own_resize *resize) {
    uint64_t more = 0;
    if (resize->aim.bytes > resize->old_bytes)
        more = resize->aim.bytes - resize->old_bytes;
    resize->counted = more + resize->aim.reserve;
    if (hk_own_reserve(hk_peek(&part->heap), resize->counted))
        return true;
    resize->aim.reserve = 0;
    resize->counted = more;
    return hk_own_make_room(part, more);
}

/* Returns false if the resize would exceed the limit. If the heap was merged, nothing counts. */
static bool own_begin_resize(struct own_resize *resize) {
    bool is_mistake;
    const struct hk_span *span = resize->span;
    struct hk_own_part *part = hk_own_lock_of(span, (const void *)span->base, &is_mistake);
    if (part == NULL)
        return !is_mistake;

    struct hak_heap *heap = hk_peek(&part->heap);
    bool allowed = own_count_growth(part, resize);
    resize->ref = (struct hk_own_ref){heap, hk_own_id(heap)};
    hk_own_unlock(part);
    return allowed;
}

/* Replaces the count by the bytes that the block has now, which are not more. */
static void own_end_resize(const struct own_resize *resize) {
    bool is_mistake;
    const struct hk_span *span = resize->span;
    struct hk_own_part *part = hk_own_lock_of(span, (const void *)span->base, &is_mistake);
    if (part == NULL)
        return;

    struct hak_heap *heap = hk_peek(&part->heap);
    hk_own_unreserve(heap, resize->old_bytes + resize->counted - span->bytes);
    heap->large_bytes += span->bytes - resize->old_bytes;
    hk_own_unlock(part);
}

/* A child that is forked meanwhile knows by the mark that the span may describe memory which the
 * block does not have any more, and that belongs to another block perhaps. */
static void *own_resize_marked(const struct own_resize *resize, size_t align) {
    resize->span->resizing = true;
    hk_fence_stores();
    void *resized = hk_large_resize_to(resize->span, &resize->aim, align);
    hk_fence_stores();
    resize->span->resizing = false;
    return resized;
}

void *hk_own_resize_large(struct hk_span *span, size_t size, size_t align) {
    struct own_resize resize = {.span = span, .old_bytes = span->bytes};
    if (size > PTRDIFF_MAX)
        return NULL;

    resize.aim = hk_large_aim(span, size);
    if (!own_begin_resize(&resize) &&
        (resize.ref.heap == NULL || !hk_own_flush_shared(&resize.ref) ||
         !own_begin_resize(&resize)))
        return NULL;
    void *resized = own_resize_marked(&resize, align);
    own_end_resize(&resize);
    if (resized != NULL)
        hk_thread_hooks.freed(HK_FREED_LARGE);
    return resized;
}
