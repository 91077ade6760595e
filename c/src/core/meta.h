/* core/meta.h - memory for hakmem's own structures.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: an allocator that only grows, with one free list for each power of two from one cache
 * line up; an empty list takes halves from larger ones. All blocks are aligned to cache lines, so
 * that no two structures share one.
 * Owns: mappings that hold metadata only, each between inaccessible pages; free metadata blocks are
 * linked through their first word (user memory never is).
 * Threads: any; takes the META lock. Boundary: hk_os_map_guarded, core/usage, core/extent where the
 * OS maps nothing more.
 */
#ifndef HK_CORE_META_H
#define HK_CORE_META_H

#include "../base/compiler.h"

/* At least `bytes` bytes, contents undefined, never 0 bytes; NULL without memory. */
void *hk_meta_alloc(size_t bytes);

/* `bytes` as given to hk_meta_alloc. Only the first word is overwritten while the block is free. */
void hk_meta_free(void *block, size_t bytes);

/* The bytes that hk_meta_alloc(bytes) really reserves: the next power of two, 64 at least. */
size_t hk_meta_usable(size_t bytes);

/* Address space held. */
uint64_t hk_meta_bytes(void);

/* After the META lock was taken over from a thread that stopped in the middle. Under the lock, in a
 * forked child. */
void hk_meta_repair(void);

#endif
