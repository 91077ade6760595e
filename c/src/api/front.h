/* api/front.h - the hot functions, on one screen.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: malloc and free, as long as the thread's cache can serve them. Every public entry
 * point is a thin wrapper of one of these inline functions. ../README.md walks through one malloc
 * and one free, step by step.
 * Owns: nothing. Threads: any. Boundary: the thread's bins, the class map. Everything else is a
 * slow path, entered by a tail call.
 *
 * Threads without a cache of their own use a sentinel cache: before their first slow call, after
 * their exit, and in checked mode. Its bins are both empty and full, so nothing here tests for
 * these cases. A free takes the class from the class map even if the caller passes a size, so that
 * a wrong size cannot put a block into a bin of larger blocks.
 */
#ifndef HK_API_FRONT_H
#define HK_API_FRONT_H

#include "../core/bin.h"
#include "../core/pagemap.h"
#include "../thread/slow.h"

void *hk_malloc_slow(size_t size);                            /* alloc.c: larger, or bin empty */
void *hk_alloc_slow(size_t size, size_t align);               /* alloc.c */
void hk_free_slow(void *block);                               /* free.c: bin full, or no class */
void hk_dealloc_slow(void *block, size_t size, size_t align); /* free.c: the same, or wrong size */

/* The span of a block that `function` was called with. If the pointer is known not to be the start
 * of a live block (alien, inside a block, or a free large block), reports the mistake and returns
 * NULL. Takes no lock. free.c */
struct hk_span *hk_front_find(const char *function, const void *block);

/* Whether the blocks of a span may serve a class. Those of private heaps serve several. free.c */
bool hk_front_has_class(const struct hk_span *span, size_t class);

/* Reports a mistake with a pointer into a span, or NULL. free.c */
void hk_front_report(const char *function, const struct hk_span *span, const void *block,
                     const char *cause);

HK_FAST void *hk_front_malloc(size_t size) {
    if (hk_likely(size <= HK_TINY_MAX)) {
        void *block =
            hk_bin_pop(hk_cache_bin(hk_row_of(hk_class_of_tiny(size)))); /* size 0: empty bin */
        if (hk_likely(block != NULL))
            return block;
    }
    return hk_malloc_slow(size);
}

HK_FAST void hk_front_free(void *block) {
    const struct hk_class_map *map = hk_class_map_get();
    size_t row = hk_class_map_find(map, block);
    if (hk_unlikely(hk_class_map_is_inside(map, row, block)) ||
        hk_unlikely(!hk_bin_push(hk_cache_bin(row), block)))
        hk_free_slow(block);
}

/* The row of the class of a small layout. Other layouts get the row of HK_CLASS_NONE, which has an
 * empty bin. */
HK_FAST size_t hk_front_row(size_t size, size_t align) {
    if (hk_unlikely(size > HK_TINY_MAX) || hk_unlikely(align > HK_MALLOC_ALIGN))
        return 0;
    if (hk_unlikely(size <= 8))
        return hk_row_of(align <= 8 ? HK_CLASS_8 : HK_CLASS_16);
    return hk_row_of(hk_class_of_tiny(size));
}

HK_FAST void *hk_front_alloc(size_t size, size_t align) {
    void *block = hk_bin_pop(hk_cache_bin(hk_front_row(size, align)));
    return hk_likely(block != NULL) ? block : hk_alloc_slow(size, align);
}

/* Puts a block of at least `size` bytes into the bin of its row. Returns false if the slow path
 * must handle it. */
HK_FAST bool hk_front_push_row(const struct hk_class_map *map, size_t row, void *block,
                               size_t size) {
    return hk_likely(size <= hk_class_map_row(map, row)->block_bytes) &&
           hk_likely(hk_bin_push(hk_cache_bin(row), block));
}

/* The same for a block that is aligned as those of malloc. Any other pointer takes the slow path,
 * because it is inside a block, unless the block is one of a layout. */
HK_FAST bool hk_front_push_sized(void *block, size_t size) {
    const struct hk_class_map *map = hk_class_map_get();
    return hk_front_push_row(map, hk_class_map_find_16(map, block), block, size);
}

/* The same for a block of a layout, which may be aligned to 8 bytes only. */
HK_FAST bool hk_front_push_layout(void *block, size_t size) {
    const struct hk_class_map *map = hk_class_map_get();
    return hk_front_push_row(map, hk_class_map_find_8(map, block), block, size);
}

/* `block` is not NULL. */
HK_FAST void hk_front_dealloc(void *block, size_t size, size_t align) {
    if (hk_unlikely(!hk_front_push_layout(block, size)))
        hk_dealloc_slow(block, size, align);
}

#endif
