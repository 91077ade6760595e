/* core/meta.c - memory for hakmem's own structures. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "meta.h"

#include "../base/bits.h"
#include "../os/check.h"
#include "../os/lock.h"
#include "../os/os.h"
#include "usage.h"

enum {
    META_MIN_SHIFT = 6, /* one cache line */
    META_ORDERS = 15,   /* to 1 MiB */
    META_REGION_BYTES = 256 * 1024,
};

struct meta_free_block {
    struct meta_free_block *next;
};

static struct {
    struct hk_lock lock;
    char *at;                                  /* lock:META; the rest of the newest region */
    char *end;                                 /* lock:META */
    struct meta_free_block *free[META_ORDERS]; /* lock:META; by order */
    uint64_t bytes;                            /* atomic */
} meta;

static unsigned meta_order(size_t bytes) {
    return bytes <= ((size_t)1 << META_MIN_SHIFT) ? 0 : hk_log2(bytes - 1) + 1 - META_MIN_SHIFT;
}

static size_t meta_order_bytes(unsigned order) { return (size_t)1 << (order + META_MIN_SHIFT); }

size_t hk_meta_usable(size_t bytes) { return meta_order_bytes(meta_order(bytes)); }

uint64_t hk_meta_bytes(void) { return hk_load_relaxed(&meta.bytes); /* relaxed: a statistic */ }

static void meta_push(unsigned order, void *at) {
    struct meta_free_block *block = at;
    block->next = meta.free[order];
    meta.free[order] = block;
}

/* Halves the smallest free block that is larger, until a half has the order; false if there is none.
 * What threads that were large gave up so serves many that are small. Under the lock. */
static bool meta_split(unsigned order) {
    unsigned larger = order + 1;
    while (larger < META_ORDERS && meta.free[larger] == NULL)
        larger++;
    if (larger >= META_ORDERS)
        return false;
    char *block = (char *)meta.free[larger];
    meta.free[larger] = meta.free[larger]->next;
    while (larger-- > order)
        meta_push(larger, block + meta_order_bytes(larger));
    meta_push(order, block);
    return true;
}

/* A block that exists already; NULL if a new region is needed. */
static void *meta_take(unsigned order) {
    size_t bytes = meta_order_bytes(order);
    void *block = NULL;
    hk_lock(&meta.lock, HK_RANK_META);
    if (meta.free[order] != NULL || meta_split(order)) {
        block = meta.free[order];
        meta.free[order] = meta.free[order]->next;
    } else if ((size_t)(meta.end - meta.at) >= bytes) {
        block = meta.at;
        meta.at += bytes;
    }
    hk_unlock(&meta.lock, HK_RANK_META);
    return block;
}

/* Makes `region` the one to cut from. The rest of the old one is cut into free blocks. */
static void meta_add_region(char *region, size_t bytes) {
    hk_lock(&meta.lock, HK_RANK_META);
    for (unsigned order = META_ORDERS; order-- > 0;) {
        size_t piece = meta_order_bytes(order);
        while ((size_t)(meta.end - meta.at) >= piece) {
            meta_push(order, meta.at);
            meta.at += piece;
        }
    }
    meta.at = region;
    meta.end = region + bytes;
    hk_unlock(&meta.lock, HK_RANK_META);
}

void *hk_meta_alloc(size_t bytes) {
    unsigned order = meta_order(bytes);
    hk_assert(order < META_ORDERS);
    for (;;) {
        void *block = meta_take(order);
        if (block != NULL)
            return block;
        size_t region_bytes = hk_round_up(meta_order_bytes(order), META_REGION_BYTES);
        if (!hk_usage_add(region_bytes))
            return NULL;
        char *region = hk_os_map_guarded(region_bytes);
        if (region == NULL) {
            hk_usage_sub(region_bytes);
            return NULL;
        }
        hk_add_relaxed(&meta.bytes, region_bytes); /* relaxed: a statistic */
        meta_add_region(region, region_bytes);
    }
}

void hk_meta_free(void *block, size_t bytes) {
    hk_lock(&meta.lock, HK_RANK_META);
    meta_push(meta_order(bytes), block);
    hk_unlock(&meta.lock, HK_RANK_META);
}

void hk_meta_fork_prepare(void) { hk_lock_unranked(&meta.lock); }
void hk_meta_fork_parent(void) { hk_unlock_unranked(&meta.lock); }
void hk_meta_fork_child(void) { hk_lock_reset(&meta.lock); }
