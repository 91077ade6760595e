/* core/slab.h - a run of granules cut into blocks of one class.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the bitmap of a span of a small class. Blocks are taken in order of address, and used
 * blocks before unused ones, which keeps the slab dense.
 * Owns: the lock:CLASS fields of struct hk_span. Threads: under the class lock of the owner heap.
 * Boundary: calls nothing.
 */
#ifndef HK_CORE_SLAB_H
#define HK_CORE_SLAB_H

#include "../base/atomic.h"
#include "span.h"

enum {
    HK_SLAB_WORDS_MAX =
        HK_GRANULE_BYTES / 8 / HK_WORD_BITS, /* a bit for each 8 bytes of a granule */
    HK_SLAB_DECAYED = 2,                     /* scans after which free pages are given back */
    HK_SLAB_PURGED = 3, /* they were given back, and no block was taken or given since */
};

enum hk_slab_result {
    HK_SLAB_DONE,
    HK_SLAB_NOT_A_BLOCK,  /* outside the slab, or in its unused part */
    HK_SLAB_INSIDE_BLOCK, /* not the start of a block */
    HK_SLAB_ALREADY_FREE,
};

/* The number of blocks that are not allocated, used before or not. */
static inline uint32_t hk_slab_free(const struct hk_span *slab) {
    return (uint32_t)slab->free + slab->blocks - slab->bump;
}
static inline bool hk_slab_is_exhausted(const struct hk_span *slab) {
    return slab->free == 0 && slab->bump == slab->blocks;
}
/* No block is allocated. */
static inline bool hk_slab_is_empty(const struct hk_span *slab) { return slab->free == slab->bump; }

/* The block at `index`. */
HK_FAST void *hk_slab_block(const struct hk_span *slab, size_t index) {
    return (char *)slab->base + index * hk_classes[slab->class].block_bytes;
}

/* Takes up to `count` blocks into `to`. Returns their number. */
uint32_t hk_slab_take(struct hk_span *slab, void **to, uint32_t count);

/* Takes one block. The slab must not be exhausted. */
struct hk_block hk_slab_take_one(struct hk_span *slab);

/* Takes all free blocks that may be nonzero, as bits. Returns their number. hk_slab_give_all undoes
 * it. */
uint32_t hk_slab_take_all(struct hk_span *slab, uint64_t bits[HK_SLAB_WORDS_MAX]);
void hk_slab_give_all(struct hk_span *slab, const uint64_t bits[HK_SLAB_WORDS_MAX]);

/* The first run of at most `most` free blocks. Blocks that were never used are free and come last.
 * Changes nothing. The slab must not be exhausted. */
struct hk_run hk_slab_find_run(const struct hk_span *slab, uint32_t most);

/* Takes a run that was found just now. */
void hk_slab_take_run(struct hk_span *slab, struct hk_run run);

/* Free blocks of one word of the bits, all of which were used before. */
struct hk_slab_word {
    uint64_t bits;  /* bit i: the block at index `first` + i */
    uint32_t first; /* a multiple of HK_WORD_BITS */
};

/* The first word with such blocks. Changes nothing. There must be one. */
struct hk_slab_word hk_slab_find_word(const struct hk_span *slab);

/* Takes blocks of a word that was found just now, and gives back blocks that were taken. */
void hk_slab_take_word(struct hk_span *slab, const struct hk_slab_word *word);
void hk_slab_give_word(struct hk_span *slab, const struct hk_slab_word *word);

/* Finds the index of a block in its slab. Reads only const fields, and needs no lock. */
HK_FAST enum hk_slab_result hk_slab_locate(const struct hk_span *slab, const struct hk_class *class,
                                           const void *block, uint32_t *index) {
    uintptr_t offset = (uintptr_t)block - slab->base;
    if (hk_unlikely(offset >= slab->bytes))
        return HK_SLAB_NOT_A_BLOCK;
    *index = hk_class_index(class, (uint32_t)offset);
    uint32_t start = *index * class->block_bytes;
    return hk_likely(start == offset) ? HK_SLAB_DONE : HK_SLAB_INSIDE_BLOCK;
}

/* The state of the block at `index`, without changing anything. HK_SLAB_DONE means allocated. */
HK_FAST enum hk_slab_result hk_slab_look_at(const struct hk_span *slab, uint32_t index) {
    if (hk_unlikely(index >= slab->bump))
        return HK_SLAB_NOT_A_BLOCK;
    return hk_unlikely(hk_bit_get(slab->bits, index)) ? HK_SLAB_ALREADY_FREE : HK_SLAB_DONE;
}

/* Like hk_slab_look_at, but without the lock. A thread with a pointer to an allocated block has
 * synchronised with its allocation, so an allocated block is never reported. A block that was freed
 * twice may be missed. */
HK_FAST enum hk_slab_result hk_slab_guess(const struct hk_span *slab, uint32_t index) {
    /* relaxed: as above */
    if (hk_unlikely(index >= hk_load_relaxed(&slab->bump)))
        return HK_SLAB_NOT_A_BLOCK;
    uint64_t word = hk_load_relaxed(&slab->bits[index / HK_WORD_BITS]);
    return hk_unlikely((word >> (index % HK_WORD_BITS)) & 1) ? HK_SLAB_ALREADY_FREE : HK_SLAB_DONE;
}

/* The state of `block`, without changing anything. */
enum hk_slab_result hk_slab_look(const struct hk_span *slab, const void *block);

/* Blocks in the same word of the bits. */
struct hk_slab_group {
    uint64_t bits;
    uint32_t word;
    uint32_t count;
};

/* The group of the block at `index` alone. */
HK_FAST struct hk_slab_group hk_slab_group_of(uint32_t index) {
    return (struct hk_slab_group){UINT64_C(1) << index % HK_WORD_BITS, index / HK_WORD_BITS, 1};
}

/* Adds a block. Returns false if it is in another word, or in the group already. */
HK_FAST bool hk_slab_group_add(struct hk_slab_group *group, uint32_t index) {
    uint64_t bit = UINT64_C(1) << index % HK_WORD_BITS;
    if (index / HK_WORD_BITS != group->word || (group->bits & bit) != 0)
        return false;
    group->bits |= bit;
    group->count++;
    return true;
}

/* Whether all blocks of a group are allocated. */
HK_FAST bool hk_slab_has_allocated(const struct hk_span *slab, const struct hk_slab_group *group) {
    uint32_t highest = HK_WORD_BITS - 1 - (uint32_t)__builtin_clzll(group->bits);
    return (slab->bits[group->word] & group->bits) == 0 &&
           group->word * HK_WORD_BITS + highest < slab->bump;
}

/* Takes back the allocated blocks of a group. */
HK_FAST void hk_slab_give_group(struct hk_span *slab, const struct hk_slab_group *group) {
    /* relaxed: under the lock; see hk_slab_guess */
    hk_store_relaxed(&slab->bits[group->word], slab->bits[group->word] | group->bits);
    if (group->word < slab->low)
        slab->low = (uint16_t)group->word;
    slab->scans = 0;
    slab->free = (uint16_t)(slab->free + group->count);
}

/* The same for the allocated block at `index`. */
HK_FAST void hk_slab_give(struct hk_span *slab, uint32_t index) {
    struct hk_slab_group group = hk_slab_group_of(index);
    hk_slab_give_group(slab, &group);
}

/* Whether the invariants of struct hk_span hold. */
bool hk_slab_valid(const struct hk_span *slab);

#endif
