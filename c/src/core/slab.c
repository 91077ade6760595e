/* core/slab.c - bitmaps of blocks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "slab.h"

/* Takes blocks for the set bits of `word`, lowest first, and clears the bits. */
static uint32_t slab_take_word(uint64_t *word, char *first_block, size_t block_bytes, void **to,
                               uint32_t count) {
    uint32_t taken = 0;
    uint64_t bits = *word;
    while (bits != 0 && taken < count) {
        to[taken++] = first_block + (unsigned)__builtin_ctzll(bits) * block_bytes;
        bits &= bits - 1;
    }
    hk_store_relaxed(word, bits); /* relaxed: under the lock; see hk_slab_guess */
    return taken;
}

static uint32_t slab_take_used(struct hk_span *slab, void **to, uint32_t count) {
    size_t block_bytes = hk_classes[slab->class].block_bytes;
    uint32_t taken = 0;
    uint32_t want = count < slab->free ? count : slab->free;
    uint32_t word = slab->low;
    slab->scans = 0;

    while (taken < want) {
        taken += slab_take_word(&slab->bits[word], hk_slab_block(slab, (size_t)word * HK_WORD_BITS),
                                block_bytes, to + taken, want - taken);
        word += slab->bits[word] == 0;
    }

    slab->low = (uint16_t)word;
    slab->free = (uint16_t)(slab->free - taken);
    return taken;
}

static void slab_set_bump(struct hk_span *slab, uint32_t bump) {
    hk_store_relaxed(&slab->bump, (uint16_t)bump); /* relaxed: under the lock; see hk_slab_guess */
}

uint32_t hk_slab_take(struct hk_span *slab, void **to, uint32_t count) {
    uint32_t taken = slab_take_used(slab, to, count);
    uint32_t unused = (uint32_t)(slab->blocks - slab->bump);
    uint32_t more = count - taken < unused ? count - taken : unused;
    size_t block_bytes = hk_classes[slab->class].block_bytes;
    char *block = hk_slab_block(slab, slab->bump);
    for (uint32_t i = 0; i < more; i++, block += block_bytes)
        to[taken + i] = block;
    slab_set_bump(slab, slab->bump + more);
    return taken + more;
}

struct hk_block hk_slab_take_one(struct hk_span *slab) {
    struct hk_block block = {NULL, slab->fresh && slab->free == 0};
    hk_slab_take(slab, &block.start, 1);
    return block;
}

uint32_t hk_slab_take_all(struct hk_span *slab, uint64_t bits[HK_SLAB_WORDS_MAX]) {
    for (uint32_t i = 0; i < HK_WORDS(slab->blocks); i++) {
        bits[i] = slab->bits[i];
        hk_store_relaxed(&slab->bits[i], 0); /* relaxed: as in slab_take_word */
    }

    uint32_t taken = slab->free;
    if (!slab->fresh) { /* the unused part may hold old contents of its granules */
        struct hk_run unused = {slab->bump, (uint32_t)(slab->blocks - slab->bump)};
        hk_bits_fill(bits, unused, true);
        taken += unused.count;
        slab_set_bump(slab, slab->blocks);
    }

    slab->free = 0;
    slab->low = (uint16_t)HK_WORDS(slab->blocks);
    return taken;
}

void hk_slab_give_all(struct hk_span *slab, const uint64_t bits[HK_SLAB_WORDS_MAX]) {
    for (uint32_t i = 0; i < HK_WORDS(slab->blocks); i++) {
        /* A bit that is already set is from a double free. */
        slab->free = (uint16_t)(slab->free + __builtin_popcountll(bits[i] & ~slab->bits[i]));
        hk_store_relaxed(&slab->bits[i], slab->bits[i] | bits[i]); /* relaxed: as above */
    }
    slab->low = 0;
}

struct hk_run hk_slab_find_run(const struct hk_span *slab, uint32_t most) {
    uint32_t start = hk_bits_find(slab->bits, slab->bump, slab->low * HK_WORD_BITS, true);
    uint32_t end = hk_bits_find(slab->bits, slab->bump, start, false);
    if (end == slab->bump)
        end = slab->blocks;
    uint32_t count = end - start;
    return (struct hk_run){start, count < most ? count : most};
}

void hk_slab_take_run(struct hk_span *slab, struct hk_run run) {
    uint32_t end = run.start + run.count;
    for (uint32_t at = run.start; at < end && at < slab->bump;) {
        uint64_t *word = &slab->bits[at / HK_WORD_BITS];
        uint32_t next = (at / HK_WORD_BITS + 1) * HK_WORD_BITS;
        uint64_t taken = *word & UINT64_MAX << (at % HK_WORD_BITS);
        if (next > end)
            taken &= ~(UINT64_MAX << (end % HK_WORD_BITS));
        hk_store_relaxed(word, *word & ~taken); /* relaxed: as in slab_take_word */
        slab->free = (uint16_t)(slab->free - __builtin_popcountll(taken));
        at = next;
    }

    slab->scans = 0;
    if (end > slab->bump)
        slab_set_bump(slab, end);
}

struct hk_slab_word hk_slab_find_word(const struct hk_span *slab) {
    uint32_t at = slab->low;
    while (slab->bits[at] == 0)
        at++;
    return (struct hk_slab_word){slab->bits[at], at * HK_WORD_BITS};
}

void hk_slab_take_word(struct hk_span *slab, const struct hk_slab_word *word) {
    uint64_t *bits = &slab->bits[word->first / HK_WORD_BITS];
    hk_store_relaxed(bits, *bits & ~word->bits); /* relaxed: as in slab_take_word */
    slab->free = (uint16_t)(slab->free - __builtin_popcountll(word->bits));
    slab->scans = 0;
}

void hk_slab_give_word(struct hk_span *slab, const struct hk_slab_word *word) {
    uint16_t at = (uint16_t)(word->first / HK_WORD_BITS);
    slab->free = (uint16_t)(slab->free + __builtin_popcountll(word->bits & ~slab->bits[at]));
    hk_store_relaxed(&slab->bits[at], slab->bits[at] | word->bits); /* relaxed: as above */
    if (at < slab->low)
        slab->low = at;
}

enum hk_slab_result hk_slab_look(const struct hk_span *slab, const void *block) {
    uint32_t index;
    enum hk_slab_result result = hk_slab_locate(slab, &hk_classes[slab->class], block, &index);
    return result == HK_SLAB_DONE ? hk_slab_look_at(slab, index) : result;
}

bool hk_slab_valid(const struct hk_span *slab) {
    uint32_t set = 0;
    for (uint32_t i = 0; i < HK_WORDS(slab->blocks); i++) {
        set += (uint32_t)__builtin_popcountll(slab->bits[i]);
        if (i < slab->low && slab->bits[i] != 0)
            return false;
    }
    return set == slab->free && slab->bump <= slab->blocks &&
           hk_bits_find(slab->bits, slab->blocks, slab->bump, true) == slab->blocks;
}
