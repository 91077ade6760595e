/* heap/scan.c - decay of the free memory of a heap. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "scan.h"

#include "../os/os.h"
#include "slabs.h"

enum {
    SCAN_SLABS_PER_CALL = 64, /* Visits of slabs that count as one system call. */
    SCAN_SPARSE_PART = 4,     /* A huge page is broken up for a slab that is 1/4 free. */
};

/* Takes the empty slabs out of the list. Under the lock. */
static struct hk_span *scan_detach_empty(struct hk_heap_class *hc, struct hk_span *released) {
    for (struct hk_span *slab = hc->first; slab != NULL && hc->empty > 0;) {
        struct hk_span *next = slab->next;
        if (hk_slab_is_empty(slab)) {
            hk_slabs_remove(hc, slab);
            hk_sub_locked(&hc->slabs, 1);
            hc->empty--;
            slab->next = released;
            released = slab;
        }
        slab = next;
    }
    return released;
}

/* Releases the empty slabs of a class that was not used since the last scan. */
static void scan_rest(struct hk_heap_class *hc, struct hk_scan *scan) {
    struct hk_span *released = NULL;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    bool rests = scan->which == HK_PURGE_ALL || hc->uses == hc->uses_seen;
    hc->uses_seen = hc->uses;

    scan->waiting_before = scan->waiting;
    if (rests && hc->empty > 0)
        released = scan_detach_empty(hc, released);

    scan->waiting += hc->empty;
    scan->left = hc->listed;
    hc->scan = hc->first;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    hk_slabs_release(released);
}

/* Whether a slab lies in a huge page and is mostly in use. We do not break up a huge page for a few
 * free pages. */
static bool scan_keeps_pages(const struct hk_span *slab, enum hk_purge which) {
    uint32_t granule = hk_chunk_run(slab->chunk, slab->base, slab->granules).start;
    return which == HK_PURGE_DECAYED && hk_chunk_asks_at(slab->chunk, granule) &&
           slab->free < slab->blocks / SCAN_SPARSE_PART;
}

/* Gives back the OS pages that lie entirely within the blocks of a slab that `bits` selects. */
static void scan_purge_pages(const struct hk_span *slab, const uint64_t *bits,
                             struct hk_scan *scan) {
    size_t block_bytes = hk_classes[slab->class].block_bytes;
    size_t page = hk_os_page_bytes();

    for (uint32_t at = 0; at < slab->blocks;) {
        struct hk_run run = hk_bits_run(bits, slab->blocks, at, true);
        at = run.start + run.count;
        uintptr_t start = hk_round_up(slab->base + run.start * block_bytes, page);
        uintptr_t end = (slab->base + at * block_bytes) & ~(page - 1);
        if (run.count == 0 || start >= end)
            continue;

        hk_arena_break_huge(slab->chunk, slab->base, slab->granules);
        bool done = hk_os_purge((void *)start, end - start);
        scan->purged_bytes += done ? end - start : 0;
        hk_purge_spend(&scan->budget, 1, done ? end - start : 0);
    }
}

/* Puts back the blocks that the purge took while it gave their pages back. Under the lock. */
void hk_heap_end_purge(struct hk_heap *heap, struct hk_span **released) {
    struct hk_span *slab = hk_heap_purging(heap);
    struct hk_heap_class *hc = &heap->classes[slab->class];
    bool was_exhausted = hk_slab_is_exhausted(slab);
    uint32_t free_before = slab->free;

    hk_slab_give_all(slab, heap->purging_bits);
    hk_fence_stores();                      /* a forked child undoes a purge or finds it undone */
    hk_store_relaxed(&heap->purging, NULL); /* relaxed: the fence orders it */

    hc->blocks_purging -= slab->free - free_before;
    hk_slabs_place(hc, slab, was_exhausted, released);
}

/* Purges the free pages of a slab. It takes the free blocks while it works, so that no thread gets
 * one while the lock is not held. The slab cannot become empty either, so it is not released.
 * Called with the lock held, and returns with the lock held. */
static void scan_purge_slab(struct hk_heap *heap, struct hk_span *slab, struct hk_scan *scan,
                            struct hk_span **released) {
    struct hk_heap_class *hc = &heap->classes[slab->class];
    uint32_t taken = hk_slab_take_all(slab, heap->purging_bits);
    if (taken == 0)
        return;

    hk_fence_stores();                      /* as in hk_heap_end_purge */
    hk_store_relaxed(&heap->purging, slab); /* relaxed: the fence orders it */
    hc->blocks_purging += taken;
    if (hk_slab_is_exhausted(slab))
        hk_slabs_remove(hc, slab);
    hk_unlock(&hc->lock, HK_RANK_CLASS);

    scan_purge_pages(slab, heap->purging_bits, scan);

    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_heap_end_purge(heap, released);
}

/* Whether this scan should give back the free pages of a slab. */
static bool scan_wants_purge(struct hk_span *slab, struct hk_scan *scan) {
    if (hk_slab_is_empty(slab) || slab->scans == HK_SLAB_PURGED ||
        scan_keeps_pages(slab, scan->which))
        return false;
    slab->scans++;
    if (slab->scans < HK_SLAB_DECAYED && scan->which != HK_PURGE_ALL) {
        scan->waiting++;
        return false;
    }
    slab->scans = HK_SLAB_PURGED;
    return true;
}

/* Visits each slab in the list once. When the slab at the current position leaves the list, the
 * position moves to the next one. So other threads may work in between, and the scan can resume
 * where it stopped. An idle slab is not written to, because a forked child may share its memory. */
static void scan_slabs(struct hk_heap *heap, size_t class, struct hk_scan *scan) {
    struct hk_heap_class *hc = &heap->classes[class];
    struct hk_span *released = NULL;
    hk_lock(&hc->lock, HK_RANK_CLASS);

    while (scan->left > 0 && hc->scan != NULL && !hk_purge_is_spent(&scan->budget)) {
        struct hk_span *slab = hc->scan;
        hc->scan = slab->next;
        if (scan_wants_purge(slab, scan))
            scan_purge_slab(heap, slab, scan, &released);
        scan->left--;
        hk_purge_spend(&scan->budget, scan->left % SCAN_SLABS_PER_CALL == 0, 0);

        /* Give other threads a chance to take the lock. */
        hk_unlock(&hc->lock, HK_RANK_CLASS);
        hk_lock(&hc->lock, HK_RANK_CLASS);
    }

    if (hc->scan == NULL)
        scan->left = 0;
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    hk_slabs_release(released);
}

/* Whether a class was not used since a scan that found nothing in it to give back now or later. The
 * scan skips such a class without its lock, because it should not write to idle memory that a
 * forked child may share. */
static bool scan_class_is_idle(const struct hk_heap_class *hc, const struct hk_scan *scan) {
    /* relaxed: a scan that misses a use now sees it the next time */
    return scan->which == HK_PURGE_DECAYED && hk_load_relaxed(&hc->uses) == hc->uses_idle;
}

/* Starts or resumes the scan of the slabs of a class. */
static void scan_class(struct hk_heap *heap, struct hk_scan *scan) {
    struct hk_heap_class *hc = &heap->classes[scan->class];
    if (scan->left > 0)
        scan_slabs(heap, scan->class, scan);
    if (scan->left == 0 && scan->waiting == scan->waiting_before)
        hc->uses_idle = hc->uses_seen;
}

bool hk_heap_scan(struct hk_heap *heap, struct hk_scan *scan) {
    if (scan->class == 0)
        hk_arena_obey_huge_mode(&heap->arena);

    while (scan->class < HK_CLASS_COUNT) {
        if (scan->left == 0) {
            if (++scan->class == HK_CLASS_COUNT)
                break;
            if (scan_class_is_idle(&heap->classes[scan->class], scan))
                continue;
            scan_rest(&heap->classes[scan->class], scan);
        }

        scan_class(heap, scan);
        if (hk_purge_is_spent(&scan->budget))
            return false;
    }

    scan->purged_bytes += hk_arena_purge(&heap->arena, scan->which, &scan->budget);
    if (hk_purge_is_spent(&scan->budget))
        return false;

    scan->class = 0;
    return true;
}
