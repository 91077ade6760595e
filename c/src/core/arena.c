/* core/arena.c - granules of one heap. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "arena.h"

#include "../base/probe.h"
#include "../base/string.h"
#include "../os/check.h"
#include "../os/os.h"
#include "dirty.h"
#include "meta.h"
#include "options.h"
#include "usage.h"

enum {
    ARENA_MIB = 1 << 20,
    ARENA_ALIGNED_SEARCH = 256, /* chunks examined by a search for an aligned run */
    /* Huge pages are used only once dense use has taken 1/2 of the huge-page threshold. An arena of
     * 4 MiB may hold no more than the first slabs of all classes, with few pages touched. With huge
     * pages after 1/4, a program on an asynchronous runtime used 10.4 MB instead of 8.7. */
    ARENA_DENSE_PART = 2,
};

static uint64_t arena_dirty_bytes; /* atomic */

uint64_t hk_arena_dirty_bytes(void) { return hk_stat_get(&arena_dirty_bytes); }

/* ---- Buckets: chunks by the length of their longest free run --------------------------------- */

/* The bucket is exact up to 8 granules, then there are four buckets per doubling. It increases with
 * `granules`. */
static unsigned arena_bucket(uint32_t granules) {
    if (granules <= 8)
        return granules - 1;
    unsigned log = hk_log2(granules - 1);
    return (log - 3) * 4 + ((granules - 1) >> (log - 2)) % 4 + 8;
}

void hk_arena_unlink(struct hk_chunk *chunk) {
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

static void arena_link(struct hk_chunk *chunk) {
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

/* Searches for the longest free run only if `run` breaks up the current one. */
void hk_arena_mark(struct hk_chunk *chunk, struct hk_run run, bool used) {
    uint32_t longest = chunk->longest;
    bool broken = used && hk_chunk_free_around(chunk, run) == longest;
    hk_bits_fill(chunk->used, run, used);

    if (broken) {
        longest = hk_chunk_longest(chunk);
    } else if (!used) {
        uint32_t merged = hk_chunk_free_around(chunk, run);
        longest = merged > longest ? merged : longest;
    }

    if (longest == chunk->longest)
        return;
    hk_arena_unlink(chunk);
    chunk->longest = longest;
    arena_link(chunk);
}

/* Finds a chunk of one side with a free run of `granules`, preferring the fullest. Returns NULL if
 * there is none. */
static struct hk_chunk *side_find(const struct hk_arena_side *side, uint32_t granules) {
    unsigned bucket = arena_bucket(granules);
    for (struct hk_chunk *chunk = side->buckets[bucket]; chunk != NULL; chunk = chunk->next) {
        if (chunk->longest >= granules)
            return chunk;
    }
    uint64_t longer = side->filled & ~((UINT64_C(2) << bucket) - 1);
    return longer == 0 ? NULL : side->buckets[__builtin_ctzll(longer)];
}

/* Finds a chunk among the two sides that serve a use. */
static struct hk_chunk *arena_find(const struct hk_arena *arena, uint32_t granules,
                                   enum hk_granules_use use) {
    struct hk_chunk *chunk = NULL;
    for (unsigned side = use; side <= use + 1 && chunk == NULL; side++)
        chunk = side_find(&arena->sides[side], granules);
    return chunk;
}

/* ---- Taking and giving ----------------------------------------------------------------------- */

void hk_arena_count_dirty(struct hk_arena *arena, uint64_t more, uint64_t less) {
    uint64_t dirty = arena->dirty + more - less;
    hk_store_locked(&arena->dirty, dirty);
    hk_stat_add(&arena_dirty_bytes, (more - less) * HK_GRANULE_BYTES);
}

/* Returns false and changes nothing if the hard limit would be exceeded. */
static bool arena_commit(struct hk_chunk *chunk, struct hk_run run) {
    uint32_t fresh = run.count - hk_chunk_committed(chunk, run);
    if (!hk_usage_add(fresh * HK_GRANULE_BYTES))
        return false;
    hk_bits_fill(chunk->committed, run, true);
    chunk->arena->committed += fresh;
    hk_arena_count_dirty(chunk->arena, fresh, 0);
    return true;
}

/* Commits a run and marks it used. The rest of its huge pages is committed too, unless that would
 * exceed the hard limit. Returns false and changes nothing if the run alone would exceed it. */
static bool arena_hand_out(struct hk_chunk *chunk, struct hk_run run) {
    if (!arena_commit(chunk, hk_chunk_whole_pages(chunk, run)) && !arena_commit(chunk, run))
        return false;
    hk_arena_count_dirty(chunk->arena, 0, run.count);
    hk_arena_mark(chunk, run, true);
    if (hk_bits_count(chunk->written, run) < run.count)
        chunk->arena->grew = true;
    hk_bits_fill(chunk->written, run, true);
    hk_bits_fill(chunk->decayed, run, false);
    return true;
}

/* Hands out a free run of a chunk. `chunk` is NULL in the result if the hard limit would be
 * exceeded. */
static struct hk_granules arena_take_run(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_granules taken = {0, NULL, false};
    taken.zero = hk_bits_count(chunk->written, run) == 0;
    if (arena_hand_out(chunk, run)) {
        taken.base = hk_chunk_address(chunk, run.start);
        taken.chunk = chunk;
    }
    return taken;
}

static struct hk_granules arena_take_existing(struct hk_arena *arena, uint32_t granules,
                                              enum hk_granules_use use) {
    struct hk_chunk *chunk = arena_find(arena, granules, use);
    if (chunk == NULL)
        return (struct hk_granules){0, NULL, false};
    return arena_take_run(chunk, hk_chunk_choose(chunk, granules));
}

/* Like arena_take_existing, but aligned. A well-placed run need not be longer than `granules`, so
 * chunks are tried one after another, the fullest first. */
static struct hk_granules arena_take_aligned(struct hk_arena *arena, uint32_t granules,
                                             size_t align, enum hk_granules_use use) {
    uint32_t tries = ARENA_ALIGNED_SEARCH;
    for (unsigned side = use; side <= use + 1; side++) {
        unsigned bucket = arena_bucket(granules);
        for (; bucket < HK_ARENA_BUCKETS && tries > 0; bucket++) {
            struct hk_chunk *chunk = arena->sides[side].buckets[bucket];
            for (; chunk != NULL && tries > 0; chunk = chunk->next, tries--) {
                struct hk_run run = hk_chunk_choose_aligned(chunk, granules, align);
                if (run.count != 0)
                    return arena_take_run(chunk, run);
            }
        }
    }

    return (struct hk_granules){0, NULL, false};
}

/* ---- Growth ---------------------------------------------------------------------------------- */

/* The size of the next chunk in granules, at least `granules`. The second chunk is as large as the
 * first. After that, each chunk is as large as all previous ones together, until growth stops. */
static uint32_t arena_next_chunk(uint32_t chunks_mapped, uint32_t granules) {
    uint64_t levels = hk_option(HK_OPTION_pool_tls_arena_growth_levels);
    uint64_t doublings = chunks_mapped > 1 ? chunks_mapped - 1 : 0;
    uint64_t mib = hk_option(HK_OPTION_pool_tls_arena_mb_init)
                   << (doublings < levels ? doublings : levels);
    uint64_t max = hk_option(HK_OPTION_pool_tls_arena_mb_max);
    mib = mib < max ? mib : max;
    uint64_t needed = hk_round_up(granules * HK_GRANULE_BYTES, ARENA_MIB) / ARENA_MIB;
    mib = mib > needed ? mib : needed;
    return (uint32_t)(mib * (ARENA_MIB / HK_GRANULE_BYTES));
}

/* Gets address space for a chunk of `most` granules. Kept ranges that the OS refused to unmap are
 * used first, because a process that has them is short of mappings. If nothing can be mapped, falls
 * back to any kept range of at least `least` granules, and then to a mapping of the smallest
 * size. */
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

struct arena_want {
    uint32_t granules;
    size_t align;
    enum hk_granules_use use;
    uint32_t size;  /* granules of the next chunk, if no run is found */
    uint64_t bytes; /* committed in the arena once the run is taken */
    uint64_t dense; /* bytes ever taken for dense use */
};

/* The length of a run that contains an aligned one wherever it starts, in granules. */
static uint32_t want_granules(const struct arena_want *want) {
    return want->granules + (uint32_t)(want->align >> HK_GRANULE_SHIFT) - 1;
}

/* Requests huge pages, or declines those that the system gives to all memory. */
static void chunk_choose_pages(struct hk_chunk *chunk, enum hk_chunk_side side) {
    struct hk_run all = {0, chunk->granules};
    chunk->side = side;
    if (side == HK_CHUNK_HUGE)
        hk_chunk_advise(chunk, hk_chunk_ask_again(chunk, all), HK_OS_HUGE_WANTED);
    else if (hk_os_huge_mode() == HK_OS_HUGE_ALWAYS)
        hk_chunk_advise(chunk, all, HK_OS_HUGE_REFUSED);
}

/* Gives the next chunk the initial size, because demand of this kind may not continue. */
static enum hk_chunk_side arena_choose_initial(const struct arena_want *want, uint32_t *size) {
    *size = arena_next_chunk(0, want_granules(want));
    return HK_CHUNK_SHARED;
}

/* Chooses the side and the size of the next chunk. In a large arena, chunks for dense use have the
 * initial size until there is enough dense use for huge pages. The first chunk for sparse use has
 * the initial size too, because many programs need no more, and dense use can fill the rest of
 * it. */
static enum hk_chunk_side arena_choose_side(struct hk_arena *arena, const struct arena_want *want,
                                            uint32_t *size) {
    *size = want->size;
    if (!hk_huge_is_wanted(want->bytes))
        return HK_CHUNK_SHARED;

    if (want->use == HK_GRANULES_DENSE) {
        if (!hk_huge_is_wanted(want->dense * ARENA_DENSE_PART))
            return arena_choose_initial(want, size);
        return want->size % HK_HUGE_GRANULES == 0 ? HK_CHUNK_HUGE : HK_CHUNK_SHARED;
    }

    if (arena->has_sparse)
        return HK_CHUNK_SPARSE;
    arena->has_sparse = true;
    return arena_choose_initial(want, size);
}

/* Creates a chunk for a run, or a smaller one if there is no room for the chosen size. Under
 * GROWTH. */
static struct hk_chunk *chunk_create(struct hk_arena *arena, const struct arena_want *want) {
    uint32_t size;
    enum hk_chunk_side side = arena_choose_side(arena, want, &size);

    size_t descriptor_bytes = hk_chunk_descriptor_bytes(size);
    struct hk_chunk *chunk = hk_meta_alloc(descriptor_bytes);
    if (chunk == NULL)
        return NULL;

    size_t align = side == HK_CHUNK_HUGE ? HK_HUGE_BYTES : HK_GRANULE_BYTES;
    struct hk_range range = chunk_map(want_granules(want), size, align);
    if (range.base == 0) {
        hk_meta_free(chunk, descriptor_bytes);
        return NULL;
    }

    HK_PROBE2(chunk_map, range.base, range.bytes);
    hk_chunk_init(chunk, range.base, (uint32_t)(range.bytes >> HK_GRANULE_SHIFT), range.dirty);
    chunk->arena = arena;
    chunk->descriptor_bytes = (uint32_t)descriptor_bytes;
    chunk->mapping = range.mapping;

    if (range.dirty || ((range.base | range.bytes) & (align - 1)) != 0)
        side = HK_CHUNK_SHARED; /* a kept range, or a smaller one */
    chunk_choose_pages(chunk, side);
    return chunk;
}

/* Adds a new chunk. Under the lock. */
static void arena_add_chunk(struct hk_arena *arena, struct hk_chunk *chunk) {
    uint32_t committed = hk_chunk_committed(chunk, (struct hk_run){0, chunk->granules});
    arena->chunks_mapped++;
    chunk->older = arena->chunks;
    hk_fence_stores();
    arena->chunks = chunk;
    arena_link(chunk);
    arena->committed += committed;
    hk_arena_count_dirty(arena, committed, 0);
}

/* Whether the hard limit forbids `granules` more, so that no new chunk would help. */
static bool arena_is_at_limit(uint32_t granules) {
    bool allowed = hk_usage_add(granules * HK_GRANULE_BYTES);
    if (allowed)
        hk_usage_sub(granules * HK_GRANULE_BYTES);
    return !allowed;
}

/* Takes a run from the existing chunks, after adding `added` to them unless it is NULL. Records in
 * *want how large the next chunk should be. */
static struct hk_granules arena_try_take(struct hk_arena *arena, struct arena_want *want,
                                         struct hk_chunk *added) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    if (added != NULL)
        arena_add_chunk(arena, added);

    uint64_t dirty = arena->dirty;
    struct hk_granules taken =
        want->align == HK_GRANULE_BYTES
            ? arena_take_existing(arena, want->granules, want->use)
            : arena_take_aligned(arena, want->granules, want->align, want->use);

    want->size = arena_next_chunk(arena->chunks_mapped, want_granules(want));
    want->bytes = (arena->committed + want->granules) * HK_GRANULE_BYTES;
    want->dense = arena->dense * HK_GRANULE_BYTES;
    if (taken.chunk != NULL && want->use == HK_GRANULES_DENSE)
        arena->dense += want->granules;
    bool more_dirty = arena->dirty > dirty; /* the rest of a huge page */
    hk_unlock(&arena->lock, HK_RANK_ARENA);

    if (more_dirty)
        hk_dirty_signal();
    return taken;
}

/* Adds chunks until one has the run. One thread at a time does this, because threads that run out
 * at the same time need one chunk together, not one each. */
static struct hk_granules arena_grow(struct hk_arena *arena, struct arena_want *want) {
    hk_lock(&arena->growth, HK_RANK_GROWTH);
    struct hk_granules taken = arena_try_take(arena, want, NULL);
    while (taken.chunk == NULL && !arena_is_at_limit(want->granules)) {
        struct hk_chunk *added = chunk_create(arena, want);
        if (added == NULL)
            break;
        /* Threads that take shorter runs may break up the aligned one, so we may need another
         * chunk. */
        taken = arena_try_take(arena, want, added);
    }

    hk_unlock(&arena->growth, HK_RANK_GROWTH);
    return taken;
}

struct hk_granules hk_arena_take_aligned(struct hk_arena *arena, uint32_t granules, size_t align,
                                         enum hk_granules_use use) {
    struct arena_want want = {.granules = granules, .align = align, .use = use};
    hk_assert(granules >= 1 && want_granules(&want) <= HK_ARENA_GRANULES_MAX);
    struct hk_granules taken = arena_try_take(arena, &want, NULL);
    return hk_likely(taken.chunk != NULL) ? taken : arena_grow(arena, &want);
}

struct hk_granules hk_arena_take(struct hk_arena *arena, uint32_t granules,
                                 enum hk_granules_use use) {
    return hk_arena_take_aligned(arena, granules, HK_GRANULE_BYTES, use);
}

void hk_arena_give(struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    struct hk_arena *arena = chunk->arena;
    struct hk_run run = hk_chunk_run(chunk, base, granules);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    hk_arena_mark(chunk, run, false);
    hk_arena_count_dirty(arena, granules, 0);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    hk_dirty_signal();
}

bool hk_arena_extend(struct hk_chunk *chunk, uintptr_t base, uint32_t granules, uint32_t more) {
    struct hk_arena *arena = chunk->arena;
    struct hk_run run = hk_chunk_run(chunk, base + granules * HK_GRANULE_BYTES, more);
    hk_lock(&arena->lock, HK_RANK_ARENA);
    uint32_t end = run.start + run.count;
    bool taken = end <= chunk->granules && hk_bits_find(chunk->used, end, run.start, true) == end &&
                 arena_hand_out(chunk, run);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return taken;
}

/* ---- Repair ---------------------------------------------------------------------------------- */

/* Recomputes the state of a chunk from its bits, and adds it to a bucket. Returns the number of its
 * dirty granules. */
static uint32_t chunk_repair(struct hk_chunk *chunk) {
    uint32_t dirty = 0;
    for (uint32_t i = 0; i < HK_WORDS(chunk->granules); i++) {
        chunk->written[i] |= chunk->used[i];
        chunk->committed[i] |= chunk->written[i];
        chunk->decayed[i] &= chunk->committed[i] & ~chunk->used[i];
        dirty += (uint32_t)__builtin_popcountll(chunk->committed[i] & ~chunk->used[i]);
        chunk->arena->committed += (uint32_t)__builtin_popcountll(chunk->committed[i]);
    }

    chunk->longest = hk_chunk_longest(chunk);
    arena_link(chunk);
    return dirty;
}

/* Ends a purge that had not yet marked its run, or had begun to free it. If this were left to the
 * repair of the purge, which may run much later, it would free granules that have been handed out
 * again. */
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
    uint64_t committed = arena->committed;
    uint64_t dirty = 0;
    memset(arena->sides, 0, sizeof arena->sides);
    arena->committed = 0;
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        dirty += chunk_repair(chunk);

    hk_usage_sub((size_t)(committed - arena->committed) << HK_GRANULE_SHIFT);
    hk_arena_count_dirty(arena, dirty, arena->dirty);
}

void hk_arena_repair_purge(struct hk_arena *arena) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    arena->place.chunk = NULL;
    if (arena->purging != NULL) {
        hk_bits_fill(arena->purging->used, arena->purging_run, false);
        arena->purging = NULL;
        hk_arena_repair(arena);
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

/* ---- Visiting and validation ----------------------------------------------------------------- */

void hk_arena_visit(struct hk_arena *arena, uint32_t (*visit)(void *arg, uintptr_t base),
                    void *arg) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older) {
        uint32_t at = 0;
        while ((at = hk_bits_find(chunk->used, chunk->granules, at, true)) < chunk->granules)
            at += visit(arg, hk_chunk_address(chunk, at));
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

bool hk_arena_valid(struct hk_arena *arena) {
    bool valid = true;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        valid = valid && hk_chunk_valid(chunk, chunk == arena->purging ? arena->purging_run
                                                                       : (struct hk_run){0, 0});
    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return valid;
}
