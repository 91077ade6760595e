/* core/pagemap.h - the map from addresses to classes and spans.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: two maps. The class map gives every free the class of its block. It has two bytes for
 * each granule, indexed by the distance below a fixed address shortly above the first slab.
 * Mappings of Linux grow downwards, so the map grows with the heap. The pagemap proper gives slow
 * paths the span of an address. It covers the whole address space in two levels.
 * Owns: both maps. Leaves of the pagemap and generations of the class map are mapped on demand and
 * never unmapped.
 * Threads: lookups from any thread, without a lock. Each granule is changed by its owner only.
 * Takes PAGEMAP while it stores classes, never while it maps.
 * Boundary: hk_os_map_guarded, hk_os_unmap_guarded, the option checks.
 */
#ifndef HK_CORE_PAGEMAP_H
#define HK_CORE_PAGEMAP_H

#include "../base/atomic.h"
#include "span.h"

/* One generation of the class map. A lookup compares the distance of a pointer below the top with
 * the limit, so that one comparison finds pointers above the map and pointers too far below. Sized
 * frees rotate the distance by 3 or 4 before that, which moves pointers that are not aligned to 8
 * or 16 bytes out of range. */
struct hk_class_map {
    struct hk_class_map_row {
        size_t block_bytes; /* const; as in hk_classes, at hand for sized frees */
        uint16_t inside;    /* const; bits of an address that are 0 at the start of any block */
    } rows[HK_CLASS_COUNT];
    /* const; the last byte and the last units of 8 and 16 bytes of the highest granule, and the
     * size of the covered range in such units. Every free reads them, so they are not at the start
     * of the page, where page-aligned blocks compete for cache sets. */
    uintptr_t top_1;
    uintptr_t limit_1;
    uintptr_t top_8;
    uintptr_t limit_8;
    uintptr_t top_16;
    uintptr_t limit_16;
    uint16_t classes[]; /* atomic; offsets of rows */
};
_Static_assert(sizeof(struct hk_class_map_row) == HK_ROW_BYTES, "an offset serves bins and rows");

/* The newest generation, or an empty one before the first slab. */
extern const struct hk_class_map *hk_class_map; /* atomic */

HK_FAST const struct hk_class_map *hk_class_map_get(void) {
    /* acquire: const fields and copied classes. It pairs with the release in class_map_publish. */
    return hk_load_acquire(&hk_class_map);
}

/* Loads the row of a granule's class. relaxed: a thread that has a pointer to a block has
 * synchronised with its allocation, which came after the row was stored in this generation, or in
 * an older one that was copied */
HK_FAST size_t hk_class_map_load(const struct hk_class_map *map, uintptr_t index) {
    /* In bytes, because gcc 12 needs one more instruction for an index into the array. */
    const char *classes = (const char *)map + offsetof(struct hk_class_map, classes);
    return hk_load_relaxed(
        (const uint16_t *)(const void *)(classes + index * sizeof *map->classes));
}

/* Looks up a distance below the top. It is rotated into units of 1 << shift bytes, so that one that
 * is no multiple of the unit leaves the range. */
HK_FAST size_t hk_class_map_find_units(const struct hk_class_map *map, uintptr_t distance,
                                       uintptr_t limit, unsigned shift) {
    unsigned bits = sizeof distance * 8;
    distance = distance >> shift | distance << ((bits - shift) % bits);
    if (hk_unlikely(distance >= limit))
        return hk_row_of(HK_CLASS_NONE);
    return hk_class_map_load(map, distance >> (HK_GRANULE_SHIFT - shift));
}

/* The row of the slab that `p` points into. The row of HK_CLASS_NONE if the map does not know it,
 * as for NULL, a large block, or a pointer that is too far away or not ours. */
HK_FAST size_t hk_class_map_find(const struct hk_class_map *map, const void *p) {
    return hk_class_map_find_units(map, map->top_1 - (uintptr_t)p, map->limit_1, 0);
}

/* The same, and the row of HK_CLASS_NONE for a pointer that is not aligned to 8 or 16 bytes. */
HK_FAST size_t hk_class_map_find_8(const struct hk_class_map *map, const void *p) {
    return hk_class_map_find_units(map, map->top_8 - (uintptr_t)p, map->limit_8, 3);
}

HK_FAST size_t hk_class_map_find_16(const struct hk_class_map *map, const void *p) {
    return hk_class_map_find_units(map, map->top_16 - (uintptr_t)p, map->limit_16, 4);
}

HK_FAST const struct hk_class_map_row *hk_class_map_row(const struct hk_class_map *map,
                                                        size_t row) {
    return (const struct hk_class_map_row *)(const void *)((const char *)map->rows + row);
}

/* Whether `p` cannot be the start of a block of a class, as far as its alignment shows. */
HK_FAST bool hk_class_map_is_inside(const struct hk_class_map *map, size_t row, const void *p) {
    return ((uint16_t)(uintptr_t)p & hk_class_map_row(map, row)->inside) != 0;
}

HK_FAST size_t hk_class_map_class(const void *p) {
    return hk_class_of_row(hk_class_map_find(hk_class_map_get(), p));
}

/* The span that `p` points into, or NULL. A large block is found only by its first granule. Takes
 * no lock, and may be called in a signal handler. */
struct hk_span *hk_pagemap_find(const void *p);

/* Makes sure that a span with the base `address` can be entered. Returns false if out of memory. */
bool hk_pagemap_reserve(uintptr_t address);

/* Enters a span: all granules of a slab or of a guarded one, the first of a large block. Returns
 * false if out of memory. */
bool hk_pagemap_enter(struct hk_span *span);
void hk_pagemap_remove(const struct hk_span *span);

/* Stores the class of a slab that has left its private heap. The pagemap has the slab already. */
void hk_pagemap_publish(const struct hk_span *slab);

/* Waits until the class map has every class of a hk_pagemap_publish of which the caller has seen a
 * part. The owners of these slabs are then seen, too. */
void hk_pagemap_settle(void);

/* Publishes the newest generation of the class map, after the PAGEMAP lock was taken over from a
 * thread that stopped in the middle. Under the lock, in a forked child. */
void hk_pagemap_repair(void);

#endif
