/* core/arena.c - granules of one heap. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "arena.h"

#include <string.h>

#include "../os/check.h"
#include "../os/os.h"
#include "dirty.h"
#include "meta.h"
#include "options.h"
#include "usage.h"

enum {
    ARENA_MIB = 1 << 20,
    ARENA_HUGE_BYTES = 2 << 20, /* a huge page of x86-64, and of aarch64 with 4 KiB pages */
    ARENA_HUGE_GRANULES = ARENA_HUGE_BYTES >> HK_GRANULE_SHIFT,
    ARENA_HUGE_DENSE = ARENA_HUGE_GRANULES * 3 / 4, /* in use from which it stays whole */
    ARENA_PURGE_GRANULES = 128,                     /* 8 MiB: most of one purge call */
    ARENA_ALIGNED_SEARCH = 256, /* chunks that a search for an aligned run looks at */
};

static uint64_t arena_huge_bytes;  /* atomic */
static uint64_t arena_dirty_bytes; /* atomic */

uint64_t hk_arena_huge_bytes(void) { return hk_stat_get(&arena_huge_bytes); }

uint64_t hk_arena_dirty_bytes(void) { return hk_stat_get(&arena_dirty_bytes); }

static uint32_t chunk_words(const struct hk_chunk *chunk) { return HK_WORDS(chunk->granules); }

static size_t chunk_descriptor_bytes(uint32_t granules) {
    return sizeof(struct hk_chunk) + 3 * HK_WORDS(granules) * sizeof(uint64_t);
}

/* ---- Buckets: chunks by the length of their longest free run --------------------------------- */

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

/* Marks a run used or free and moves the chunk to its new bucket. Only if it breaks up the longest
 * free run are all the others looked at. */
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

/* A chunk of one side with a free run of `granules`, the fullest such first; NULL if there is none.
 */
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

/* ---- Taking and giving ----------------------------------------------------------------------- */

/* Where to take `granules` from in a free run: the first place that is dirty throughout, as those
 * pages exist already; else its beginning. */
static uint32_t run_choose(const struct hk_chunk *chunk, struct hk_run run, uint32_t granules) {
    uint32_t end = run.start + run.count;
    struct hk_run dirty = hk_bits_run(chunk->touched, end, run.start, true);
    while (dirty.count > 0 && dirty.count < granules)
        dirty = hk_bits_run(chunk->touched, end, dirty.start + dirty.count, true);
    return dirty.count >= granules ? dirty.start : run.start;
}

/* Where to take `granules` from in a chunk that has them: from its shortest run that is long
 * enough. */
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

/* Counts dirty bytes of an arena that came and that went. */
static void arena_count_dirty(struct hk_arena *arena, size_t more, size_t less) {
    uint64_t dirty = arena->dirty + ((more - less) >> HK_GRANULE_SHIFT);
    hk_store_locked(&arena->dirty, dirty);
    hk_stat_add(&arena_dirty_bytes, more - less);
}

/* Marks a run used and touched; false, nothing done, beyond the hard limit. */
static bool chunk_hand_out(struct hk_chunk *chunk, struct hk_run run) {
    size_t dirty = chunk_touched_bytes(chunk, run);
    size_t fresh = run.count * HK_GRANULE_BYTES - dirty;
    if (!hk_usage_add(fresh))
        return false;
    chunk->arena->touched += fresh >> HK_GRANULE_SHIFT;
    arena_count_dirty(chunk->arena, 0, dirty);
    chunk_mark(chunk, run, true);
    hk_bits_fill(chunk->touched, run, true);
    hk_bits_fill(chunk->decayed, run, false);
    return true;
}

/* Hands out a run of a chunk that is free; `chunk` NULL in the result beyond the hard limit. */
static struct hk_granules chunk_take(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_granules taken = {0, NULL, false};
    uint32_t end = run.start + run.count;
    taken.zero = hk_bits_find(chunk->touched, end, run.start, true) == end;
    if (chunk_hand_out(chunk, run)) {
        taken.base = chunk->base + run.start * HK_GRANULE_BYTES;
        taken.chunk = chunk;
    }
    return taken;
}

static struct hk_granules arena_take_existing(struct hk_arena *arena, uint32_t granules,
                                              enum hk_granules_use use) {
    struct hk_chunk *chunk = arena_find(arena, granules, use);
    if (chunk == NULL)
        return (struct hk_granules){0, NULL, false};
    return chunk_take(chunk, chunk_choose(chunk, granules));
}

/* The first free run of `granules` whose address is aligned; count 0 if there is none. */
static struct hk_run chunk_choose_aligned(const struct hk_chunk *chunk, uint32_t granules,
                                          size_t align) {
    for (uint32_t at = 0; at < chunk->granules;) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        uintptr_t address = chunk->base + run.start * HK_GRANULE_BYTES;
        size_t skip = (hk_round_up(address, align) - address) >> HK_GRANULE_SHIFT;
        if (skip + granules <= run.count)
            return (struct hk_run){run.start + (uint32_t)skip, granules};
        at = run.start + run.count + 1;
    }
    return (struct hk_run){0, 0};
}

/* As arena_take_existing. A run need not be longer than `granules` if it lies right, so chunks are
 * tried one after another, the fullest first. */
static struct hk_granules arena_take_aligned(struct hk_arena *arena, uint32_t granules,
                                             size_t align, enum hk_granules_use use) {
    uint32_t tries = ARENA_ALIGNED_SEARCH;
    for (unsigned side = use; side < HK_GRANULES_USES; side++) {
        unsigned bucket = arena_bucket(granules);
        for (; bucket < HK_ARENA_BUCKETS && tries > 0; bucket++) {
            struct hk_chunk *chunk = arena->sides[side].buckets[bucket];
            for (; chunk != NULL && tries > 0; chunk = chunk->next, tries--) {
                struct hk_run run = chunk_choose_aligned(chunk, granules, align);
                if (run.count != 0)
                    return chunk_take(chunk, run);
            }
        }
    }
    return (struct hk_granules){0, NULL, false};
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
    return threshold != 0 && bytes % ARENA_HUGE_BYTES == 0 && hk_usage_bytes() >= threshold &&
           hk_os_huge_pages_exist();
}

/* Address space for a chunk of `most` granules. Kept ranges that the OS refused to unmap come
 * first, as a process that has them is short of mappings. Where nothing can be mapped, any kept
 * range of `least` granules will do, and then a mapping of the smallest size. */
static struct hk_range chunk_map(uint32_t least, uint32_t most, size_t align) {
    size_t bytes = most * HK_GRANULE_BYTES;
    struct hk_range range = {0, bytes, HK_EXTENT_MAPPINGS, false};
    if (align == HK_GRANULE_BYTES && hk_extent_refused_bytes() != 0)
        range = hk_extent_take_kept(bytes, bytes);
    if (range.base != 0)
        return range;

    range = (struct hk_range){0, bytes, hk_extent_number(), false};
    range.base = (uintptr_t)hak_os_map_boundary(bytes, align);
    if (range.base != 0)
        return range;
    struct hk_range kept = hk_extent_take_kept(least * HK_GRANULE_BYTES, bytes);
    if (kept.base != 0)
        return kept;
    range.bytes = arena_next_chunk(0, least) * HK_GRANULE_BYTES;
    range.base = (uintptr_t)hak_os_map_boundary(range.bytes, HK_GRANULE_BYTES);
    return range;
}

/* Fills the descriptor of a chunk that lies in `range`. */
static void chunk_init(struct hk_chunk *chunk, struct hk_arena *arena, struct hk_range range,
                       size_t descriptor_bytes) {
    uint32_t granules = (uint32_t)(range.bytes >> HK_GRANULE_SHIFT);
    memset(chunk, 0, descriptor_bytes);
    chunk->base = range.base;
    chunk->arena = arena;
    chunk->granules = granules;
    chunk->descriptor_bytes = (uint32_t)descriptor_bytes;
    chunk->mapping = range.mapping;
    chunk->longest = granules;
    chunk->used = chunk->bits;
    chunk->touched = chunk->used + HK_WORDS(granules);
    chunk->decayed = chunk->touched + HK_WORDS(granules);
    chunk->side = HK_GRANULES_SPARSE;
    hk_bits_fill(chunk->touched, (struct hk_run){0, granules}, range.dirty);
}

/* A chunk of `most` granules, or at least of `least` if there is no room for so many. */
static struct hk_chunk *chunk_create(struct hk_arena *arena, uint32_t least, uint32_t most,
                                     enum hk_granules_use use) {
    size_t descriptor_bytes = chunk_descriptor_bytes(most);
    struct hk_chunk *chunk = hk_meta_alloc(descriptor_bytes);
    if (chunk == NULL)
        return NULL;
    size_t bytes = most * HK_GRANULE_BYTES;
    bool huge = use == HK_GRANULES_DENSE && arena_wants_huge(bytes);
    size_t align = huge ? ARENA_HUGE_BYTES : HK_GRANULE_BYTES;
    struct hk_range range = chunk_map(least, most, align);
    if (range.base == 0) {
        hk_meta_free(chunk, descriptor_bytes);
        return NULL;
    }

    chunk_init(chunk, arena, range, descriptor_bytes);
    if (huge && range.bytes == bytes && (range.base & (align - 1)) == 0) {
        chunk->huge = true;
        chunk->side = HK_GRANULES_DENSE;
        hk_os_set_huge((void *)range.base, bytes, HK_OS_HUGE_WANTED);
        hk_stat_add(&arena_huge_bytes, bytes);
    }
    return chunk;
}

/* Adds a new chunk. Under the lock. */
static void arena_add_chunk(struct hk_arena *arena, struct hk_chunk *chunk) {
    size_t touched = chunk_touched_bytes(chunk, (struct hk_run){0, chunk->granules});
    arena->chunks_mapped++;
    chunk->older = arena->chunks;
    hk_fence_stores();
    arena->chunks = chunk;
    chunk_link(chunk);
    arena->touched += touched >> HK_GRANULE_SHIFT;
    arena_count_dirty(arena, touched, 0);
}

struct arena_want {
    uint32_t granules;
    size_t align;
    enum hk_granules_use use;
};

/* Granules of a run that holds an aligned one wherever it begins. */
static uint32_t want_granules(struct arena_want want) {
    return want.granules + (uint32_t)(want.align >> HK_GRANULE_SHIFT) - 1;
}

/* No chunk would help. */
static bool arena_is_at_limit(uint32_t granules) {
    bool allowed = hk_usage_add(granules * HK_GRANULE_BYTES);
    if (allowed)
        hk_usage_sub(granules * HK_GRANULE_BYTES);
    return !allowed;
}

/* Takes a run out of the chunks that there are, with *added among them from then on. *size:
 * granules of the next chunk, should there be no run. */
static struct hk_granules arena_try_take(struct hk_arena *arena, struct arena_want want,
                                         struct hk_chunk *added, uint32_t *size) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    if (added != NULL)
        arena_add_chunk(arena, added);
    struct hk_granules taken = want.align == HK_GRANULE_BYTES
                                   ? arena_take_existing(arena, want.granules, want.use)
                                   : arena_take_aligned(arena, want.granules, want.align, want.use);
    *size = arena_next_chunk(arena->chunks_mapped, want_granules(want));
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return taken;
}

/* Adds chunks until one has the run. One thread at a time does it: many threads that find no run at
 * once need one chunk together, not one each. */
static struct hk_granules arena_grow(struct hk_arena *arena, struct arena_want want) {
    uint32_t size;
    hk_lock(&arena->growth, HK_RANK_GROWTH);
    struct hk_granules taken = arena_try_take(arena, want, NULL, &size);
    while (taken.chunk == NULL && !arena_is_at_limit(want.granules)) {
        struct hk_chunk *added = chunk_create(arena, want_granules(want), size, want.use);
        if (added == NULL)
            break;
        /* An aligned run may have been used up by threads that take shorter ones. */
        taken = arena_try_take(arena, want, added, &size);
    }
    hk_unlock(&arena->growth, HK_RANK_GROWTH);
    return taken;
}

struct hk_granules hk_arena_take_aligned(struct hk_arena *arena, uint32_t granules, size_t align,
                                         enum hk_granules_use use) {
    struct arena_want want = {granules, align, use};
    hk_assert(granules >= 1 && want_granules(want) <= HK_ARENA_GRANULES_MAX);
    uint32_t size;
    struct hk_granules taken = arena_try_take(arena, want, NULL, &size);
    return hk_likely(taken.chunk != NULL) ? taken : arena_grow(arena, want);
}

struct hk_granules hk_arena_take(struct hk_arena *arena, uint32_t granules,
                                 enum hk_granules_use use) {
    return hk_arena_take_aligned(arena, granules, HK_GRANULE_BYTES, use);
}

static struct hk_run chunk_run(const struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    return (struct hk_run){(uint32_t)((base - chunk->base) >> HK_GRANULE_SHIFT), granules};
}

void hk_arena_give(struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    struct hk_arena *arena = chunk->arena;
    struct hk_run run = chunk_run(chunk, base, granules);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    chunk_mark(chunk, run, false);
    arena_count_dirty(arena, granules * HK_GRANULE_BYTES, 0);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    hk_dirty_signal();
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

/* ---- Giving back to the OS ------------------------------------------------------------------- */

/* Whether granule `i` lies in a huge page that is worth keeping whole. */
static bool chunk_is_dense_at(const struct hk_chunk *chunk, uint32_t i) {
    if (!hk_load_relaxed(&chunk->huge)) /* relaxed: stored by this thread or under the same lock */
        return false;
    uint32_t start = i / ARENA_HUGE_GRANULES * ARENA_HUGE_GRANULES;
    uint64_t half = chunk->used[start / HK_WORD_BITS] >> (start % HK_WORD_BITS);
    return __builtin_popcount((uint32_t)half) >= ARENA_HUGE_DENSE;
}

/* The next run of at most `most` granules, from `from` on, that is free, touched and (unless all
 * are wanted) was so at the last scan. Updates `decayed` up to the end of what it returns. */
static struct hk_run chunk_next_purge(struct hk_chunk *chunk, uint32_t from, uint32_t most,
                                      enum hk_purge which) {
    struct hk_run purge = {chunk->granules, 0};
    for (uint32_t i = from; i < chunk->granules && purge.count < most; i++) {
        bool dirty = !hk_bit_get(chunk->used, i) && hk_bit_get(chunk->touched, i);
        bool wanted = dirty && (which != HK_PURGE_DECAYED ||
                                (hk_bit_get(chunk->decayed, i) && !chunk_is_dense_at(chunk, i)));
        if (wanted && purge.count == 0)
            purge.start = i;
        if (wanted)
            purge.count++;
        else if (purge.count > 0)
            break;
        hk_bits_fill(chunk->decayed, (struct hk_run){i, 1}, dirty);
    }
    return purge;
}

/* Marks a free run used while its pages are given back. Under the lock. */
static void arena_hold(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_arena *arena = chunk->arena;
    arena->purging_run = run;
    hk_fence_stores();
    arena->purging = chunk;
    hk_fence_stores();
    chunk_mark(chunk, run, true);
}

/* Frees that run. Under the lock. */
static void arena_unhold(struct hk_arena *arena) {
    chunk_mark(arena->purging, arena->purging_run, false);
    hk_fence_stores();
    arena->purging = NULL;
}

/* Gives back the pages of a run that is held. Returns their bytes; 0 if the OS refuses. Called and
 * returns under the lock. */
static size_t arena_purge_held(struct hk_arena *arena, struct hk_purge_budget *budget) {
    struct hk_chunk *chunk = arena->purging;
    struct hk_run run = arena->purging_run;
    size_t bytes = run.count * HK_GRANULE_BYTES;
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    bool done = hk_os_purge((void *)(chunk->base + run.start * HK_GRANULE_BYTES), bytes);
    hk_purge_spend(budget, 1, done ? bytes : 0);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    if (!done)
        return 0;
    size_t touched = chunk_touched_bytes(chunk, run);
    hk_bits_fill(chunk->touched, run, false);
    hk_bits_fill(chunk->decayed, run, false);
    hk_usage_sub(touched);
    arena->touched -= touched >> HK_GRANULE_SHIFT;
    arena_count_dirty(arena, 0, touched);
    return touched;
}

/* A huge page may have put pages behind granules that nobody touched. They go back once their chunk
 * is excluded from huge pages. */
static void chunk_purge_untouched(struct hk_chunk *chunk, struct hk_purge_budget *budget) {
    struct hk_arena *arena = chunk->arena;
    uint32_t at = 0;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    while (at < chunk->granules && !hk_purge_is_spent(budget)) {
        struct hk_run run = hk_bits_run(chunk->used, chunk->granules, at, false);
        struct hk_run touched = hk_bits_run(chunk->touched, run.start + run.count, run.start, true);
        uint32_t end = touched.count > 0 ? touched.start : run.start + run.count;
        at = touched.count > 0 ? touched.start + touched.count : run.start + run.count + 1;
        if (end <= run.start)
            continue;
        arena_hold(chunk, (struct hk_run){run.start, end - run.start});
        arena_purge_held(arena, budget);
        arena_unhold(arena);
    }
    chunk->sweep = at < chunk->granules;
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

void hk_arena_stop_huge(struct hk_chunk *chunk) {
    if (hk_likely(chunk->small_pages))
        return;
    chunk->small_pages = true;
    bool huge = hk_load_relaxed(&chunk->huge); /* relaxed: as in chunk_is_dense_at */
    if (!huge && hk_os_huge_mode() != HK_OS_HUGE_ALWAYS)
        return;
    size_t bytes = chunk->granules * HK_GRANULE_BYTES;
    hk_os_set_huge((void *)chunk->base, bytes, HK_OS_HUGE_REFUSED);
    chunk->sweep = true;
    if (!huge)
        return;
    hk_store_relaxed(&chunk->huge, false); /* relaxed: as above */
    hk_stat_sub(&arena_huge_bytes, bytes);
}

/* Granules that the next purge call may give back. */
static uint32_t budget_granules(const struct hk_purge_budget *budget) {
    size_t granules = budget->bytes / HK_GRANULE_BYTES + 1;
    return granules < ARENA_PURGE_GRANULES ? (uint32_t)granules : ARENA_PURGE_GRANULES;
}

/* Purges a chunk run by run, from arena->purge_from on, which it leaves behind the last run. */
static size_t chunk_purge(struct hk_chunk *chunk, enum hk_purge which,
                          struct hk_purge_budget *budget) {
    struct hk_arena *arena = chunk->arena;
    size_t bytes = 0;
    while (!hk_purge_is_spent(budget)) {
        hk_lock(&arena->lock, HK_RANK_ARENA);
        struct hk_run run =
            chunk_next_purge(chunk, arena->purge_from, budget_granules(budget), which);
        if (run.count != 0)
            arena_hold(chunk, run);
        hk_unlock(&arena->lock, HK_RANK_ARENA);
        arena->purge_from = run.start + run.count;
        if (run.count == 0)
            return bytes;

        hk_arena_stop_huge(chunk);
        hk_lock(&arena->lock, HK_RANK_ARENA);
        bytes += arena_purge_held(arena, budget);
        arena_unhold(arena);
        hk_unlock(&arena->lock, HK_RANK_ARENA);
        if (chunk->sweep)
            chunk_purge_untouched(chunk, budget);
    }
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
        size_t touched = chunk_touched_bytes(chunk, (struct hk_run){0, chunk->granules});
        arena->purge_at = chunk == arena->purge_at ? NULL : arena->purge_at;
        hk_fence_stores(); /* a forked child never finds a chunk there that is in no list */
        *at = chunk->older;
        hk_fence_stores();
        chunk_unlink(chunk);
        arena->touched -= touched >> HK_GRANULE_SHIFT;
        arena_count_dirty(arena, 0, touched);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return chunk;
}

/* Unmaps a chunk that is in no arena. Where the OS refuses, its range is kept without pages, and
 * the descriptor becomes its node. Returns the bytes that went back. */
static size_t chunk_unmap(struct hk_chunk *chunk) {
    size_t bytes = chunk->granules * HK_GRANULE_BYTES;
    size_t touched = chunk_touched_bytes(chunk, (struct hk_run){0, chunk->granules});
    struct hk_range range = {chunk->base, bytes, chunk->mapping, false};
    if (hk_load_relaxed(&chunk->huge)) /* relaxed: as in chunk_is_dense_at; a statistic */
        hk_sub_relaxed(&arena_huge_bytes, bytes);
    if (hk_os_unmap((void *)chunk->base, bytes)) {
        hk_usage_sub(touched);
        hk_meta_free(chunk, chunk->descriptor_bytes);
        return touched;
    }

    range.dirty = touched != 0 && !hk_os_purge((void *)chunk->base, bytes);
    if (range.dirty)
        hk_usage_note(bytes - touched);
    else
        hk_usage_sub(touched);
    hk_extent_keep(range, chunk, chunk->descriptor_bytes);
    return range.dirty ? 0 : touched;
}

/* Chunks that the OS refuses to unmap end it: the others need mappings as well. */
static size_t arena_unmap_free_chunks(struct hk_arena *arena, struct hk_purge_budget *budget) {
    size_t bytes = 0;
    struct hk_chunk *chunk;
    while (!hk_purge_is_spent(budget) && (chunk = arena_detach_free_chunk(arena)) != NULL) {
        size_t given = chunk_unmap(chunk);
        hk_purge_spend(budget, 1, given);
        bytes += given;
    }
    return bytes;
}

void hk_arena_obey_huge_mode(struct hk_arena *arena) {
    if (hk_arena_huge_bytes() == 0 || hk_os_huge_pages_exist())
        return;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    struct hk_chunk *chunk = arena->chunks;
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    for (; chunk != NULL; chunk = chunk->older) { /* as in hk_arena_purge */
        if (hk_load_relaxed(&chunk->huge))        /* relaxed: as in chunk_is_dense_at */
            hk_arena_stop_huge(chunk);
    }
}

size_t hk_arena_purge(struct hk_arena *arena, enum hk_purge which, struct hk_purge_budget *budget) {
    size_t bytes = which == HK_PURGE_ALL ? arena_unmap_free_chunks(arena, budget) : 0;
    /* relaxed: a scan that misses a release now sees it the next time. Without the lock, scans do
     * not write to the memory of heaps that rest. */
    if (hk_purge_is_spent(budget) ||
        (hk_load_relaxed(&arena->dirty) == 0 && arena->purge_at == NULL))
        return bytes;

    /* Chunks leave the list only here, under the PURGE lock, and new ones are added at its head. */
    struct hk_chunk *chunk = arena->purge_which == which ? arena->purge_at : NULL;
    if (chunk == NULL) {
        hk_lock(&arena->lock, HK_RANK_ARENA);
        chunk = arena->chunks;
        hk_unlock(&arena->lock, HK_RANK_ARENA);
        arena->purge_from = 0;
    }
    while (chunk != NULL) {
        bytes += chunk_purge(chunk, which, budget);
        if (hk_purge_is_spent(budget))
            break;
        chunk = chunk->older;
        arena->purge_from = 0;
    }
    arena->purge_at = chunk;
    arena->purge_which = which;
    return bytes;
}

/* ---- Repair ---------------------------------------------------------------------------------- */

/* Derives what is known of a chunk from its bits, and adds it to a bucket. Returns its dirty
 * granules. */
static uint32_t chunk_repair(struct hk_chunk *chunk) {
    uint32_t dirty = 0;
    for (uint32_t i = 0; i < chunk_words(chunk); i++) {
        chunk->touched[i] |= chunk->used[i];
        chunk->decayed[i] &= chunk->touched[i] & ~chunk->used[i];
        dirty += (uint32_t)__builtin_popcountll(chunk->touched[i] & ~chunk->used[i]);
        chunk->arena->touched += (uint32_t)__builtin_popcountll(chunk->touched[i]);
    }
    chunk->longest = chunk_longest(chunk);
    chunk_link(chunk);
    return dirty;
}

/* A purge that had not yet marked its run, or had begun to free it, is ended. Left for the repair
 * of the purge, which may come much later, it would free granules that are handed out again by
 * then. */
static void arena_repair_purging(struct hk_arena *arena) {
    struct hk_chunk *chunk = arena->purging;
    struct hk_run run = arena->purging_run;
    uint32_t end = run.start + run.count;
    if (chunk == NULL || hk_bits_find(chunk->used, end, run.start, false) == end)
        return;
    hk_bits_fill(chunk->used, run, false);
    arena->purging = NULL;
}

void hk_arena_repair(struct hk_arena *arena) {
    arena_repair_purging(arena);
    uint64_t touched = arena->touched;
    uint64_t dirty = 0;
    memset(arena->sides, 0, sizeof arena->sides);
    arena->touched = 0;
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        dirty += chunk_repair(chunk);

    hk_usage_sub((size_t)(touched - arena->touched) << HK_GRANULE_SHIFT);
    arena_count_dirty(arena, (size_t)dirty << HK_GRANULE_SHIFT,
                      (size_t)arena->dirty << HK_GRANULE_SHIFT);
}

void hk_arena_repair_purge(struct hk_arena *arena) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    arena->purge_at = NULL;
    if (arena->purging != NULL) {
        hk_bits_fill(arena->purging->used, arena->purging_run, false);
        arena->purging = NULL;
        hk_arena_repair(arena);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

/* ---- Looking --------------------------------------------------------------------------------- */

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

/* A run whose pages are being given back may be untouched. */
static bool chunk_is_purged_at(const struct hk_chunk *chunk, uint32_t i) {
    return chunk->arena->purging == chunk &&
           i - chunk->arena->purging_run.start < chunk->arena->purging_run.count;
}

static bool chunk_valid(const struct hk_chunk *chunk) {
    bool untouched_in_use = false;
    for (uint32_t i = 0; i < chunk->granules; i++)
        untouched_in_use |= hk_bit_get(chunk->used, i) && !hk_bit_get(chunk->touched, i) &&
                            !chunk_is_purged_at(chunk, i);
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
