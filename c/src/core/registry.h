/* core/registry.h - what is at an address?
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: two maps. The window answers 'which class?' for every free: one byte for each granule
 * of the 1 TiB around the first chunk. The spans answer 'which span?' on slow paths, for the whole
 * address space, in two levels.
 * Owns: both maps; leaves of the second are mapped on demand and never unmapped.
 * Threads: lookups from any thread, without a lock; changes by whoever owns the granules.
 * Boundary: hk_os_map_guarded.
 */
#ifndef HK_CORE_REGISTRY_H
#define HK_CORE_REGISTRY_H

#include "../base/atomic.h"
#include "span.h"

#define HK_WINDOW_SHIFT 40
#define HK_WINDOW_GRANULES ((size_t)1 << (HK_WINDOW_SHIFT - HK_GRANULE_SHIFT))

/* What to add to an address for its place in the window; set once, before the first block. */
extern uintptr_t hk_window_shift;                     /* atomic */
extern uint8_t hk_window_classes[HK_WINDOW_GRANULES]; /* atomic */

/* The class of the slab that `p` points into; HK_CLASS_NONE if that is not known from the window:
 * NULL, a large block, outside the window, not ours. relaxed: whoever has a pointer to a block has
 * synchronised with its allocation, which came after the byte was stored. */
HK_FAST size_t hk_registry_class(const void *p) {
    size_t granule = ((uintptr_t)p + hk_load_relaxed(&hk_window_shift)) >> HK_GRANULE_SHIFT;
    if (hk_unlikely(granule >= HK_WINDOW_GRANULES))
        return HK_CLASS_NONE;
    return hk_load_relaxed(&hk_window_classes[granule]);
}

/* The span that `p` points into (for large blocks: into their first granule); NULL if none. */
struct hk_span *hk_registry_find(const void *p);

/* Places the window around the first chunk of the process; later calls change nothing. */
void hk_registry_place_window(uintptr_t first_chunk);

/* Makes sure that a span whose base is `address` can be entered. False without memory. */
bool hk_registry_reserve(uintptr_t address);

/* Enters a span: all granules of a slab, the first of a large block. False without memory. */
bool hk_registry_enter(struct hk_span *span);
void hk_registry_remove(const struct hk_span *span);

#endif
