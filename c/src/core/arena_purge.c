/* core/arena_purge.c - purging dirty granules. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../os/os.h"
#include "arena.h"
#include "meta.h"
#include "usage.h"

enum {
    ARENA_PURGE_GRANULES = 4 * HK_HUGE_GRANULES, /* 8 MiB, the most for one purge call */
};

/* ---- Choosing granules ----------------------------------------------------------------------- */

/* A huge page with at least this many granules in use is not broken up. */
static const uint8_t purge_spares[] = {
    [HK_PURGE_DECAYED] = HK_HUGE_GRANULES * 3 / 4,
    [HK_PURGE_WHOLE] = 1,
    [HK_PURGE_FREE] = HK_HUGE_GRANULES / 2,
    [HK_PURGE_ALL] = HK_HUGE_GRANULES,
};

/* The granules of a huge page to give back, as bits. A decay scan also records the granules that
 * are dirty now. In a growing arena, granules that were never written will soon be used, so they do
 * not decay. If the huge page is requested, either all of its free granules go back at once or
 * none. */
static uint32_t purge_wanted(struct hk_chunk *chunk, uint32_t page,
                             const struct hk_arena_place *at) {
    struct hk_run run = {page * HK_HUGE_GRANULES, HK_HUGE_GRANULES};
    uint32_t used = hk_page_bits(chunk->used, page);
    uint32_t dirty = hk_page_bits(chunk->committed, page) & ~used;
    uint32_t wanted = dirty;

    if (at->which == HK_PURGE_DECAYED) {
        uint32_t ages = at->grows ? dirty & hk_page_bits(chunk->written, page) : dirty;
        wanted &= hk_page_bits(chunk->decayed, page);
        hk_bits_fill(chunk->decayed, run, false);
        chunk->decayed[page / 2] |= (uint64_t)ages << (page % 2 * HK_HUGE_GRANULES);
    }

    bool spared = wanted != dirty || (uint32_t)__builtin_popcount(used) >= purge_spares[at->which];
    return hk_chunk_asks_at(chunk, run.start) && spared ? 0 : wanted;
}

/* Whether a run may continue into the next huge page, of which `bits` go back. In a huge chunk,
 * part of a page is purged on its own, because that breaks up the page. */
static bool purge_goes_on(const struct hk_chunk *chunk, struct hk_run run, uint32_t bits,
                          const struct hk_purge_budget *budget) {
    if ((bits & 1) == 0 || run.count >= ARENA_PURGE_GRANULES ||
        run.count * HK_GRANULE_BYTES >= budget->bytes)
        return false;
    bool whole = bits == UINT32_MAX && run.count % HK_HUGE_GRANULES == 0;
    return whole || chunk->side != HK_CHUNK_HUGE;
}

/* Finds the next run to give back at the position of the scan, and moves the position past it. Its
 * count is 0 at the end of the chunk. In a huge chunk, the run is part of one huge page or consists
 * of whole ones. Under the lock. */
static struct hk_run purge_next(struct hk_arena_place *at, const struct hk_purge_budget *budget) {
    struct hk_chunk *chunk = at->chunk;
    struct hk_run run = {0, 0};

    while (at->granule < chunk->granules) {
        uint32_t page = at->granule / HK_HUGE_GRANULES;
        if (page != at->page)
            at->wanted = purge_wanted(chunk, page, at);
        at->page = page;
        uint32_t dirty = hk_page_bits(chunk->committed, page) & ~hk_page_bits(chunk->used, page);
        uint32_t bits = (at->wanted & dirty) >> (at->granule % HK_HUGE_GRANULES);

        if (run.count > 0 && !purge_goes_on(chunk, run, bits, budget))
            break;
        if (bits == 0) {
            at->granule = (page + 1) * HK_HUGE_GRANULES;
            continue;
        }

        if (run.count == 0)
            run.start = at->granule + (uint32_t)__builtin_ctz(bits);
        bits >>= __builtin_ctz(bits);
        run.count += bits == UINT32_MAX ? HK_HUGE_GRANULES : (uint32_t)__builtin_ctz(~bits);
        at->granule = run.start + run.count;
        if (at->granule % HK_HUGE_GRANULES != 0)
            break;
    }

    return run;
}

/* ---- Purging --------------------------------------------------------------------------------- */

/* Marks a free run used while its pages are given back. Under the lock. */
static void arena_hold(struct hk_chunk *chunk, struct hk_run run) {
    struct hk_arena *arena = chunk->arena;
    arena->purging_run = run;
    hk_fence_stores();
    arena->purging = chunk;
    hk_fence_stores();
    hk_arena_mark(chunk, run, true);
}

/* Frees the held run. Under the lock. */
static void arena_unhold(struct hk_arena *arena) {
    hk_arena_mark(arena->purging, arena->purging_run, false);
    hk_fence_stores();
    arena->purging = NULL;
}

/* Gives back the pages of the held run, and frees the run. Its huge pages are requested again if
 * nothing in them is committed any more. Returns the bytes given back, or 0 if the OS refuses. */
static size_t arena_purge_held(struct hk_arena *arena, struct hk_purge_budget *budget) {
    struct hk_chunk *chunk = arena->purging; /* this thread's, under PURGE */
    struct hk_run run = arena->purging_run;
    struct hk_run again = {0, 0};
    size_t bytes = run.count * HK_GRANULE_BYTES;

    bool done = hk_os_purge((void *)hk_chunk_address(chunk, run.start), bytes);
    hk_purge_spend(budget, 1, done ? bytes : 0);

    hk_lock(&arena->lock, HK_RANK_ARENA);
    if (done) {
        hk_bits_fill(chunk->committed, run, false);
        hk_bits_fill(chunk->written, run, false);
        hk_bits_fill(chunk->decayed, run, false);
        hk_usage_sub(bytes);
        arena->committed -= run.count;
        hk_arena_count_dirty(arena, 0, run.count);
        again = hk_chunk_ask_again(chunk, run);
    }
    arena_unhold(arena);
    hk_unlock(&arena->lock, HK_RANK_ARENA);

    hk_chunk_advise(chunk, again, HK_OS_HUGE_WANTED);
    return done ? bytes : 0;
}

void hk_arena_break_huge(struct hk_chunk *chunk, uintptr_t base, uint32_t granules) {
    struct hk_run run = hk_chunk_run(chunk, base, granules);
    if (hk_peek(&chunk->asks) == 0)
        return;
    hk_lock(&chunk->arena->lock, HK_RANK_ARENA);
    struct hk_run broken = hk_chunk_stop_asking(chunk, run);
    hk_unlock(&chunk->arena->lock, HK_RANK_ARENA);
    hk_chunk_advise(chunk, broken, HK_OS_HUGE_REFUSED);
}

/* Purges the rest of the current chunk of the scan. */
static size_t arena_purge_chunk(struct hk_arena *arena, struct hk_purge_budget *budget) {
    struct hk_chunk *chunk = arena->place.chunk;
    size_t bytes = 0;

    while (!hk_purge_is_spent(budget)) {
        struct hk_run broken = {0, 0};
        hk_lock(&arena->lock, HK_RANK_ARENA);
        struct hk_run run = purge_next(&arena->place, budget);
        if (run.count % HK_HUGE_GRANULES != 0)
            broken = hk_chunk_stop_asking(chunk, run);
        if (run.count != 0)
            arena_hold(chunk, run);
        hk_unlock(&arena->lock, HK_RANK_ARENA);
        if (run.count == 0)
            return bytes;

        hk_chunk_advise(chunk, broken, HK_OS_HUGE_REFUSED);
        bytes += arena_purge_held(arena, budget);
    }
    return bytes;
}

/* ---- Free chunks ----------------------------------------------------------------------------- */

/* Removes an entirely free chunk from the arena, if there is one. */
static struct hk_chunk *arena_detach_free_chunk(struct hk_arena *arena) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    struct hk_chunk **at = &arena->chunks;
    while (*at != NULL && (*at)->longest < (*at)->granules)
        at = &(*at)->older;
    struct hk_chunk *chunk = *at;

    if (chunk != NULL) {
        uint32_t committed = hk_chunk_committed(chunk, (struct hk_run){0, chunk->granules});
        arena->place.chunk = chunk == arena->place.chunk ? NULL : arena->place.chunk;
        hk_fence_stores(); /* in a forked child, `place` never names an unlisted chunk */
        *at = chunk->older;
        hk_fence_stores();
        hk_arena_unlink(chunk);
        arena->committed -= committed;
        hk_arena_count_dirty(arena, 0, committed);
    }

    hk_unlock(&arena->lock, HK_RANK_ARENA);
    return chunk;
}

/* Unmaps a chunk that is in no arena. If the OS refuses, the range is kept without its pages, and
 * the descriptor becomes its node. Returns the bytes given back. */
static size_t chunk_unmap(struct hk_chunk *chunk) {
    size_t bytes = chunk->granules * HK_GRANULE_BYTES;
    size_t committed =
        hk_chunk_committed(chunk, (struct hk_run){0, chunk->granules}) * HK_GRANULE_BYTES;
    struct hk_range range = {chunk->base, bytes, chunk->mapping, false};

    hk_chunk_forget_huge(chunk);
    if (hk_os_unmap((void *)chunk->base, bytes)) {
        hk_usage_sub(committed);
        hk_meta_free(chunk, chunk->descriptor_bytes);
        return committed;
    }

    range.dirty = committed != 0 && !hk_os_purge((void *)chunk->base, bytes);
    if (range.dirty)
        hk_usage_note(bytes - committed);
    else
        hk_usage_sub(committed);

    hk_extent_keep(range, chunk, chunk->descriptor_bytes);
    return range.dirty ? 0 : committed;
}

/* Unmaps entirely free chunks, within the budget. Returns the bytes given back. */
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

/* ---- Scans ----------------------------------------------------------------------------------- */

void hk_arena_obey_huge_mode(struct hk_arena *arena) {
    if (hk_chunk_huge_bytes() == 0 || hk_os_huge_pages_exist())
        return;
    hk_lock(&arena->lock, HK_RANK_ARENA);
    for (struct hk_chunk *chunk = arena->chunks; chunk != NULL; chunk = chunk->older)
        hk_chunk_forget_huge(chunk);
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

static void place_enter(struct hk_arena_place *at, struct hk_chunk *chunk) {
    at->chunk = chunk;
    at->granule = 0;
    at->page = UINT32_MAX;
}

/* Begins a scan at the newest chunk. Chunks leave the list only in a purge, under the PURGE lock,
 * and new ones are added at its head. */
static void arena_begin_scan(struct hk_arena *arena, enum hk_purge which) {
    hk_lock(&arena->lock, HK_RANK_ARENA);
    place_enter(&arena->place, arena->chunks);
    arena->place.which = which;
    if (which == HK_PURGE_DECAYED) {
        arena->place.grows = arena->grew;
        arena->grew = false;
    }
    hk_unlock(&arena->lock, HK_RANK_ARENA);
}

size_t hk_arena_purge(struct hk_arena *arena, enum hk_purge which, struct hk_purge_budget *budget) {
    size_t bytes = which == HK_PURGE_ALL ? arena_unmap_free_chunks(arena, budget) : 0;
    struct hk_arena_place *at = &arena->place;

    /* relaxed: a scan that misses a release now sees it the next time. Because this takes no lock,
     * scans do not write to the memory of idle heaps. */
    if (hk_purge_is_spent(budget) || (hk_load_relaxed(&arena->dirty) == 0 && at->chunk == NULL))
        return bytes;

    if (at->chunk == NULL || at->which != which)
        arena_begin_scan(arena, which);
    while (at->chunk != NULL) {
        bytes += arena_purge_chunk(arena, budget);
        if (hk_purge_is_spent(budget))
            break;
        place_enter(at, at->chunk->older);
    }
    return bytes;
}
