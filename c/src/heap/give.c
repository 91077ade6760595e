/* heap/give.c - blocks returned to their slabs. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../base/string.h"
#include "../core/dirty.h"
#include "../core/pagemap.h"
#include "../os/check.h"
#include "heaps.h"
#include "slabs.h"

/* Puts blocks into their slab. The caller counts them in `blocks_allocated`. */
HK_FAST void give_to_slab(struct hk_heap_class *hc, struct hk_span *slab,
                          const struct hk_slab_group *group, struct hk_span **released) {
    hk_slab_give_group(slab, group);
    if (hk_unlikely(slab->free == group->count || hk_slab_is_empty(slab))) {
        bool was_exhausted = slab->free == group->count && slab->bump == slab->blocks;
        hk_slabs_place(hc, slab, was_exhausted, released);
    }
}

/* The same for the block at `index`, unless it is not allocated. */
HK_FAST enum hk_slab_result give_one(struct hk_heap_class *hc, struct hk_span *slab, uint32_t index,
                                     struct hk_span **released) {
    enum hk_slab_result result = hk_slab_look_at(slab, index);
    struct hk_slab_group group = hk_slab_group_of(index);
    if (hk_likely(result == HK_SLAB_DONE))
        give_to_slab(hc, slab, &group, released);
    return result;
}

enum { GIVE_END = UINT8_MAX }; /* ends a chain of blocks with one owner */
_Static_assert(HK_BATCH_MAX < GIVE_END, "places in a batch have eight bits");

/* A batch that is being returned to the owner heaps. It lies on the stack, which may be small. */
struct give_batch {
    size_t class;
    uint32_t count;                      /* blocks */
    struct hk_span *slabs[HK_BATCH_MAX]; /* their slabs */
    uint16_t indexes[HK_BATCH_MAX];      /* their places in the slabs */
    bool mixed;                          /* several owners; only then are there chains */
    uint8_t next[HK_BATCH_MAX];          /* the next block of the same owner, or GIVE_END */
    uint8_t first[HK_HEAPS_MAX];         /* the first block of each heap, or GIVE_END */
    bool idle;                           /* see hk_heap_give_idle */
    struct hk_mistakes *mistakes;
};

/* Finds the place of each block before any lock is taken, and prefetches its bit. */
static void batch_resolve(struct give_batch *batch, void *const *blocks, uint32_t count) {
    const struct hk_class *class = &hk_classes[batch->class];
    struct hk_span *slab = NULL;
    const void *owner = NULL;
    uint32_t found = 0, owners = 0;

    for (uint32_t i = 0; i < count; i++) {
        void *block = blocks[i];
        enum hk_slab_result result = HK_SLAB_NOT_A_BLOCK;
        if (slab == NULL || (uintptr_t)block - slab->base >= slab->bytes) {
            slab = hk_slabs_find(batch->class, block);
            const void *slab_owner = slab != NULL ? hk_span_owner(slab) : owner;
            owners += slab_owner != owner;
            owner = slab_owner;
        }

        uint32_t index;
        if (hk_likely(slab != NULL))
            result = hk_slab_locate(slab, class, block, &index);
        if (hk_unlikely(result != HK_SLAB_DONE)) {
            hk_mistakes_add(batch->mistakes, block, hk_slab_causes[result]);
            continue;
        }

        hk_prefetch_for_write(&slab->bits[index / HK_WORD_BITS]);
        batch->slabs[found] = slab;
        batch->indexes[found++] = (uint16_t)index;
    }

    batch->count = found;
    batch->mixed = owners > 1;
}

/* Links the blocks of each owner into a chain, in order. Returns the number of heaps. */
static uint32_t batch_link(struct give_batch *batch) {
    uint32_t heaps = hk_heaps_count();
    memset(batch->first, GIVE_END, heaps);
    for (uint32_t i = batch->count; i-- > 0;) {
        const struct hk_heap *heap = hk_span_owner(batch->slabs[i]);
        uint8_t *first = &batch->first[heap->number];
        batch->next[i] = *first;
        *first = (uint8_t)i;
    }
    return heaps;
}

/* Delivers one block under the lock. Returns the number of blocks delivered. */
HK_FAST uint32_t batch_deliver_one(struct give_batch *batch, struct hk_heap_class *hc, uint32_t at,
                                   struct hk_span **released) {
    struct hk_span *slab = batch->slabs[at];
    uint32_t index = batch->indexes[at];
    enum hk_slab_result result = give_one(hc, slab, index, released);
    if (hk_likely(result == HK_SLAB_DONE))
        return 1;
    hk_mistakes_add(batch->mistakes, hk_slab_block(slab, index), hk_slab_causes[result]);
    return 0;
}

/* Whether a block and the next one lie in the same word of the bits of a slab. A program that frees
 * its blocks in the order of their addresses, or in the opposite order, has many of these. This
 * comes first because a group of one block costs ten instructions more than the block alone. */
HK_FAST bool batch_has_group(const struct give_batch *batch, uint32_t at) {
    return at + 1 < batch->count && batch->slabs[at] == batch->slabs[at + 1] &&
           (batch->indexes[at] ^ batch->indexes[at + 1]) < HK_WORD_BITS;
}

/* Delivers the blocks from *at on that lie in one word, and moves *at behind them. Returns the
 * number of blocks delivered. */
HK_FAST uint32_t batch_deliver_group(struct give_batch *batch, struct hk_heap_class *hc,
                                     uint32_t *at, struct hk_span **released) {
    const uint32_t count = batch->count;
    struct hk_span *slab = batch->slabs[*at];
    struct hk_slab_group group = hk_slab_group_of(batch->indexes[*at]);
    uint32_t end = *at + 1, given = 0;
    while (end < count && batch->slabs[end] == slab &&
           hk_slab_group_add(&group, batch->indexes[end]))
        end++;

    if (hk_likely(hk_slab_has_allocated(slab, &group))) {
        give_to_slab(hc, slab, &group, released);
        *at = end;
        return group.count;
    }
    while (*at < end)
        given += batch_deliver_one(batch, hc, (*at)++, released);
    return given;
}

/* Delivers all blocks of a batch with one owner. Returns the number of blocks delivered. */
HK_FAST uint32_t batch_deliver_in_order(struct give_batch *batch, struct hk_heap_class *hc,
                                        struct hk_span **released) {
    uint32_t at = 0, given = 0;
    while (at < batch->count) {
        if (batch_has_group(batch, at))
            given += batch_deliver_group(batch, hc, &at, released);
        else
            given += batch_deliver_one(batch, hc, at++, released);
    }
    return given;
}

/* Delivers all blocks that have the same owner heap as the block at `first`, under one lock.
 * Returns the slabs to release. */
static struct hk_span *batch_deliver(struct give_batch *batch, uint32_t first) {
    struct hk_heap *heap = hk_span_owner(batch->slabs[first]);
    struct hk_heap_class *hc = &heap->classes[batch->class];
    struct hk_span *released = NULL;
    uint32_t given = 0;

    hk_lock(&hc->lock, HK_RANK_CLASS);
    hc->flushes++;
    hk_slabs_note_use(hc);
    if (batch->idle)
        hc->uses_seen++; /* does not count as a use, but the class is scanned. Under PURGE. */

    if (batch->mixed) {
        for (uint32_t i = first; i != GIVE_END; i = batch->next[i])
            given += batch_deliver_one(batch, hc, i, &released);
    } else {
        given = batch_deliver_in_order(batch, hc, &released);
    }

    hc->blocks_allocated -= given;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return released;
}

static void batch_deliver_all(struct give_batch *batch) {
    if (hk_likely(!batch->mixed)) {
        if (batch->count > 0)
            hk_slabs_release(batch_deliver(batch, 0));
        return;
    }
    uint32_t heaps = batch_link(batch);
    for (uint32_t heap = 0; heap < heaps; heap++) {
        if (batch->first[heap] != GIVE_END)
            hk_slabs_release(batch_deliver(batch, batch->first[heap]));
    }
}

static void heap_give(size_t class, void *const *blocks, uint32_t count,
                      struct hk_mistakes *mistakes, bool idle) {
    struct give_batch batch;
    batch.class = class;
    batch.idle = idle;
    batch.mistakes = mistakes;

    while (count > 0) {
        uint32_t n = count < HK_BATCH_MAX ? count : HK_BATCH_MAX;
        batch_resolve(&batch, blocks, n);
        batch_deliver_all(&batch);
        blocks += n;
        count -= n;
    }

    hk_dirty_signal(); /* for pages between blocks that are still allocated */
}

void hk_heap_give(size_t class, void *const *blocks, uint32_t count, struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, false);
}

void hk_heap_give_idle(size_t class, void *const *blocks, uint32_t count,
                       struct hk_mistakes *mistakes) {
    heap_give(class, blocks, count, mistakes, true);
}

void hk_heap_give_one(const char *function, size_t class, void *block) {
    enum hk_slab_result result = HK_SLAB_NOT_A_BLOCK;
    struct hk_span *slab = hk_slabs_find(class, block);
    struct hk_span *released = NULL;
    uint32_t index;

    if (hk_likely(slab != NULL))
        result = hk_slab_locate(slab, &hk_classes[class], block, &index);
    if (hk_likely(result == HK_SLAB_DONE)) {
        struct hk_heap *heap = hk_span_owner(slab);
        struct hk_heap_class *hc = &heap->classes[class];
        hk_lock(&hc->lock, HK_RANK_CLASS);
        hk_slabs_note_use(hc);
        result = give_one(hc, slab, index, &released);
        hc->blocks_allocated -= result == HK_SLAB_DONE;
        hk_unlock(&hc->lock, HK_RANK_CLASS);
    }

    hk_slabs_release(released);
    hk_dirty_signal(); /* as in hk_heap_give */
    if (hk_unlikely(result != HK_SLAB_DONE))
        hk_heap_report(function, block, result);
}
