/* core/size_class.h - the sizes of blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the size-class table and the one formula, from size and alignment only, that
 * allocation, reallocation and sized free share.
 * Owns: constant tables. Threads: any. Boundary: calls nothing.
 *
 * Class sizes are multiples of their region's step, and steps are powers of two. So a size rounded
 * up to a power-of-two alignment belongs to a class that is a multiple of that alignment. Because
 * slabs start at granules, blocks of that class are aligned, up to the size of a granule.
 */
#ifndef HK_CORE_SIZE_CLASS_H
#define HK_CORE_SIZE_CLASS_H

#include "../base/bits.h"

#define HK_GRANULE_SHIFT 16
#define HK_GRANULE_BYTES ((size_t)1 << HK_GRANULE_SHIFT) /* arenas hand out runs of these */

#define HK_TINY_MAX 1024u
#define HK_MID_MAX 8192u
#define HK_CLASS_MAX_BYTES ((size_t)256 * 1024)
#define HK_MALLOC_ALIGN 16u /* the alignment that malloc promises */
#define HK_SLAB_GRANULES_MAX 16u

enum {
    HK_CLASS_NONE = 0,
#define SIZE_CLASS(bytes, granules, depth, prewarm) HK_CLASS_##bytes,
#include "size_class.def"
#undef SIZE_CLASS
    HK_CLASS_COUNT
};

struct hk_class {
    uint32_t block_bytes;
    uint32_t reciprocal; /* ceil(2^32 / block_bytes): see hk_class_index */
    uint16_t blocks;     /* in a slab */
    uint16_t depth;      /* maximum pointers in a thread's bin */
    uint8_t granules;    /* of a slab */
    uint8_t initial;     /* capacity of a new bin */
    uint8_t prewarm;     /* blocks that pre-warming puts into a bin */
};
extern const struct hk_class hk_classes[HK_CLASS_COUNT]; /* const; row 0 is all zero */

/* Classes of sizes above Tiny, in steps of 128 bytes up to HK_MID_MAX and of 4 KiB beyond. */
extern const uint8_t hk_class_by_128[HK_MID_MAX / 128];
extern const uint8_t hk_class_by_4096[HK_CLASS_MAX_BYTES / 4096];

/* The functions of the hot path use size_t for classes, because such an index needs no widening.
 * Their tables have rows of 16 bytes, and the class map holds the offset of a row instead of a
 * class, because adding an offset is faster than scaling an index. */
enum { HK_ROW_BYTES = 16 };

HK_FAST size_t hk_row_of(size_t class) { return class * HK_ROW_BYTES; }
HK_FAST size_t hk_class_of_row(size_t row) { return row / HK_ROW_BYTES; }

/* 1 <= size <= HK_TINY_MAX. */
HK_FAST size_t hk_class_of_tiny(size_t size) { return (size + 15) / 16; }

/* HK_TINY_MAX < size <= HK_CLASS_MAX_BYTES. */
HK_FAST size_t hk_class_of_mid(size_t size) {
    return size <= HK_MID_MAX ? hk_class_by_128[(size - 1) / 128]
                              : hk_class_by_4096[(size - 1) / 4096];
}

/* The class for malloc(size), or HK_CLASS_NONE if it is too large for any. */
HK_FAST size_t hk_class_of(size_t size) {
    if (hk_likely(size <= HK_TINY_MAX))
        return hk_class_of_tiny(size + (size == 0));
    return size <= HK_CLASS_MAX_BYTES ? hk_class_of_mid(size) : HK_CLASS_NONE;
}

/* The class for a size and an alignment (a power of two), or HK_CLASS_NONE if none serves them. */
HK_FAST size_t hk_class_of_layout(size_t size, size_t align) {
    if (hk_likely(align <= HK_MALLOC_ALIGN)) {
        if (size <= 8 && align <= 8)
            return HK_CLASS_8;
        return hk_class_of(size);
    }
    if (align > HK_GRANULE_BYTES || size > HK_CLASS_MAX_BYTES)
        return HK_CLASS_NONE;
    return hk_class_of(hk_round_up(size + (size == 0), align));
}

/* offset / block_bytes for offsets within a slab (below 2^20). It is exact if offset is a multiple
 * of block_bytes. Otherwise it may be one too high, so a caller compares the product with the
 * offset. Unit tests try every offset of every class. */
HK_FAST uint32_t hk_class_index(const struct hk_class *class, uint32_t offset) {
    return (uint32_t)(((uint64_t)offset * class->reciprocal) >> 32);
}

/* Whether an address in a slab of a class is the start of a block. Also false if the answer needs
 * the slab's base, as it does for slabs of more than one granule. */
HK_FAST bool hk_class_is_start(const struct hk_class *class, uintptr_t address) {
    uint32_t offset = (uint32_t)(address % HK_GRANULE_BYTES);
    uint32_t index = hk_class_index(class, offset);
    return class->granules == 1 && index < class->blocks && index * class->block_bytes == offset;
}

#endif
