/* core/pagemap.c - the map from addresses to spans. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "pagemap.h"

#include "../base/string.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "options.h"

enum {
    PAGEMAP_ADDRESS_BITS = 48, /* of user addresses of x86-64 and aarch64 by default */
    PAGEMAP_LEAF_BITS = 16,
    PAGEMAP_ROOT_BITS = PAGEMAP_ADDRESS_BITS - HK_GRANULE_SHIFT - PAGEMAP_LEAF_BITS,
    PAGEMAP_LEAF_SPANS = 1 << PAGEMAP_LEAF_BITS,
    CLASS_MAP_FIRST_BITS =
        17, /* granules of the first generation: 256 KiB for 8 GiB of addresses */
    CLASS_MAP_GROWTH_BITS = 3, /* each generation is at least eight times as large */
    CLASS_MAP_LAST_BITS = PAGEMAP_ADDRESS_BITS - HK_GRANULE_SHIFT, /* all addresses */
    CLASS_MAP_GENERATIONS =
        (CLASS_MAP_LAST_BITS - CLASS_MAP_FIRST_BITS + CLASS_MAP_GROWTH_BITS - 1) /
            CLASS_MAP_GROWTH_BITS +
        1,

};

/* The class map covers this many bytes above the first slab, for chunks that end up there. */
#define CLASS_MAP_ABOVE ((uintptr_t)4 << 30)

struct pagemap_leaf {
    struct hk_span *spans[PAGEMAP_LEAF_SPANS]; /* atomic */
};

static const struct hk_class_map class_map_empty;
const struct hk_class_map *hk_class_map = &class_map_empty;

static struct {
    struct hk_lock lock;                                     /* rank PAGEMAP */
    uint32_t count;                                          /* lock:PAGEMAP */
    struct hk_class_map *generations[CLASS_MAP_GENERATIONS]; /* lock:PAGEMAP; newest last */
} class_maps;

static struct pagemap_leaf *pagemap_root[1 << PAGEMAP_ROOT_BITS]; /* atomic */

/* ---- Spans ----------------------------------------------------------------------------------- */

/* Whether the pagemap covers a granule. */
static inline bool pagemap_covers(uintptr_t granule) {
    return granule >> (PAGEMAP_ROOT_BITS + PAGEMAP_LEAF_BITS) == 0;
}

/* The leaf with a granule's span, or NULL if there is none. */
static inline struct pagemap_leaf *pagemap_leaf_of(uintptr_t granule) {
    if (!pagemap_covers(granule))
        return NULL;
    /* acquire: the leaf's zeroes. It pairs with the exchange in pagemap_leaf_for. */
    return hk_load_acquire(&pagemap_root[granule >> PAGEMAP_LEAF_BITS]);
}

struct hk_span *hk_pagemap_find(const void *p) {
    uintptr_t granule = (uintptr_t)p >> HK_GRANULE_SHIFT;
    struct pagemap_leaf *leaf = pagemap_leaf_of(granule);
    if (leaf == NULL)
        return NULL;
    /* acquire: the span's constant fields. It pairs with the release in hk_pagemap_enter. */
    return hk_load_acquire(&leaf->spans[granule % PAGEMAP_LEAF_SPANS]);
}

/* The leaf for a granule. Creates it if it is missing. Returns NULL if out of memory, or if the
 * pagemap does not cover the granule. */
static struct pagemap_leaf *pagemap_leaf_for(uintptr_t granule) {
    struct pagemap_leaf *leaf = pagemap_leaf_of(granule);
    if (leaf != NULL || !pagemap_covers(granule))
        return leaf;

    struct pagemap_leaf *fresh = hk_os_map_guarded(sizeof *fresh);
    if (fresh == NULL)
        return NULL;

    struct pagemap_leaf **slot = &pagemap_root[granule >> PAGEMAP_LEAF_BITS];
    /* acq_rel: publishes the leaf, or sees another thread's. It pairs with pagemap_leaf_of. */
    if (hk_cas_acq_rel(slot, &leaf, fresh))
        return fresh;
    hk_os_unmap_guarded(fresh, sizeof *fresh);
    return leaf;
}

/* ---- The class map --------------------------------------------------------------------------- */

/* Index of a granule in a generation. It is larger than any valid index if the granule is above the
 * map's top. */
static inline uintptr_t class_map_index(const struct hk_class_map *map, uintptr_t granule) {
    return (map->top_1 >> HK_GRANULE_SHIFT) - granule;
}

static inline uintptr_t class_map_granules(const struct hk_class_map *map) {
    return map->limit_1 >> HK_GRANULE_SHIFT;
}

static inline bool class_map_covers(const struct hk_class_map *map, uintptr_t granule) {
    return class_map_index(map, granule) < class_map_granules(map);
}

/* Bytes of a mapping for a generation of 2^bits granules. */
static size_t class_map_bytes(unsigned bits) {
    return hk_round_up(sizeof(struct hk_class_map) + ((size_t)2 << bits), hk_os_page_bytes());
}

/* Copies only the classes that are set, so that pages without any stay untouched in the copy. Under
 * PAGEMAP, which protects all stores of classes. No other thread sees the copy yet. */
static void class_map_copy(struct hk_class_map *to, const struct hk_class_map *from) {
    uintptr_t granules = class_map_granules(from);
    uint64_t classes;
    for (uintptr_t i = 0; i < granules; i += sizeof classes / sizeof *from->classes) {
        memcpy(&classes, &from->classes[i], sizeof classes);
        if (classes != 0)
            memcpy(&to->classes[i], &classes, sizeof classes);
    }
}

/* Makes `fresh` the newest generation, unless another thread did so first. The caller has set its
 * const fields. The copy is made before readers can see the generation. If a fork stops this thread
 * in the middle, the child has either a complete generation that is not published, or none. */
static bool class_map_publish(struct hk_class_map *fresh) {
    hk_lock(&class_maps.lock, HK_RANK_PAGEMAP);
    uint32_t count = class_maps.count;
    const struct hk_class_map *newest = count > 0 ? class_maps.generations[count - 1] : NULL;
    bool wanted =
        count < CLASS_MAP_GENERATIONS &&
        (newest == NULL || (newest->top_1 == fresh->top_1 && newest->limit_1 < fresh->limit_1));

    if (wanted) {
        if (newest != NULL)
            class_map_copy(fresh, newest);
        class_maps.generations[count] = fresh;
        hk_fence_stores(); /* a forked child never counts a missing generation */
        class_maps.count = count + 1;
        /* release: publishes the generation. It pairs with the acquire in hk_class_map_get. */
        hk_store_release(&hk_class_map, (const struct hk_class_map *)fresh);
    }

    hk_unlock(&class_maps.lock, HK_RANK_PAGEMAP);
    return wanted;
}

void hk_pagemap_repair(void) {
    if (class_maps.count > 0) /* release: as in class_map_publish */
        hk_store_release(&hk_class_map,
                         (const struct hk_class_map *)class_maps.generations[class_maps.count - 1]);
}

/* The smallest size of a generation that covers `granule`, as a power of two of granules. */
static unsigned class_map_bits_for(uintptr_t top, uintptr_t granule) {
    uintptr_t index = (top >> HK_GRANULE_SHIFT) - 1 - granule;
    unsigned bits = CLASS_MAP_FIRST_BITS;
    while (bits < CLASS_MAP_LAST_BITS && index >> bits != 0)
        bits += CLASS_MAP_GROWTH_BITS;
    return bits < CLASS_MAP_LAST_BITS ? bits : CLASS_MAP_LAST_BITS;
}

/* Grows the class map until it covers a granule, if possible. If the granule lies above the top or
 * there is no memory, frees of its blocks find their class in the span. */
static void class_map_reach(uintptr_t granule) {
    const struct hk_class_map *map = hk_class_map_get();
    /* The end of the highest granule. */
    uintptr_t top = map->top_1 + 1;
    if (map->limit_1 == 0)
        top = (granule << HK_GRANULE_SHIFT) + CLASS_MAP_ABOVE;

    if (hk_option(HK_OPTION_checks) == HK_CHECKS_FAST)
        return;
    if (class_map_covers(map, granule) || granule >= top >> HK_GRANULE_SHIFT)
        return;

    unsigned bits = class_map_bits_for(top, granule);
    struct hk_class_map *fresh = hk_os_map_guarded(class_map_bytes(bits));
    if (fresh == NULL)
        return;

    fresh->top_1 = top - 1;
    fresh->top_8 = top - 8;
    fresh->top_16 = top - 16;
    fresh->limit_1 = (uintptr_t)1 << (bits + HK_GRANULE_SHIFT);
    fresh->limit_8 = (uintptr_t)1 << (bits + HK_GRANULE_SHIFT - 3);
    fresh->limit_16 = (uintptr_t)1 << (bits + HK_GRANULE_SHIFT - 4);

    for (size_t class = 0; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = hk_classes[class].block_bytes;
        /* Blocks start at multiples of the lowest bit of their size. */
        fresh->rows[class] = (struct hk_class_map_row){bytes, (uint16_t)((bytes & -bytes) - 1)};
    }

    if (!class_map_publish(fresh))
        hk_os_unmap_guarded(fresh, class_map_bytes(bits));
}

/* Stores the class of a slab's granules in every generation, because a reader may still use an old
 * one. If a fork stops this thread in the middle, the half-written range belongs to a slab that the
 * child has lost, so there is nothing to repair. */
static void class_map_store(const struct hk_span *slab, size_t class) {
    uintptr_t first = slab->base >> HK_GRANULE_SHIFT;
    hk_lock(&class_maps.lock, HK_RANK_PAGEMAP);
    for (uint32_t g = 0; g < class_maps.count; g++) {
        struct hk_class_map *map = class_maps.generations[g];
        for (uintptr_t granule = first; granule < first + slab->granules; granule++) {
            if (class_map_covers(map, granule)) /* relaxed: see hk_class_map_find */
                hk_store_relaxed(&map->classes[class_map_index(map, granule)],
                                 (uint16_t)hk_row_of(class));
        }
    }
    hk_unlock(&class_maps.lock, HK_RANK_PAGEMAP);
}

/* ---- Entering and removing ------------------------------------------------------------------- */

static uint32_t pagemap_granules(const struct hk_span *span) {
    return span->class == HK_CLASS_NONE && span->kind != HK_SPAN_GUARDED ? 1 : span->granules;
}

/* Whether the class map knows a span. */
static bool pagemap_has_class(const struct hk_span *span) {
    return span->class != HK_CLASS_NONE && span->kind == HK_SPAN_PLAIN && !hk_span_is_private(span);
}

bool hk_pagemap_reserve(uintptr_t address) {
    return pagemap_leaf_for(address >> HK_GRANULE_SHIFT) != NULL;
}

bool hk_pagemap_enter(struct hk_span *span) {
    uintptr_t granule = span->base >> HK_GRANULE_SHIFT;
    uint32_t count = pagemap_granules(span);
    if (!hk_pagemap_reserve(span->base) ||
        !hk_pagemap_reserve(span->base + (count - 1) * HK_GRANULE_BYTES))
        return false;

    for (uint32_t i = 0; i < count; i++) {
        struct pagemap_leaf *leaf = pagemap_leaf_of(granule + i);
        /* release: publishes the span's constant fields. It pairs with hk_pagemap_find. */
        hk_store_release(&leaf->spans[(granule + i) % PAGEMAP_LEAF_SPANS], span);
    }

    if (span->class != HK_CLASS_NONE && span->kind == HK_SPAN_PLAIN)
        class_map_reach(granule); /* also of a private heap, see hk_pagemap_publish */
    if (pagemap_has_class(span))
        class_map_store(span, span->class);
    return true;
}

void hk_pagemap_remove(const struct hk_span *span) {
    uintptr_t granule = span->base >> HK_GRANULE_SHIFT;
    uint32_t count = pagemap_granules(span);
    if (pagemap_has_class(span))
        class_map_store(span, HK_CLASS_NONE);
    for (uint32_t i = 0; i < count; i++) {
        struct pagemap_leaf *leaf = pagemap_leaf_of(granule + i);
        /* relaxed: a lookup that races with this is a use of a freed pointer */
        hk_store_relaxed(&leaf->spans[(granule + i) % PAGEMAP_LEAF_SPANS], NULL);
    }
}

void hk_pagemap_publish(const struct hk_span *slab) { class_map_store(slab, slab->class); }

void hk_pagemap_settle(void) {
    hk_lock(&class_maps.lock, HK_RANK_PAGEMAP);
    hk_unlock(&class_maps.lock, HK_RANK_PAGEMAP);
}
