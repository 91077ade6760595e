/* thread/large_cache.h - freed large blocks that a thread will soon allocate again.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a few spans of class NONE, still in the pagemap, with their pages. A program that
 * allocates and frees a buffer in turn gets the same one, without a lock and without a page fault.
 *
 * Owns: the spans in it. Threads: the owner of the thread cache, or the thread that drains or
 * destroys that cache. Statistics read `bytes`.
 * Boundary: core/large.
 */
#ifndef HK_THREAD_LARGE_CACHE_H
#define HK_THREAD_LARGE_CACHE_H

#include "../core/large.h"

enum { HK_LARGE_CACHE_MAX = 8, HK_LARGE_CACHE_WANTED = 4 };

struct hk_large_cache {
    struct hk_span *spans[HK_LARGE_CACHE_MAX]; /* owner; NULL for an empty place */
    size_t bytes;                              /* atomic, stored by the owner; sum over the spans */
    size_t
        wanted[HK_LARGE_CACHE_WANTED]; /* owner; last sizes asked for since the last scan, or 0 */
    uint32_t puts;                     /* owner; blocks cached since the last take */
    uint8_t next_wanted;               /* owner; the oldest of `wanted` */
    uint8_t next;                      /* owner; the next place to evict from */
};

/* Takes a span for a block of `size` bytes out of the cache. Returns NULL if none suits. */
struct hk_span *hk_large_cache_take(struct hk_large_cache *cache, size_t size, size_t align);

/* Whether the thread has recently allocated blocks like that of `span`. */
bool hk_large_cache_wants(const struct hk_large_cache *cache, const struct hk_span *span);

/* Caches the span of a free block, and evicts another one if necessary. */
void hk_large_cache_put(struct hk_large_cache *cache, struct hk_span *span);

/* Takes one span out of the cache. Returns NULL if there is none. The caller frees it. */
struct hk_span *hk_large_cache_remove(struct hk_large_cache *cache);

/* Evicts and frees one cached span. Returns false if there is none. */
bool hk_large_cache_drop(struct hk_large_cache *cache);

/* Frees all of them. */
void hk_large_cache_drop_all(struct hk_large_cache *cache);

/* Frees the spans that were already in the cache at the last scan. */
void hk_large_cache_scan(struct hk_large_cache *cache);

#endif
