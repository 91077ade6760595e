/* core/registry.h - the pagemap: what is at an address?
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: two maps. The class map answers "which class?" for every free: one byte for each granule,
 * indexed by the distance below a fixed address shortly above the first slab. Mappings of Linux grow
 * downwards, so the map grows with the heap. The pagemap proper answers "which span?" on slow paths, for
 * the whole address space, in two levels.
 * Owns: both maps. Leaves of the pagemap and generations of the class map are mapped on demand and never
 * unmapped.
 * Threads: lookups from any thread, without a lock. Each granule is changed by its owner only. Takes
 * PAGEMAP while it stores classes, never while it maps.
 * Boundary: hk_os_map_guarded, hk_os_unmap_guarded; the option checks.
 */
#ifndef HK_CORE_REGISTRY_H
#define HK_CORE_REGISTRY_H

#include "../base/atomic.h"
#include "span.h"

/* One generation of the class map. A lookup of a block aligned to A takes (top - p), rotates it by log2(A)
 * and compares it with the limit in units of A, so that one comparison finds pointers that are above, too
 * far below, or not aligned. */
struct hk_class_map {
    size_t block_bytes[HK_CLASS_COUNT]; /* const; as in hk_classes, at hand for sized frees */
    /* const; the last unit of 16 or 8 bytes in the highest granule, and units that are covered. Every free
     * reads them, so they keep off the start of the page, whose cache sets page-aligned blocks compete for. */
    uintptr_t top_16;
    uintptr_t limit_16;
    uintptr_t top_8;
    uintptr_t limit_8;
    uint8_t classes[]; /* atomic */
};

/* The newest generation; before the first slab, an empty one. */
extern const struct hk_class_map *hk_class_map; /* atomic */

HK_FAST const struct hk_class_map *hk_class_map_get(void) {
    /* acquire: the const fields and copied classes; pairs with the release in class_map_publish */
    return hk_load_acquire(&hk_class_map);
}

/* The class of the slab that `p`, aligned to 2^align_bits (8 or 16), points into. HK_CLASS_NONE if the map
 * does not know: NULL, a large block, too far away, not ours, or not aligned. */
HK_FAST size_t hk_class_map_find(const struct hk_class_map *map, const void *p,
                                 unsigned align_bits) {
    uintptr_t distance = (align_bits == 4 ? map->top_16 : map->top_8) - (uintptr_t)p;
    distance = distance >> align_bits | distance << (sizeof distance * 8 - align_bits);
    if (hk_unlikely(distance >= (align_bits == 4 ? map->limit_16 : map->limit_8)))
        return HK_CLASS_NONE;
    /* relaxed: a thread that has a pointer to a block has synchronised with its allocation, which came
     * after the byte was stored in this generation, or in an older one that was copied */
    return hk_load_relaxed(&map->classes[distance >> (HK_GRANULE_SHIFT - align_bits)]);
}

/* The class for a block that is aligned as malloc's are. */
HK_FAST size_t hk_registry_class(const void *p) {
    return hk_class_map_find(hk_class_map_get(), p, 4);
}

/* The span that `p` points into (for large blocks: into their first granule); NULL if none. */
struct hk_span *hk_registry_find(const void *p);

/* Makes sure that a span whose base is `address` can be entered. False without memory. */
bool hk_registry_reserve(uintptr_t address);

/* Enters a span: all granules of a slab, the first of a large block. False without memory. */
bool hk_registry_enter(struct hk_span *span);
void hk_registry_remove(const struct hk_span *span);

#endif
