/* core/span.h - the descriptor of memory that is in use: a slab or one large block.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the description of a run of granules, or of a mapping, that holds blocks of the
 * program. It lies in metadata, away from the blocks.
 * Owns: its own descriptor. Threads: see the fields. Boundary: core/meta.
 */
#ifndef HK_CORE_SPAN_H
#define HK_CORE_SPAN_H

#include "../base/atomic.h"
#include "size_class.h"

struct hk_chunk;

/* Spans whose blocks need more work than others. The class map does not know them, so each free of
 * such a block takes the slow path. */
enum hk_span_kind {
    HK_SPAN_PLAIN,
    HK_SPAN_SAMPLED, /* the profiler samples its blocks, see hk_span_sample */
    HK_SPAN_GUARDED, /* a slot of the guard, of class NONE. Its base and its granules are const */
};

struct hk_span {
    uintptr_t base;         /* const; first, because the link of free metadata overwrites it */
    void *owner;            /* atomic: the heap, see hk_span_owner */
    struct hk_chunk *chunk; /* const: the chunk of the granules, or NULL for a separate mapping */
    struct hk_span *next;   /* lock:CLASS; list of slabs with free blocks */
    struct hk_span *prev;   /* lock:CLASS */
    size_t bytes;           /* slab: const, size of all blocks; large: usable, by its owner */
    uint32_t mapping;       /* large, by its owner: number of its mapping, as in core/extent.h */
    uint32_t granules;      /* large: atomic, stored by the block's owner as it is resized */
    uint8_t class;          /* const; HK_CLASS_NONE for a large block */
    bool fresh;             /* const; slab: blocks from `bump` on are zero */
    uint16_t blocks;        /* const; slab: number of blocks */
    /* A slab's blocks are below `bump` and free (bit set), below `bump` and allocated (bit clear),
     * or from `bump` on and never used. So bump - free blocks are allocated. */
    uint16_t bump; /* atomic, stored under CLASS */
    uint16_t free; /* lock:CLASS; number of set bits */
    uint16_t low;  /* lock:CLASS; no set bit in a word before this one */
    uint8_t scans; /* lock:CLASS; scans since the last take or give, up to HK_SLAB_PURGED. For a
                        retired large block, scans of its thread. */
    bool retired;  /* large: atomic, stored by the thread that caches it; freed, but cached */
    bool coarse; /* const; slab: of a private heap at first, so it may serve smaller classes, too */
    uint8_t kind;    /* enum hk_span_kind; large: by the block's owner; otherwise const */
    bool resizing;   /* large, of a private heap: its owner changes the other fields */
    uint64_t bits[]; /* atomic, stored under CLASS; HK_WORDS(blocks) words */
};

/* The owner of a span is a heap or, with this bit, a private heap (own/own.h). The class map does
 * not know the slabs of private heaps. */
#define HK_SPAN_PRIVATE ((uintptr_t)1)

HK_FAST void *hk_span_owner(const struct hk_span *span) {
    /* acquire: the new owner. It pairs with the release in hk_span_set_owner. */
    return hk_load_acquire(&span->owner);
}

HK_FAST bool hk_span_is_private(const struct hk_span *span) {
    return ((uintptr_t)hk_span_owner(span) & HK_SPAN_PRIVATE) != 0;
}

/* Gives the span of a private heap to a heap, while other threads may free its blocks. */
static inline void hk_span_set_owner(struct hk_span *span, void *heap) {
    hk_store_release(&span->owner, heap); /* release: as in hk_span_owner */
}

/* Blocks that the profiler samples are alone in their spans, or in slabs that hold only such
 * blocks. The record of a sample is found by the place of its block. */
static inline void **hk_span_sample(struct hk_span *span, uint32_t index) {
    return (void **)(void *)(span->bits + HK_WORDS(span->blocks)) + index;
}

/* An allocated block, and whether all its bytes are known to be zero. */
struct hk_block {
    void *start;
    bool zero;
};

/* Creates a descriptor for a slab of a class, or for a large block with HK_CLASS_NONE. Its bits are
 * clear, and the caller fills the rest. Returns NULL if out of memory. */
struct hk_span *hk_span_create(size_t class, enum hk_span_kind kind);
void hk_span_destroy(struct hk_span *span);

/* The bytes of metadata that a span occupies, for reuse. At least HK_EXTENT_NODE_BYTES. */
size_t hk_span_metadata(const struct hk_span *span);

#endif
