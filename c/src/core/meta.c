/* core/meta.c - memory for hakmem's own structures. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "meta.h"

#include "../base/bits.h"
#include "../os/check.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "extent.h"
#include "size_class.h"
#include "usage.h"

enum {
    META_MIN_SHIFT = 6, /* one cache line */
    META_ORDERS = 15,   /* up to 1 MiB */
    META_REGION_BYTES = 256 * 1024,
    META_REGION_GROWTH = 4,     /* a region is 1/4 of all metadata, at least the size above */
    META_REGION_MOST = 4 << 20, /* and at most this */
};

struct meta_free_block {
    struct meta_free_block *next;
};

static struct {
    struct hk_lock lock;
    char *at;                                  /* lock:META; the rest of the newest region */
    size_t left;                               /* lock:META; the bytes of that rest */
    struct meta_free_block *free[META_ORDERS]; /* lock:META; by order */
    uint64_t bytes;                            /* atomic */
} meta;

static unsigned meta_order(size_t bytes) {
    return bytes <= ((size_t)1 << META_MIN_SHIFT) ? 0 : hk_log2(bytes - 1) + 1 - META_MIN_SHIFT;
}

static size_t meta_order_bytes(unsigned order) { return (size_t)1 << (order + META_MIN_SHIFT); }

size_t hk_meta_usable(size_t bytes) { return meta_order_bytes(meta_order(bytes)); }

uint64_t hk_meta_bytes(void) { return hk_stat_get(&meta.bytes); }

/* The stores below are ordered so that a thread may stop anywhere, as in a forked child. At most
 * one block is then lost, and none is free twice. */
static void meta_push(unsigned order, void *at) {
    struct meta_free_block *block = at;
    block->next = meta.free[order];
    hk_fence_stores();
    meta.free[order] = block;
    hk_fence_stores();
}

static void *meta_pop(unsigned order) {
    struct meta_free_block *block = meta.free[order];
    meta.free[order] = block->next;
    hk_fence_stores();
    return block;
}

/* Cuts `bytes` from the rest of the newest region. */
static void *meta_cut(size_t bytes) {
    char *block = meta.at;
    meta.left -= bytes;
    hk_fence_stores();
    meta.at = block + bytes;
    hk_fence_stores();
    return block;
}

/* Halves the smallest larger free block until a half has the order. Returns false if there is none.
 * In this way freed large blocks serve many small ones. Under the lock. */
static bool meta_split(unsigned order) {
    unsigned larger = order + 1;
    while (larger < META_ORDERS && meta.free[larger] == NULL)
        larger++;
    if (larger >= META_ORDERS)
        return false;

    char *block = meta_pop(larger);
    while (larger-- > order)
        meta_push(larger, block + meta_order_bytes(larger));
    meta_push(order, block);
    return true;
}

/* Takes an existing block. Returns NULL if a new region is needed. */
static void *meta_take(unsigned order) {
    size_t bytes = meta_order_bytes(order);
    void *block = NULL;
    hk_lock(&meta.lock, HK_RANK_META);
    if (meta.free[order] != NULL || meta_split(order))
        block = meta_pop(order);
    else if (meta.left >= bytes)
        block = meta_cut(bytes);
    hk_unlock(&meta.lock, HK_RANK_META);
    return block;
}

/* Makes `region` the region to cut from. The rest of the old region becomes free blocks. */
static void meta_add_region(char *region, size_t bytes) {
    hk_lock(&meta.lock, HK_RANK_META);
    for (unsigned order = META_ORDERS; order-- > 0;) {
        size_t piece = meta_order_bytes(order);
        while (meta.left >= piece)
            meta_push(order, meta_cut(piece));
    }

    meta.left = 0;
    hk_fence_stores();
    meta.at = region;
    hk_fence_stores();
    meta.left = bytes;
    hk_unlock(&meta.lock, HK_RANK_META);
}

/* Maps a region, after counting its bytes. */
static char *meta_map(size_t bytes) {
    if (!hk_usage_add(bytes))
        return NULL;
    char *region = hk_os_map_guarded(bytes);
    if (region == NULL)
        hk_usage_sub(bytes);
    return region;
}

/* NOLINTBEGIN(misc-no-recursion): see extents_take in core/extent.c */

/* Takes a region from the cached extents if the OS maps no more memory. It has no guard pages,
 * because these also need mappings. */
static char *meta_reuse(size_t bytes) {
    if (!hk_usage_add(bytes))
        return NULL;
    struct hk_range range = hk_extent_take_kept(bytes, bytes);
    if (range.base == 0 || range.dirty)
        hk_usage_sub(bytes); /* a dirty range is counted already */
    return (char *)range.base;
}

/* Adds a region for a block of `bytes`. If there is much metadata already, the region is large, so
 * that the guard pages of regions need few mappings. */
static bool meta_grow(size_t bytes) {
    size_t least = hk_round_up(bytes, META_REGION_BYTES);
    size_t wanted = hk_round_up(hk_meta_bytes() / META_REGION_GROWTH, META_REGION_BYTES);
    wanted = wanted < META_REGION_MOST ? wanted : META_REGION_MOST;
    size_t region_bytes = wanted > least ? wanted : least;

    char *region = meta_map(region_bytes);
    if (region == NULL && region_bytes != least) {
        region_bytes = least;
        region = meta_map(region_bytes);
    }

    if (region == NULL)
        region = meta_reuse(region_bytes);
    if (region == NULL)
        return false;

    hk_stat_add(&meta.bytes, region_bytes);
    meta_add_region(region, region_bytes);
    return true;
}

void *hk_meta_alloc(size_t bytes) {
    unsigned order = meta_order(bytes);
    hk_assert(order < META_ORDERS);
    void *block;
    do
        block = meta_take(order);
    while (block == NULL && meta_grow(meta_order_bytes(order)));
    return block;
}

/* NOLINTEND(misc-no-recursion) */

void hk_meta_free(void *block, size_t bytes) {
    hk_lock(&meta.lock, HK_RANK_META);
    meta_push(meta_order(bytes), block);
    hk_unlock(&meta.lock, HK_RANK_META);
}

void hk_meta_repair(void) {
    /* The lists are intact after each store, and nothing is derived from them. */
}
