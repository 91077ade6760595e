/* core/arena.c - granules of one heap. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "arena.h"

#include <string.h>

#include "../os/check.h"
#include "../os/os.h"
#include "meta.h"
#include "options.h"
#include "usage.h"

enum {
    ARENA_MIB = 1 << 20,
    ARENA_HUGE_BYTES = 2 << 20, /* a huge page of x86-64, and of aarch64 with 4 KiB pages */
    ARENA_HUGE_GRANULES = ARENA_HUGE_BYTES >> HK_GRANULE_SHIFT,
    ARENA_HUGE_DENSE = ARENA_HUGE_GRANULES * 3 / 4, /* in use from which it stays whole */
};

static uint64_t arena_huge_bytes;  /* atomic */
static uint64_t arena_dirty_bytes; /* atomic */

uint64_t hk_arena_huge_bytes(void) {
    return hk_load_relaxed(&arena_huge_bytes); /* relaxed: a statistic */
}

uint64_t hk_arena_dirty_bytes(void) {
    return hk_load_relaxed(&arena_dirty_bytes); /* relaxed: a statistic */
}

static uint32_t chunk_words(const struct hk_chunk *chunk) { return HK_WORDS(chunk->granules); }

static size_t chunk_descriptor_bytes(uint32_t granules) {
    return sizeof(struct hk_chunk) + 3 * HK_WORDS(granules) * sizeof(uint64_t);
}

/* ---- Buckets: chunks by the length of their longest free run ---------------------------------- */

/* Exact to 8 granules, then four buckets per doubling; rises with `granules`. */
static unsigned arena_bucket(uint32_t granules) {
    if (granules <= 8)
        return granules - 1;
    unsigned log = hk_log2(granules - 1);
    return (log - 3) * 4 + ((granules - 1) >> (log - 2)) % 4 + 8;
}

static void chunk_unlink(struct hk_chunk *chunk) {
    if (chunk->longest == 0)
        return;
    struct hk_arena_side *side = &chunk->arena->sides[chunk->side];
    unsigned bucket = arena_bucket(chunk->longest);
    if (chunk->prev != NULL)
        chunk->prev->next = chunk->next;
    else
        side->buckets[bucket] = chunk->next;
    if (chunk->next != NULL)
        chunk->next->prev = chunk->prev;
    if (side->buckets[bucket] == NULL)
        side->filled &= ~(UINT64_C(1) << bucket);
}

static void chunk_link(struct hk_chunk *chunk) {
    if (chunk->longest == 0)
        return;
    struct hk_arena_side *side = &chunk->arena->sides[chunk->side];
    unsigned bucket = arena_bucket(chunk->longest);
    chunk->prev = NULL;
    chunk->next = side->buckets[bucket];
    if (chunk->next != NULL)
        chunk->next->prev = chunk;
    side->buckets[bucket] = chunk;
    side->filled |= UINT64_C(1) << bucket;
}

static uint32_t chunk_longest(const struct hk_chunk *chunk) {
    uint32_t longest = 0;
    for (uint32_t at = 0; at < chunk->granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        longest = run.count > longest ? run.count : longest;
        at = run.start + run.count + 1;
    }
    return longest;
}

/* The free granules around a free run, itself included. */
static uint32_t chunk_free_around(const struct hk_chunk *chunk, struct hk_run run) {
    uint32_t start = hk_bits_find_last(chunk->used, run.start, true);
    return hk_bits_find(chunk->used, chunk->granules, run.start + run.count, true) - start;
}

/* Marks a run used or free and moves the chunk to its new bucket. Only if it breaks up the longest free
 * run are all the others looked at. */
static void chunk_mark(struct hk_chunk *chunk, struct hk_run run, bool used) {
    uint32_t longest = chunk->longest;
    bool broken = used && chunk_free_around(chunk, run) == longest;
    hk_bits_fill(chunk->used, run, used);
    if (broken) {
        longest = chunk_longest(chunk);
    } else if (!used) {
        uint32_t merged = chunk_free_around(chunk, run);
        longest = merged > longest ? merged : longest;
    }
    if (longest == chunk->longest)
        return;
    chunk_unlink(chunk);
    chunk->longest = longest;
    chunk_link(chunk);
}

/* A chunk of one side with a free run of `granules`, the fullest such first; NULL if there is none. */
static struct hk_chunk *side_find(const struct hk_arena_side *side, uint32_t granules) {
    unsigned bucket = arena_bucket(granules);
    for (struct hk_chunk *chunk = side->buckets[bucket]; chunk != NULL; chunk = chunk->next) {
        if (chunk->longest >= granules)
            return chunk;
    }
    uint64_t longer = side->filled & ~((UINT64_C(2) << bucket) - 1);
    return longer == 0 ? NULL : side->buckets[__builtin_ctzll(longer)];
}

/* Dense use goes to the chunks meant for it first; sparse use goes only to the others. */
static struct hk_chunk *arena_find(const struct hk_arena *arena, uint32_t granules,
                                   enum hk_granules_use use) {
    struct hk_chunk *chunk = NULL;
    for (unsigned side = use; side < HK_GRANULES_USES && chunk == NULL; side++)
        chunk = side_find(&arena->sides[side], granules);
    return chunk;
}

/* ---- Taking and giving ------------------------------------------------------------------------- */

/* Where to take `granules` from in a free run: the first place that is dirty throughout, as those
 * pages exist already; else its beginning. */
static uint32_t run_choose(const struct hk_chunk *chunk, struct hk_run run, uint32_t granules) {
    uint32_t end = run.start + run.count;
    struct hk_run dirty = hk_bits_run(chunk->touched, end, run.start, true);
    while (dirty.count > 0 && dirty.count < granules)
        dirty = hk_bits_run(chunk->touched, end, dirty.start + dirty.count, true);
    return dirty.count >= granules ? dirty.start : run.start;
}

/* Where to take `granules` from in a chunk that has them: from its shortest run that is long enough. */
static struct hk_run chunk_choose(const struct hk_chunk *chunk, uint32_t granules) {
    struct hk_run best = {0, UINT32_MAX};
    for (uint32_t at = 0; at < chunk->granules && best.count != granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        at = run.start + run.count + 1;
        if (run.count >= granules && run.count < best.count)
            best = run;
    }
    return (struct hk_run){run_choose(chunk, best, granules), granules};
}

static size_t chunk_touched_bytes(const struct hk_chunk *chunk, struct hk_run run) {
    size_t granules = 0;
    for (uint32_t i = run.start; i < run.start + run.count; i++)
        granules += hk_bit_get(chunk->touched, i);
    return granules * HK_GRANULE_BYTES;
}

/* Marks a run used and touched; false, nothing done, beyond the hard limit. */
static bool chunk_hand_out(struct hk_chunk *chunk, struct hk_run run) {
    size_t dirty = chunk_touched_bytes(chunk, run);
    if (!hk_usage_add(run.count * HK_GRANULE_BYTES - dirty))
        return false;
    hk_sub_relaxed(&arena_dirty_bytes, dirty); /* relaxed: a statistic */
    chunk_mark(chunk, run, true);
    hk_bits_fill(chunk->touched, run, true);
    hk_bits_fill(chunk->aged, run, false);
    return true;
}

static struct hk_granules arena_take_existing(struct hk_arena *arena, uint32_t granules,
                                              enum hk_granules_use use) {
    struct hk_granules taken = {0, NULL, false};
    struct hk_chunk *chunk = arena_find(arena, granules, use);
    if (chunk == NULL)
        return taken;
    struct hk_run run = chunk_choose(chunk, granules);
    uint32_t end = run.start + run.count;
    taken.zero = hk_bits_find(chunk->touched, end, run.start, true) == end;
    if (chunk_hand_out(chunk, run)) {
        taken.base = chunk->base + run.start * HK_GRANULE_BYTES;
        taken.chunk = chunk;
    }
    return taken;
}

/* Granules of the next chunk, which must hold at least `granules`. */
static uint32_t arena_next_chunk(uint32_t chunks_mapped, uint32_t granules) {
    uint64_t levels = hk_option(HK_OPTION_pool_tls_arena_growth_levels);
    uint64_t mib = hk_option(HK_OPTION_pool_tls_arena_mb_init)
                   << (chunks_mapped < levels ? chunks_mapped : levels);
    uint64_t max = hk_option(HK_OPTION_pool_tls_arena_mb_max);
    mib = mib < max ? mib : max;
    uint64_t needed = hk_round_up(granules * HK_GRANULE_BYTES, ARENA_MIB) / ARENA_MIB;
    mib = mib > needed ? mib : needed;
    return (uint32_t)(mib * (ARENA_MIB / HK_GRANULE_BYTES));
}

/* Chunks of whole huge pages, once so much is in use that they will be filled. */
static bool arena_wants_huge(size_t bytes) {
    uint64_t threshold = hk_option(HK_OPTION_huge_page_mb) * ARENA_MIB;
    return threshold != 0 && bytes % ARENA_HUGE_BYTES == 0 && hk_usage_bytes() >= threshold;
}

static struct hk_chunk *chunk_create(struct hk_arena *arena, uint32_t granules,
                                     enum hk_granules_use use) {
    size_t descriptor_bytes = chunk_descriptor_bytes(granules);
    struct hk_chunk *chunk = hk_meta_alloc(descriptor_bytes);
    if (chunk == NULL)
        return NULL;
    size_t bytes = granules * HK_GRANULE_BYTES;
    bool huge = use == HK_GRANULES_DENSE && arena_wants_huge(bytes);
    void *base = hak_os_map_boundary(bytes, huge ? ARENA_HUGE_BYTES : HK_GRANULE_BYTES);
    if (base == NULL) {
        hk_meta_free(chunk, descriptor_bytes);
        return NULL;
    }
    memset(chunk, 0, descriptor_bytes);
    chunk->base = (uintptr_t)base;
    chunk->arena = arena;
    chunk->granules = granules;
    chunk->longest = granules;
    chunk->used = chunk->bits;
    chunk->touched = chunk->used + HK_WORDS(granules);
    chunk->aged = chunk->touched + HK_WORDS(granules);
    chunk->huge = huge;
    chunk->side = huge ? HK_GRANULES_DENSE : HK_GRANULES_SPARSE;
    if (huge) {
        hk_os_set_huge(base, bytes, HK_OS_HUGE_WANTED);
        hk_add_relaxed(&arena_huge_bytes, bytes); /* relaxed: a statistic */
    }
    return chunk;
}

/* No chunk would help. */
static bool arena_is_at_limit(uint32_t granules) {
    bool allowed = hk_usage_add(granules * HK_GRANULE_BYTES);
    if (allowed)
        hk_usage_sub(granules * HK_GRANULE_BYTES);
    return !allowed;
}

struct hk_granules hk_arena_take(struct hk_arena *arena, uint32_t granules,
                                 enum hk_granules_use use) {
    hk_assert(granules >= 1 && granules <= HK_ARENA_GRANULES_MAX);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    struct hk_granules taken = arena_take_existing(arena, granules, use);
    uint32_t size = arena_next_chunk(arena->chunks_mapped, granules);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    if (taken.chunk != NULL || arena_is_at_limit(granules))
        return taken;

    struct hk_chunk *chunk = chunk_create(arena, size, use);
    if (chunk == NULL) /* a full-sized chunk may be too much where the minimum is not */
        chunk = chunk_create(arena, arena_next_chunk(0, granules), use);
    if (chunk == NULL)
        return taken;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    arena->chunks_mapped++;
    chunk->older = arena->chunks;
    arena->chunks = chunk;
    chunk_link(chunk);
    /* Another thread may have used up the new chunk, but it made room elsewhere then, or the next
     * round maps another. */
    taken = arena_take_existing(arena, granules, use);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return taken.chunk != NULL ? taken : hk_arena_take(arena, granules, use);
}

static struct hk_run chunk_run(const struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    return (struct hk_run){(uint32_t)((base - chunk->base) >> HK_GRANULE_SHIFT), granules};
}

void hk_arena_give(struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    struct hk_arena *arena = chunk->arena;
    struct hk_run run = chunk_run(chunk, base, granules);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    chunk_mark(chunk, run, false);
    hk_add_relaxed(&arena_dirty_bytes, granules * HK_GRANULE_BYTES); /* relaxed: a statistic */
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

bool hk_arena_extend(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, uint32_t more) {
    struct hk_arena *arena = chunk->arena;
    struct hk_run run = chunk_run(chunk, base + granules * HK_GRANULE_BYTES, more);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    uint32_t end = run.start + run.count;
    bool taken = end <= chunk->granules && hk_bits_find(chunk->used, end, run.start, true) == end &&
                 chunk_hand_out(chunk, run);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return taken;
}

/* ---- Giving back to the OS --------------------------------------------------------------------- */

/* Whether granule `i` lies in a huge page that is worth keeping whole. */
static bool chunk_is_dense_at(const struct hk_chunk *chunk, uint32_t i) {
    if (!hk_load_relaxed(&chunk->huge)) /* relaxed: stored by this thread or under the same lock */
        return false;
    uint32_t start = i / ARENA_HUGE_GRANULES * ARENA_HUGE_GRANULES;
    uint64_t half = chunk->used[start / HK_WORD_BITS] >> (start % HK_WORD_BITS);
    return __builtin_popcount((uint32_t)half) >= ARENA_HUGE_DENSE;
}

/* The next run of granules, from `from` on, that is free, touched and (unless all are wanted) was so
 * at the last look. Updates `aged` up to the end of what it returns. */
static struct hk_run chunk_next_purge(struct hk_chunk *chunk, uint32_t from, enum hk_purge which) {
    struct hk_run purge = {chunk->granules, 0};
    for (uint32_t i = from; i < chunk->granules; i++) {
        bool dirty = !hk_bit_get(chunk->used, i) && hk_bit_get(chunk->touched, i);
        bool wanted = dirty && (which == HK_PURGE_ALL ||
                                (hk_bit_get(chunk->aged, i) && !chunk_is_dense_at(chunk, i)));
        if (wanted && purge.count == 0)
            purge.start = i;
        if (wanted)
            purge.count++;
        else if (purge.count > 0)
            break;
        hk_bits_fill(chunk->aged, (struct hk_run){i, 1}, dirty);
    }
    return purge;
}

void hk_arena_stop_huge(struct hk_chunk *chunk) {
    if (!hk_load_relaxed(&chunk->huge)) /* relaxed: as in chunk_is_dense_at */
        return;
    size_t bytes = chunk->granules * HK_GRANULE_BYTES;
    hk_os_set_huge((void *)chunk->base, bytes, HK_OS_HUGE_REFUSED);
    hk_store_relaxed(&chunk->huge, false);    /* relaxed: as above */
    hk_sub_relaxed(&arena_huge_bytes, bytes); /* relaxed: a statistic */
}

/* Purges a chunk run by run. A run is marked used meanwhile, so that nobody takes it while the lock
 * is not held. */
static size_t chunk_purge(struct hk_chunk *chunk, enum hk_purge which) {
    struct hk_arena *arena = chunk->arena;
    size_t bytes = 0;
    struct hk_run run = {0, 0};
    hk_lock(&arena->lock, HK_RANK_ARENA);
    while ((run = chunk_next_purge(chunk, run.start + run.count, which)).count > 0) {
        chunk_mark(chunk, run, true);
        hk_unlock(&arena->lock, HK_RANK_ARENA);
        size_t run_bytes = run.count * HK_GRANULE_BYTES;
        hk_arena_stop_huge(chunk);
        bool done = hk_os_purge((void *)(chunk->base + run.start * HK_GRANULE_BYTES), run_bytes);
        hk_lock(&arena->lock, HK_RANK_ARENA);
        if (done) {
            hk_bits_fill(chunk->touched, run, false);
            hk_bits_fill(chunk->aged, run, false);
            hk_usage_sub(run_bytes);
            hk_sub_relaxed(&arena_dirty_bytes, run_bytes); /* relaxed: a statistic */
            bytes += run_bytes;
        }
        chunk_mark(chunk, run, false);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return bytes;
}

/* Takes a chunk out of the arena that is entirely free, if there is one. */
static struct hk_chunk *arena_detach_free_chunk(struct hk_arena *arena) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    struct hk_chunk **at = &arena->chunks;
    while (*at != NULL && (*at)->longest < (*at)->granules)
        at = &(*at)->older;
    struct hk_chunk *chunk = *at;
    if (chunk != NULL) {
        *at = chunk->older;
        chunk_unlink(chunk);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return chunk;
}

static size_t arena_unmap_free_chunks(struct hk_arena *arena) {
    size_t bytes = 0;
    struct hk_chunk *chunk;
    while ((chunk = arena_detach_free_chunk(arena)) != NULL) {
        size_t touched = chunk_touched_bytes(chunk, (struct hk_run){0, chunk->granules});
        hk_usage_sub(touched);
        hk_sub_relaxed(&arena_dirty_bytes, touched); /* relaxed: a statistic */
        bytes += touched;
        if (hk_load_relaxed(&chunk->huge)) /* relaxed: as in chunk_is_dense_at; a statistic */
            hk_sub_relaxed(&arena_huge_bytes, chunk->granules * HK_GRANULE_BYTES);
        hk_os_unmap((void *)chunk->base, chunk->granules * HK_GRANULE_BYTES);
        hk_meta_free(chunk, chunk_descriptor_bytes(chunk->granules));
    }
    return bytes;
}

size_t hk_arena_purge(struct hk_arena *arena, enum hk_purge which) {
    size_t bytes = which == HK_PURGE_ALL ? arena_unmap_free_chunks(arena) : 0;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    struct hk_chunk *chunk = arena->chunks;
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    /* Chunks leave the list only here, under the PURGE lock; new ones are added at its head. */
    for (; chunk != NULL; chunk = chunk->older)
        bytes += chunk_purge(chunk, which);
    return bytes;
}

/* ---- Looking ----------------------------------------------------------------------------------- */

void hk_arena_visit(struct hk_arena *arena, uint32_t (*visit)(void *arg, uintptr_t base),
                    void *arg) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older) {
        uint32_t at = 0;
        while ((at = hk_bits_find(chunk->used, chunk->granules, at, true)) < chunk->granules)
            at += visit(arg, chunk->base + at * HK_GRANULE_BYTES);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

static bool chunk_valid(const struct hk_chunk *chunk) {
    bool untouched_in_use = false;
    for (uint32_t i = 0; i < chunk_words(chunk); i++)
        untouched_in_use |= (chunk->used[i] & ~chunk->touched[i]) != 0;
    return !untouched_in_use && chunk->longest == chunk_longest(chunk);
}

bool hk_arena_valid(struct hk_arena *arena) {
    bool valid = true;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        valid = valid && chunk_valid(chunk);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return valid;
}
