/* own/look.c - the contents of private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "../core/meta.h"
#include "slabs.h"

/* ---- Live blocks ----------------------------------------------------------------------------- */

/* The bits of the live blocks of one word of a slab. Under OWN. */
static uint64_t own_live(struct hak_heap *heap, const struct hk_span *slab, uint32_t index) {
    return hk_own_used(slab, index) & ~slab->bits[index / HK_WORD_BITS] &
           ~hk_own_cached(heap, slab, index);
}

/* ---- Counts ---------------------------------------------------------------------------------- */

static struct hk_own_count own_count_class(struct hak_heap *heap, size_t class) {
    struct hk_own_count count = {0, 0, 0};
    const struct hk_span *slab = heap->slabs[class];
    for (; slab != NULL; slab = hk_own_next(heap, slab)) {
        count.slabs++;
        count.live += (uint64_t)slab->bump - slab->free;
    }

    for (uint32_t i = 0; i < HK_OWN_CACHES; i++) {
        const struct hk_own_cache *cache = hk_own_cache_at(heap, i);
        if (cache != NULL)
            count.cached += hk_own_cell_count(cache, class);
    }
    count.cached = count.cached < count.live ? count.cached : count.live;
    count.live -= count.cached;
    return count;
}

static void own_count_locked(struct hak_heap *heap, struct hak_heap_stats *stats,
                             struct hk_own_count *classes) {
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_own_count count = own_count_class(heap, class);
        if (classes != NULL)
            classes[class] = count;
        stats->blocks_live += count.live;
        stats->bytes_live += count.live * hk_own_classes[class].block_bytes;
    }

    stats->blocks_live += heap->large_blocks;
    stats->bytes_live += heap->large_bytes;
    stats->bytes_large = heap->large_bytes;
    stats->bytes_slabs = heap->slab_bytes;
    stats->limit = heap->limit;
    stats->refused = heap->refused;
    stats->id = heap->id;
    memcpy(stats->name, heap->name, sizeof stats->name);
}

bool hk_own_count(struct hak_heap *heap, struct hak_heap_stats *stats,
                  struct hk_own_count classes[HK_OWN_CLASSES]) {
    memset(stats, 0, sizeof *stats);
    if (hk_own_id(heap) == 0)
        return false;
    hk_own_lock(heap);
    bool exists = heap->id != 0;
    if (exists)
        own_count_locked(heap, stats, classes);
    hk_own_unlock(heap);
    return exists;
}

/* ---- Visits ---------------------------------------------------------------------------------- */

enum { OWN_PAGE_SPANS = 510 };

/* The spans to visit. They are noted first, because no lock is held during the calls. */
struct own_page {
    struct own_page *next;
    size_t count;
    struct hk_span *spans[OWN_PAGE_SPANS];
};

static void own_free_pages(struct own_page *page) {
    while (page != NULL) {
        struct own_page *next = page->next;
        hk_meta_free(page, sizeof *page);
        page = next;
    }
}

/* Adds pages for `spans` spans to *pages. Returns false if out of memory. */
static bool own_add_pages(struct own_page **pages, size_t spans) {
    for (size_t have = 0; have < spans; have += OWN_PAGE_SPANS) {
        struct own_page *page = hk_meta_alloc(sizeof *page);
        if (page == NULL)
            return false;
        page->next = *pages;
        page->count = 0;
        *pages = page;
    }
    return true;
}

/* Notes a span. Returns false if there is no room. */
static bool own_note(struct own_page **at, struct hk_span *span) {
    if (*at != NULL && (*at)->count == OWN_PAGE_SPANS)
        *at = (*at)->next;
    if (*at == NULL)
        return false;
    (*at)->spans[(*at)->count++] = span;
    return true;
}

/* Notes the spans with live blocks. Returns the number for which there was no room. */
static size_t own_note_locked(struct hak_heap *heap, struct own_page *pages) {
    struct own_page *at = pages;
    size_t missed = 0;
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_span *slab = heap->slabs[class];
        for (; slab != NULL; slab = hk_own_next(heap, slab))
            missed += !hk_slab_is_empty(slab) && !own_note(&at, slab);
    }
    for (struct hk_span *span = heap->large; span != NULL; span = span->next)
        missed += !own_note(&at, span);
    return missed;
}

/* Notes all spans, in as many attempts as it takes to have room for them. Returns an error. */
static int own_note_all(struct hak_heap *heap, struct own_page **pages) {
    for (;;) {
        for (struct own_page *page = *pages; page != NULL; page = page->next)
            page->count = 0;
        hk_own_lock(heap);
        bool exists = heap->id != 0;
        size_t missed = exists ? own_note_locked(heap, *pages) : 0;
        hk_own_unlock(heap);

        if (!exists)
            return EINVAL;
        if (missed == 0)
            return 0;
        if (!own_add_pages(pages, missed))
            return ENOMEM;
    }
}

struct own_visitor {
    struct hak_heap *heap;
    int (*visit)(void *arg, void *block, size_t bytes);
    void *arg;
};

/* Visits the live blocks of a slab. They are noted first, because the slab may go with the last of
 * them. Returns false if the visitor stops. */
static bool own_visit_slab(const struct own_visitor *visitor, const struct hk_span *slab) {
    uint64_t live[HK_SLAB_WORDS_MAX];
    uint32_t blocks = slab->blocks;
    size_t bytes = hk_classes[slab->class].block_bytes;
    char *start = hk_slab_block(slab, 0);

    hk_own_lock(visitor->heap);
    for (uint32_t index = 0; index < blocks; index += HK_WORD_BITS)
        live[index / HK_WORD_BITS] = own_live(visitor->heap, slab, index);
    hk_own_unlock(visitor->heap);

    uint32_t index = 0;
    while ((index = hk_bits_find(live, blocks, index, true)) < blocks) {
        if (!visitor->visit(visitor->arg, start + index++ * bytes, bytes))
            return false;
    }
    return true;
}

static bool own_visit_span(const struct own_visitor *visitor, const struct hk_span *span) {
    if (span->class == HK_CLASS_NONE)
        return visitor->visit(visitor->arg, (void *)span->base, span->bytes) != 0;
    return own_visit_slab(visitor, span);
}

int hk_own_visit(struct hak_heap *heap, int (*visit)(void *arg, void *block, size_t bytes),
                 void *arg) {
    struct own_visitor visitor = {heap, visit, arg};
    struct own_page *pages = NULL;
    int error = own_note_all(heap, &pages);

    for (struct own_page *page = pages; page != NULL && error == 0; page = page->next) {
        for (size_t i = 0; i < page->count && error == 0; i++)
            error = own_visit_span(&visitor, page->spans[i]) ? 0 : ECANCELED;
    }
    own_free_pages(pages);
    return error;
}
