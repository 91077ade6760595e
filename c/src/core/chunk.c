/* core/chunk.c - granules of a chunk. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "chunk.h"

#include "../base/string.h"
#include "../os/check.h"
#include "options.h"
#include "usage.h"

enum {
    /* 1/8 of vm.max_map_count. To the kernel, a page that is not requested as huge, next to one
     * that is, costs one more mapping. In processes with more huge pages than this, whole chunks
     * stop requesting them. */
    CHUNK_MAPPINGS_PART = 8,
    CHUNK_HUGE_PART_BYTES = 4096, /* With larger pages, a huge page is 32 or 512 MiB. */
};

static uint64_t chunk_huge_bytes; /* atomic; bytes of requested huge pages */

uint64_t hk_chunk_huge_bytes(void) { return hk_stat_get(&chunk_huge_bytes); }

size_t hk_chunk_descriptor_bytes(uint32_t granules) {
    return sizeof(struct hk_chunk) + sizeof(uint64_t) * HK_WORDS(granules) * 4;
}

void hk_chunk_init(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, bool written) {
    struct hk_run all = {0, granules};
    memset(chunk, 0, hk_chunk_descriptor_bytes(granules));
    hk_assert(granules <= HK_CHUNK_GRANULES_MAX);

    chunk->base = base;
    chunk->granules = granules;
    chunk->longest = granules;

    chunk->used = chunk->bits;
    chunk->committed = chunk->used + HK_WORDS(granules);
    chunk->written = chunk->committed + HK_WORDS(granules);
    chunk->decayed = chunk->written + HK_WORDS(granules);
    hk_bits_fill(chunk->committed, all, written);
    hk_bits_fill(chunk->written, all, written);
}

/* ---- Runs ------------------------------------------------------------------------------------ */

uint32_t hk_chunk_longest(const struct hk_chunk *chunk) {
    uint32_t longest = 0;
    for (uint32_t at = 0; at < chunk->granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        longest = run.count > longest ? run.count : longest;
        at = run.start + run.count + 1;
    }
    return longest;
}

uint32_t hk_chunk_free_around(const struct hk_chunk *chunk, struct hk_run run) {
    uint32_t start = hk_bits_find_last(chunk->used, run.start, true);
    return hk_bits_find(chunk->used, chunk->granules, run.start + run.count, true) - start;
}

/* Chooses where to take `granules` in a free run. Prefers the first part that is entirely
 * committed, because its pages already exist, and otherwise takes the start. */
static uint32_t run_choose(const struct hk_chunk *chunk, struct hk_run run, uint32_t granules) {
    uint32_t end = run.start + run.count;
    struct hk_run dirty = hk_bits_run(chunk->committed, end, run.start, true);
    while (dirty.count > 0 && dirty.count < granules)
        dirty = hk_bits_run(chunk->committed, end, dirty.start + dirty.count, true);
    return dirty.count >= granules ? dirty.start : run.start;
}

struct hk_run hk_chunk_choose(const struct hk_chunk *chunk, uint32_t granules) {
    struct hk_run best = {0, UINT32_MAX};
    for (uint32_t at = 0; at < chunk->granules && best.count != granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        at = run.start + run.count + 1;
        if (run.count >= granules && run.count < best.count)
            best = run;
    }
    return (struct hk_run){run_choose(chunk, best, granules), granules};
}

struct hk_run hk_chunk_choose_aligned(const struct hk_chunk *chunk, uint32_t granules,
                                      size_t align) {
    for (uint32_t at = 0; at < chunk->granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        uintptr_t address = hk_chunk_address(chunk, run.start);
        size_t skip = (hk_round_up(address, align) - address) >> HK_GRANULE_SHIFT;
        if (skip + granules <= run.count)
            return (struct hk_run){run.start + (uint32_t)skip, granules};
        at = run.start + run.count + 1;
    }
    return (struct hk_run){0, 0};
}

uint32_t hk_chunk_committed(const struct hk_chunk *chunk, struct hk_run run) {
    return hk_bits_count(chunk->committed, run);
}

/* ---- Huge pages ------------------------------------------------------------------------------ */

bool hk_huge_is_wanted(uint64_t bytes) {
    uint64_t threshold = hk_option(HK_OPTION_huge_page_mb) << 20;
    return threshold != 0 && bytes >= threshold && hk_os_page_bytes() == CHUNK_HUGE_PART_BYTES &&
           hk_os_huge_pages_exist();
}

/* The huge pages that a run overlaps. */
static struct hk_run chunk_pages(struct hk_run run) {
    uint32_t start = run.start / HK_HUGE_GRANULES * HK_HUGE_GRANULES;
    uint32_t end = (uint32_t)hk_round_up(run.start + run.count, HK_HUGE_GRANULES);
    return (struct hk_run){start, end - start};
}

struct hk_run hk_chunk_whole_pages(const struct hk_chunk *chunk, struct hk_run run) {
    uint32_t end = run.start + run.count;
    struct hk_run pages = chunk_pages(run);
    uint32_t start = hk_chunk_asks_at(chunk, run.start) ? pages.start : run.start;
    end = hk_chunk_asks_at(chunk, end - 1) ? pages.start + pages.count : end;
    return (struct hk_run){start, end - start};
}

/* Bits of `asks` for the pages of a run. */
static uint32_t chunk_ask_bits(struct hk_run pages) {
    uint64_t ones = (UINT64_C(1) << (pages.count / HK_HUGE_GRANULES)) - 1;
    return (uint32_t)(ones << (pages.start / HK_HUGE_GRANULES));
}

static void chunk_set_asks(struct hk_chunk *chunk, uint32_t asks) {
    uint64_t before = (uint32_t)__builtin_popcount(chunk->asks);
    uint64_t after = (uint32_t)__builtin_popcount(asks);
    hk_store_locked(&chunk->asks, asks);
    hk_stat_add(&chunk_huge_bytes, (after - before) * HK_HUGE_BYTES);
}

/* The huge pages that a run overlaps, or the whole chunk if the process has many mappings. */
static struct hk_run chunk_pages_to_advise(const struct hk_chunk *chunk, struct hk_run run) {
    bool many = hk_usage_bytes() / HK_HUGE_BYTES >= hk_os_mappings_max() / CHUNK_MAPPINGS_PART;
    return many ? (struct hk_run){0, chunk->granules} : chunk_pages(run);
}

struct hk_run hk_chunk_stop_asking(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_run pages = chunk_pages_to_advise(chunk, run);
    uint32_t bits = chunk->asks & chunk_ask_bits(pages);
    if (bits == 0)
        return (struct hk_run){0, 0};
    chunk_set_asks(chunk, chunk->asks & ~bits);
    return pages;
}

struct hk_run hk_chunk_ask_again(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_run pages = chunk_pages_to_advise(chunk, run);
    uint32_t bits = chunk->side == HK_CHUNK_HUGE ? chunk_ask_bits(pages) & ~chunk->asks : 0;
    if (bits == 0 || hk_chunk_committed(chunk, pages) != 0 || !hk_os_huge_pages_exist())
        return (struct hk_run){0, 0};
    chunk_set_asks(chunk, chunk->asks | bits);
    return pages;
}

void hk_chunk_advise(const struct hk_chunk *chunk, struct hk_run pages, enum hk_os_huge huge) {
    if (pages.count > 0)
        hk_os_set_huge((void *)hk_chunk_address(chunk, pages.start), pages.count * HK_GRANULE_BYTES,
                       huge);
}

void hk_chunk_forget_huge(struct hk_chunk *chunk) { chunk_set_asks(chunk, 0); }

/* ---- Validation ------------------------------------------------------------------------------ */

bool hk_chunk_valid(const struct hk_chunk *chunk, struct hk_run purging) {
    bool valid = chunk->longest == hk_chunk_longest(chunk);
    for (uint32_t i = 0; i < chunk->granules && valid; i++) {
        bool used = hk_bit_get(chunk->used, i);
        bool written = hk_bit_get(chunk->written, i);
        bool purged = i - purging.start < purging.count;
        valid = (!used || written || purged) && (!written || hk_bit_get(chunk->committed, i));
    }
    return valid;
}
