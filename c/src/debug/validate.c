/* debug/validate.c - checks of the invariants. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "validate.h"

#include "../core/pagemap.h"
#include "../guard/slots.h"
#include "../heap/heaps.h"
#include "../own/own.h"
#include "../thread/bins.h"
#include "../thread/recover.h"
#include "../thread/thread.h"
#include "../os/check.h"
#include "../os/os.h"
#include "../transfer/transfer.h"

enum { VALIDATE_LINE_BYTES = 160 };

struct validation {
    size_t faults;
    size_t class;         /* the class of the cached blocks */
    struct hk_heap *heap; /* the heap of the granules */
    size_t stray;         /* granules with a span of another heap */
};

static void validate_fault(struct validation *validation, const char *words, const void *where) {
    char line[VALIDATE_LINE_BYTES];
    struct hk_text text = {line, line + sizeof line - 1};
    hk_text_add(&text, "hakmem: fault: ");
    hk_text_add(&text, words);
    hk_text_add(&text, " at ");
    hk_text_add_pointer(&text, where);
    *text.at++ = '\n';
    hk_os_write_error(line, (size_t)(text.at - line));
    validation->faults++;
}

/* Returns a fault of a class of a heap, or NULL. Under the class lock. */
static const char *validate_class_locked(const struct hk_heap_class *hc, struct hk_heap *heap,
                                         size_t class) {
    uint32_t listed = 0;
    uint32_t empty = 0;
    uint64_t out = 0;
    const struct hk_span *prev = NULL;

    for (const struct hk_span *slab = hc->first; slab != NULL; slab = slab->next) {
        if (slab->prev != prev)
            return "broken list of slabs";
        if (hk_span_owner(slab) != heap || slab->class != class)
            return "slab in a foreign list";
        if (!hk_slab_valid(slab))
            return "bits of a slab differ from its counts";
        if (hk_slab_is_exhausted(slab))
            return "exhausted slab in the list";

        listed++;
        empty += hk_slab_is_empty(slab);
        out += (uint64_t)slab->bump - slab->free;
        prev = slab;
    }

    if (hc->last != prev)
        return "wrong end of the list of slabs";
    if (listed != hc->listed || listed > hc->slabs || empty != hc->empty)
        return "wrong count of slabs";
    if (hc->blocks_allocated + hc->blocks_purging !=
        out + (uint64_t)(hc->slabs - listed) * hk_classes[class].blocks)
        return "wrong count of blocks";
    return NULL;
}

/* A granule in use belongs to a span that covers it, or to no span while it changes hands. */
static uint32_t validate_granule(void *arg, uintptr_t base) {
    struct validation *validation = arg;
    const struct hk_span *span = hk_pagemap_find((const void *)base);
    if (span == NULL)
        return 1;
    uint32_t granules =
        hk_load_relaxed(&span->granules); /* relaxed: realloc may change it at the same time */

    bool covered = base >= span->base && base - span->base < granules * HK_GRANULE_BYTES;
    if (!covered || (hk_span_owner(span) != validation->heap && !hk_span_is_private(span)))
        validation->stray++;
    return covered ? granules : 1;
}

static void validate_heap(void *arg, struct hk_heap *heap) {
    struct validation *validation = arg;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hk_heap_class *hc = &heap->classes[class];
        hk_lock(&hc->lock, HK_RANK_CLASS);
        const char *fault = validate_class_locked(hc, heap, class);
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        if (fault != NULL)
            validate_fault(validation, fault, hc);
    }

    if (!hk_arena_valid(&heap->arena))
        validate_fault(validation, "bits of a chunk contradict each other", &heap->arena);

    validation->heap = heap;
    validation->stray = 0;
    hk_arena_visit(&heap->arena, validate_granule, validation);
    if (validation->stray != 0)
        validate_fault(validation, "granules in use without their span", &heap->arena);
}

static void validate_own(void *arg, struct hak_heap *heap) {
    const char *fault = hk_own_validate(heap);
    if (fault != NULL)
        validate_fault(arg, fault, heap);
}

/* Cached blocks are allocated blocks of their slabs. */
static void validate_cached(void *arg, void *const *blocks, uint32_t count) {
    struct validation *validation = arg;
    size_t class = validation->class;

    for (uint32_t i = 0; i < count; i++) {
        const struct hk_span *slab = hk_pagemap_find(blocks[i]);
        bool allocated = false;
        if (slab != NULL && slab->class == class && !hk_span_is_private(slab)) {
            struct hk_heap *heap = hk_span_owner(slab);
            hk_lock(&heap->classes[class].lock, HK_RANK_CLASS);
            allocated = hk_slab_look(slab, blocks[i]) == HK_SLAB_DONE;
            hk_unlock(&heap->classes[class].lock, HK_RANK_CLASS);
        }

        if (!allocated)
            validate_fault(validation, "cached block that is no block", blocks[i]);
    }
}

/* Checks the blocks in the calling thread's bins and in transfer caches. We enter the cache so that
 * no other thread takes blocks out of the bins, as a trim does. */
static void validate_caches(struct validation *validation, struct hk_thread *thread) {
    if (thread != NULL)
        hk_tcache_enter(thread);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        validation->class = class;
        if (thread != NULL)
            validate_cached(validation, thread->floor[class], hk_bins_count(thread, class));
        hk_transfer_each(class, validate_cached, validation);
    }
    if (thread != NULL)
        hk_tcache_leave(thread);
}

size_t hk_validate(void) {
    struct validation validation = {0, 0, NULL, 0};
    validate_caches(&validation, hk_thread_get());
    hk_heaps_each(validate_heap, &validation);
    hk_own_each(validate_own, &validation);
    if (!hk_slots_valid())
        validate_fault(&validation, "slots of guarded blocks contradict their queue", NULL);
    return validation.faults;
}
