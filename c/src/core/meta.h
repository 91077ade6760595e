/* core/meta.h - memory for hakmem's own structures.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: an allocator that only grows, with one free list for each power of two from one cache
 * line up. An empty list takes halves from larger ones. All blocks are aligned to cache lines, so
 * that no two structures share one.
 * Owns: mappings that hold only metadata, each between inaccessible pages. Free metadata blocks are
 * linked through their first word, unlike user memory.
 * Threads: any. Takes the META lock. Boundary: hk_os_map_guarded, core/usage, core/extent if the OS
 * maps no more memory.
 */
#ifndef HK_CORE_META_H
#define HK_CORE_META_H

#include "../base/compiler.h"

/* Allocates at least `bytes` bytes, never 0, with undefined contents. Returns NULL if out of
 * memory. */
void *hk_meta_alloc(size_t bytes);

/* `bytes` as given to hk_meta_alloc. Only the first word is overwritten while the block is free. */
void hk_meta_free(void *block, size_t bytes);

/* The bytes that hk_meta_alloc(bytes) reserves: the next power of two, at least 64. */
size_t hk_meta_usable(size_t bytes);

/* The bytes of address space held. */
uint64_t hk_meta_bytes(void);

/* Called after the META lock was taken over from a thread that stopped in the middle. Under the
 * lock, in a forked child. */
void hk_meta_repair(void);

#endif
