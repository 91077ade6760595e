/* base/bits.h - integer and bitmap arithmetic.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: rounding, and searches in bitmaps made of 64-bit words (bit i is bit i % 64 of word i
 * / 64). Owns: nothing. Threads: any. Callers own the bitmaps. Boundary: calls nothing.
 */
#ifndef HK_BASE_BITS_H
#define HK_BASE_BITS_H

#include "compiler.h"

#define HK_WORD_BITS 64u
#define HK_WORDS(bits) (((bits) + HK_WORD_BITS - 1) / HK_WORD_BITS)

/* A run of `count` equal bits from `start`. */
struct hk_run {
    uint32_t start;
    uint32_t count;
};

static inline bool hk_is_power_of_two(size_t x) { return x != 0 && (x & (x - 1)) == 0; }

/* `align` is a power of two. Wraps to a small value when x is within `align` of SIZE_MAX. */
static inline size_t hk_round_up(size_t x, size_t align) { return (x + align - 1) & ~(align - 1); }

/* The position of the highest set bit of x, which is not 0. */
static inline unsigned hk_log2(uint64_t x) { return 63u - (unsigned)__builtin_clzll(x); }

static inline bool hk_bit_get(const uint64_t *words, uint32_t i) {
    return (words[i / HK_WORD_BITS] >> (i % HK_WORD_BITS)) & 1;
}

static inline void hk_bit_set(uint64_t *words, uint32_t i) {
    words[i / HK_WORD_BITS] |= UINT64_C(1) << (i % HK_WORD_BITS);
}

static inline void hk_bit_clear(uint64_t *words, uint32_t i) {
    words[i / HK_WORD_BITS] &= ~(UINT64_C(1) << (i % HK_WORD_BITS));
}

/* The first position at or after `from` with a bit equal to `value`, or `bits` if there is none. */
static inline uint32_t hk_bits_find(const uint64_t *words, uint32_t bits, uint32_t from,
                                    bool value) {
    uint64_t flip = value ? 0 : ~UINT64_C(0);
    while (from < bits) {
        uint64_t word = (words[from / HK_WORD_BITS] ^ flip) >> (from % HK_WORD_BITS);
        if (word != 0) {
            uint32_t at = from + (uint32_t)__builtin_ctzll(word);
            return at < bits ? at : bits;
        }
        from = (from / HK_WORD_BITS + 1) * HK_WORD_BITS;
    }
    return bits;
}

/* One past the last position before `before` with a bit equal to `value`, or 0 if there is none. */
static inline uint32_t hk_bits_find_last(const uint64_t *words, uint32_t before, bool value) {
    uint64_t flip = value ? 0 : ~UINT64_C(0);
    while (before > 0) {
        uint32_t last = before - 1;
        uint64_t word = (words[last / HK_WORD_BITS] ^ flip)
                        << (HK_WORD_BITS - 1 - last % HK_WORD_BITS);
        if (word != 0)
            return before - (uint32_t)__builtin_clzll(word);
        before = last / HK_WORD_BITS * HK_WORD_BITS;
    }
    return 0;
}

/* The first run of bits equal to `value` that begins at or after `from`. Its count is 0 if there is
 * none. */
static inline struct hk_run hk_bits_run(const uint64_t *words, uint32_t bits, uint32_t from,
                                        bool value) {
    struct hk_run run;
    run.start = hk_bits_find(words, bits, from, value);
    run.count = hk_bits_find(words, bits, run.start, !value) - run.start;
    return run;
}

/* The first run of set bits of a word, which is not 0. */
static inline struct hk_run hk_word_run(uint64_t word) {
    uint32_t start = (uint32_t)__builtin_ctzll(word);
    uint64_t after = ~(word >> start);
    return (struct hk_run){start, after != 0 ? (uint32_t)__builtin_ctzll(after) : HK_WORD_BITS};
}

/* A word without its first run of set bits. */
static inline uint64_t hk_word_after_run(uint64_t word) { return word & (word + (word & -word)); }

/* Sets the bits of a run if `value` is true, or clears them. */
static inline void hk_bits_fill(uint64_t *words, struct hk_run run, bool value) {
    uint32_t i = run.start;
    uint32_t left = run.count;
    while (left > 0) {
        uint32_t shift = i % HK_WORD_BITS;
        uint32_t n = HK_WORD_BITS - shift < left ? HK_WORD_BITS - shift : left;
        uint64_t mask = (n == HK_WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << shift;

        if (value)
            words[i / HK_WORD_BITS] |= mask;
        else
            words[i / HK_WORD_BITS] &= ~mask;

        i += n;
        left -= n;
    }
}

/* The number of set bits in a run. */
static inline uint32_t hk_bits_count(const uint64_t *words, struct hk_run run) {
    uint32_t count = 0;
    for (uint32_t i = run.start, end = run.start + run.count; i < end;) {
        uint32_t shift = i % HK_WORD_BITS;
        uint32_t n = HK_WORD_BITS - shift < end - i ? HK_WORD_BITS - shift : end - i;
        count +=
            (uint32_t)__builtin_popcountll(words[i / HK_WORD_BITS] >> shift << (HK_WORD_BITS - n));
        i += n;
    }
    return count;
}

static inline size_t hk_min(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t hk_max(size_t a, size_t b) { return a > b ? a : b; }

#endif
