/* own/look.c - the contents of private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>

#include "../base/string.h"
#include "../core/meta.h"
#include "slabs.h"

/* ---- Live blocks ----------------------------------------------------------------------------- */

/* The bits of the live blocks of one word of a slab. Under OWN. */
static uint64_t own_live(const struct hk_own_part *part, const struct hk_span *slab,
                         uint32_t index) {
    return hk_own_used(slab, index) & ~slab->bits[index / HK_WORD_BITS] &
           ~hk_own_cached(part, slab, index);
}

/* ---- Counts ---------------------------------------------------------------------------------- */

static struct hk_own_count own_count_class(struct hk_own_part *part, size_t class) {
    struct hk_own_count count = {0, 0, hk_own_cell_count(&part->cache, class)};
    const struct hk_span *slab = part->slabs[class];
    for (; slab != NULL; slab = hk_own_next(part, slab)) {
        count.slabs++;
        count.live += (uint64_t)slab->bump - slab->free;
    }
    count.cached = count.cached < count.live ? count.cached : count.live;
    count.live -= count.cached;
    return count;
}

static void own_count_part(struct hk_own_part *part, struct hak_heap_stats *stats,
                           struct hk_own_count *classes) {
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_own_count count = own_count_class(part, class);
        stats->blocks_live += count.live;
        stats->bytes_live += count.live * hk_own_classes[class].block_bytes;
        if (classes == NULL)
            continue;
        classes[class].slabs += count.slabs;
        classes[class].live += count.live;
        classes[class].cached += count.cached;
    }
    stats->bytes_slabs += part->slab_bytes;
}

/* Under the lock of the main part. */
static void own_count_heap(const struct hak_heap *heap, struct hak_heap_stats *stats) {
    stats->blocks_live += heap->large_blocks;
    stats->bytes_live += heap->large_bytes;
    stats->bytes_large = heap->large_bytes;
    stats->limit = hk_own_limit(heap);
    stats->refused = hk_stat_get(&heap->refused);
    stats->id = heap->id;
    memcpy(stats->name, heap->name, sizeof stats->name);
}

bool hk_own_count(struct hak_heap *heap, struct hak_heap_stats *stats,
                  struct hk_own_count classes[HK_OWN_CLASSES]) {
    memset(stats, 0, sizeof *stats);
    if (classes != NULL)
        memset(classes, 0, HK_OWN_CLASSES * sizeof *classes);
    if (hk_own_id(heap) == 0)
        return false;

    hk_own_lock(&heap->main);
    bool exists = heap->id != 0;
    if (exists)
        own_count_heap(heap, stats);
    hk_own_unlock(&heap->main);

    for (uint32_t i = 0; i < HK_OWN_PARTS && exists; i++) {
        struct hk_own_part *part = hk_own_part_at(heap, i);
        if (part == NULL)
            continue;
        hk_own_lock(part);
        if (hk_peek(&part->heap) == heap)
            own_count_part(part, stats, classes);
        hk_own_unlock(part);
    }
    return exists;
}

void hk_own_note_refused(const struct hk_own_ref *ref) {
    if (hk_own_id(ref->heap) == ref->id)
        hk_stat_add(&ref->heap->refused, 1);
}

/* ---- Visits ---------------------------------------------------------------------------------- */

enum { OWN_PAGE_SPANS = 255 };

/* The spans to visit. They are noted first, because no lock is held during the calls. */
struct own_page {
    struct own_page *next;
    size_t count;
    struct own_noted {
        struct hk_own_part *part;
        struct hk_span *span;
    } noted[OWN_PAGE_SPANS];
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
static bool own_note(struct own_page **at, struct hk_own_part *part, struct hk_span *span) {
    if (*at != NULL && (*at)->count == OWN_PAGE_SPANS)
        *at = (*at)->next;
    if (*at == NULL)
        return false;
    (*at)->noted[(*at)->count++] = (struct own_noted){part, span};
    return true;
}

/* Notes the spans of a part with live blocks. Returns the number for which there was no room. */
static size_t own_note_part(struct hak_heap *heap, struct hk_own_part *part, struct own_page **at) {
    size_t missed = 0;
    hk_own_lock(part);
    for (size_t class = 1; class < HK_OWN_CLASSES; ++class) {
        struct hk_span *slab = part->slabs[class];
        for (; slab != NULL; slab = hk_own_next(part, slab))
            missed += !hk_slab_is_empty(slab) && !own_note(at, part, slab);
    }
    if (part == &heap->main) {
        for (struct hk_span *span = heap->large; span != NULL; span = span->next)
            missed += !own_note(at, part, span);
    }
    hk_own_unlock(part);
    return missed;
}

/* Notes all spans, in as many attempts as it takes to have room for them. Returns an error. */
static int own_note_all(struct hak_heap *heap, struct own_page **pages) {
    for (;;) {
        struct own_page *at = *pages;
        size_t missed = 0;
        for (struct own_page *page = *pages; page != NULL; page = page->next)
            page->count = 0;
        if (hk_own_id(heap) == 0)
            return EINVAL;

        for (uint32_t i = 0; i < HK_OWN_PARTS; i++) {
            struct hk_own_part *part = hk_own_part_at(heap, i);
            missed += part != NULL ? own_note_part(heap, part, &at) : 0;
        }
        if (missed == 0)
            return 0;
        if (!own_add_pages(pages, missed))
            return ENOMEM;
    }
}

struct own_visitor {
    int (*visit)(void *arg, void *block, size_t bytes);
    void *arg;
};

/* The live blocks of a slab, as bits. A slab that another part has by now was empty in between.
 * Returns the number of blocks. */
static uint32_t own_note_live(const struct own_noted *noted, uint64_t live[HK_SLAB_WORDS_MAX]) {
    uint32_t blocks = 0;
    hk_own_lock(noted->part);
    if (hk_own_part_of(noted->span) == noted->part)
        blocks = noted->span->blocks;
    for (uint32_t index = 0; index < blocks; index += HK_WORD_BITS)
        live[index / HK_WORD_BITS] = own_live(noted->part, noted->span, index);
    hk_own_unlock(noted->part);
    return blocks;
}

/* Visits the live blocks of a slab. They are noted first, because the slab may go with the last of
 * them. Returns false if the visitor stops. */
static bool own_visit_slab(const struct own_visitor *visitor, const struct own_noted *noted) {
    uint64_t live[HK_SLAB_WORDS_MAX];
    uint32_t blocks = own_note_live(noted, live);
    if (blocks == 0)
        return true;

    size_t bytes = hk_classes[noted->span->class].block_bytes;
    char *start = hk_slab_block(noted->span, 0);
    uint32_t index = 0;
    while ((index = hk_bits_find(live, blocks, index, true)) < blocks) {
        if (!visitor->visit(visitor->arg, start + index++ * bytes, bytes))
            return false;
    }
    return true;
}

static bool own_visit_span(const struct own_visitor *visitor, const struct own_noted *noted) {
    const struct hk_span *span = noted->span;
    if (span->class == HK_CLASS_NONE)
        return visitor->visit(visitor->arg, (void *)span->base, span->bytes) != 0;
    return own_visit_slab(visitor, noted);
}

int hk_own_visit(struct hak_heap *heap, int (*visit)(void *arg, void *block, size_t bytes),
                 void *arg) {
    struct own_visitor visitor = {visit, arg};
    struct own_page *pages = NULL;
    int error = own_note_all(heap, &pages);

    for (struct own_page *page = pages; page != NULL && error == 0; page = page->next) {
        for (size_t i = 0; i < page->count && error == 0; i++)
            error = own_visit_span(&visitor, &page->noted[i]) ? 0 : ECANCELED;
    }
    own_free_pages(pages);
    return error;
}
