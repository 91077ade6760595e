/* api/front.h - the hot functions, on one screen.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: malloc and free where the thread's cache can answer; every public name of them is one
 * of these inline functions. One malloc and one free are walked, step by step, in ../README.md.
 * Owns: nothing. Threads: any. Boundary: the thread's bins, the registry's window; everything else
 * is a slow path, entered by a tail call.
 *
 * A constant cache whose bins are empty and full at once stands in for 'not started', 'ended' and
 * 'checking mode', so nothing here tests for them.
 */
#ifndef HK_API_FRONT_H
#define HK_API_FRONT_H

#include "../core/bin.h"
#include "../core/registry.h"
#include "../heap/thread.h"

void *hk_malloc_slow(size_t size);                            /* alloc.c: larger, or bin empty */
void *hk_calloc_slow(size_t count, size_t size);              /* alloc.c */
void *hk_alloc_slow(size_t size, size_t align);               /* alloc.c */
void hk_free_slow(void *block);                               /* free.c: bin full, or no class */
void hk_dealloc_slow(void *block, size_t size, size_t align); /* free.c: larger, or bin full */

HK_FAST void *hk_front_malloc(size_t size) {
    if (hk_likely(size <= HK_TINY_MAX)) {
        void *block = hk_bin_pop(&hk_cache->bins[hk_class_of_tiny(size)]); /* size 0: empty bin */
        if (hk_likely(block != NULL))
            return block;
    }
    return hk_malloc_slow(size);
}

HK_FAST void hk_front_free(void *block) {
    if (hk_unlikely(!hk_bin_push(&hk_cache->bins[hk_registry_class(block)], block)))
        hk_free_slow(block);
}

/* The bin for a small layout; for others that of HK_CLASS_NONE, which is always empty and full. */
HK_FAST struct hk_bin *hk_front_bin(size_t size, size_t align) {
    struct hk_bin *bins = hk_cache->bins;
    if (hk_unlikely(size > HK_TINY_MAX) || hk_unlikely(align > HK_MALLOC_ALIGN))
        return &bins[HK_CLASS_NONE];
    if (hk_unlikely(size <= 8))
        return &bins[align <= 8 ? HK_CLASS_8 : HK_CLASS_16];
    return &bins[hk_class_of_tiny(size)];
}

HK_FAST void *hk_front_alloc(size_t size, size_t align) {
    void *block = hk_bin_pop(hk_front_bin(size, align));
    return hk_likely(block != NULL) ? block : hk_alloc_slow(size, align);
}

/* `block` is not NULL. */
HK_FAST void hk_front_dealloc(void *block, size_t size, size_t align) {
    if (hk_unlikely(!hk_bin_push(hk_front_bin(size, align), block)))
        hk_dealloc_slow(block, size, align);
}

#endif
