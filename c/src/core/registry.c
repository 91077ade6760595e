/* core/registry.c - what is at an address? SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "registry.h"

#include "../os/os.h"

enum {
    REGISTRY_ADDRESS_BITS = 48, /* user addresses of x86-64 and aarch64 unless asked for more */
    REGISTRY_LEAF_BITS = 16,
    REGISTRY_ROOT_BITS = REGISTRY_ADDRESS_BITS - HK_GRANULE_SHIFT - REGISTRY_LEAF_BITS,
    REGISTRY_LEAF_SPANS = 1 << REGISTRY_LEAF_BITS,
};

struct registry_leaf {
    struct hk_span *spans[REGISTRY_LEAF_SPANS]; /* atomic */
};

uintptr_t hk_window_shift;
uint8_t hk_window_classes[HK_WINDOW_GRANULES];

static struct registry_leaf *registry_root[1 << REGISTRY_ROOT_BITS]; /* atomic */

/* The leaf that a granule's span is in; NULL if there is none. */
static inline struct registry_leaf *registry_leaf_of(uintptr_t granule) {
    /* acquire: the leaf's zeroes; pairs with the exchange in registry_leaf_for */
    return hk_load_acquire(&registry_root[granule >> REGISTRY_LEAF_BITS]);
}

struct hk_span *hk_registry_find(const void *p) {
    uintptr_t granule = (uintptr_t)p >> HK_GRANULE_SHIFT;
    if (granule >> (REGISTRY_ROOT_BITS + REGISTRY_LEAF_BITS) != 0)
        return NULL;
    struct registry_leaf *leaf = registry_leaf_of(granule);
    if (leaf == NULL)
        return NULL;
    /* acquire: the span's constant fields; pairs with the release in hk_registry_enter */
    return hk_load_acquire(&leaf->spans[granule % REGISTRY_LEAF_SPANS]);
}

void hk_registry_place_window(uintptr_t first_chunk) {
    /* Mappings of Linux grow downwards: three quarters of the window lie below the first. */
    uintptr_t below = (UINT64_C(3) << HK_WINDOW_SHIFT) / 4;
    uintptr_t base = HK_GRANULE_BYTES; /* not 0, which would leave the window unset */
    if (first_chunk > below + base)
        base = (first_chunk - below) & ~(HK_GRANULE_BYTES - 1);
    uintptr_t unset = 0;
    /* relaxed: see hk_registry_class; it keeps its first value */
    hk_cas_relaxed(&hk_window_shift, &unset, -base);
}

/* The leaf for a granule, made if need be; NULL without memory. */
static struct registry_leaf *registry_leaf_for(uintptr_t granule) {
    struct registry_leaf *leaf = registry_leaf_of(granule);
    if (leaf != NULL)
        return leaf;
    size_t bytes = sizeof(struct registry_leaf);
    struct registry_leaf *fresh = hk_os_map_guarded(bytes);
    if (fresh == NULL)
        return NULL;
    struct registry_leaf **slot = &registry_root[granule >> REGISTRY_LEAF_BITS];
    /* acq_rel: publishes the leaf, or sees the one of another thread; pairs with registry_leaf_of */
    if (hk_cas_acq_rel(slot, &leaf, fresh))
        return fresh;
    hk_os_unmap_guarded(fresh, bytes);
    return leaf;
}

static uint32_t registry_granules(const struct hk_span *span) {
    return span->class == HK_CLASS_NONE ? 1 : span->granules;
}

/* Stores a class for one granule, which its blocks' frees will find. */
static void registry_store_class(uintptr_t granule, size_t class) {
    /* relaxed: constant by now; and see hk_registry_class */
    size_t at =
        ((granule << HK_GRANULE_SHIFT) + hk_load_relaxed(&hk_window_shift)) >> HK_GRANULE_SHIFT;
    if (at < HK_WINDOW_GRANULES)
        hk_store_relaxed(&hk_window_classes[at], (uint8_t) class);
}

bool hk_registry_reserve(uintptr_t address) {
    return registry_leaf_for(address >> HK_GRANULE_SHIFT) != NULL;
}

bool hk_registry_enter(struct hk_span *span) {
    uintptr_t granule = span->base >> HK_GRANULE_SHIFT;
    uint32_t count = registry_granules(span);
    if (!hk_registry_reserve(span->base) ||
        !hk_registry_reserve(span->base + (count - 1) * HK_GRANULE_BYTES))
        return false;
    for (uint32_t i = 0; i < count; i++, granule++) {
        struct registry_leaf *leaf = registry_leaf_of(granule);
        /* release: publishes the span's constant fields; pairs with hk_registry_find */
        hk_store_release(&leaf->spans[granule % REGISTRY_LEAF_SPANS], span);
        registry_store_class(granule, span->class);
    }
    return true;
}

void hk_registry_remove(const struct hk_span *span) {
    uintptr_t granule = span->base >> HK_GRANULE_SHIFT;
    uint32_t count = registry_granules(span);
    for (uint32_t i = 0; i < count; i++, granule++) {
        registry_store_class(granule, HK_CLASS_NONE);
        /* relaxed: a lookup that races with this is a use of a freed pointer */
        hk_store_relaxed(&registry_leaf_of(granule)->spans[granule % REGISTRY_LEAF_SPANS], NULL);
    }
}
