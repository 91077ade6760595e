/* unit/arena.c - allocating, freeing, extending, decaying, purging and unmapping granules.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
// timeout: 120
#include "core/arena.h"

#include "core/meta.h"
#include "core/options.h"
#include "core/usage.h"
#include "fresh.h"

#define MIB ((size_t)1 << 20)

static struct hk_arena arena;

static struct hk_granules try_take(uint32_t granules) {
    return hk_arena_take(&arena, granules, HK_GRANULES_DENSE);
}

static struct hk_granules take(uint32_t granules) {
    struct hk_granules run = try_take(granules);
    REQUIRE(run.chunk != NULL);
    return run;
}

static void give(struct hk_granules run, uint32_t granules) {
    hk_arena_give(run.chunk, run.base, granules);
}

static void only_small_pages(void) { CHECK_EQ(hk_option_set("huge_page_mb", "0"), 0); }

static size_t purge_arena(enum hk_purge which) {
    struct hk_purge_budget budget = HK_PURGE_UNLIMITED;
    return hk_arena_purge(&arena, which, &budget);
}

/* Bytes counted against limits, without the core's own structures. */
static uint64_t used_by_chunks(void) { return hk_usage_bytes() - hk_meta_bytes(); }

/* Mapped bytes, without the core's own structures. */
static size_t mapped_for_chunks(void) { return fake_os_mapped() - hk_meta_bytes(); }

TEST_FRESH(granules_are_aligned_zero_and_inside_their_chunk) {
    for (uint32_t granules = 1; granules <= HK_ARENA_GRANULES_MAX; granules++) {
        struct hk_granules run = take(granules);
        AT("granules", granules);
        CHECK(run.zero);
        CHECK_EQ(run.base % HK_GRANULE_BYTES, 0);
        CHECK(run.base >= run.chunk->base);
        CHECK(run.base + granules * HK_GRANULE_BYTES <=
              run.chunk->base + run.chunk->granules * HK_GRANULE_BYTES);
        CHECK_EQ(test_zeros((void *)run.base, granules * HK_GRANULE_BYTES),
                 granules * HK_GRANULE_BYTES);
        test_fill((void *)run.base, 4096, granules);
        CHECK(hk_arena_valid(&arena));
    }
}

/* The sizes of the first six chunks in MiB, which are filled one after another. */
static void check_chunks(const char *init, const char *max, const char *levels,
                         const uint32_t expected[6]) {
    CHECK_EQ(hk_option_set("pool_tls_arena_mb_init", init), 0);
    CHECK_EQ(hk_option_set("pool_tls_arena_mb_max", max), 0);
    CHECK_EQ(hk_option_set("pool_tls_arena_growth_levels", levels), 0);
    for (int i = 0; i < 6; i++) {
        uint32_t granules = take(1).chunk->granules;
        AT("chunk", i);
        CHECK_EQ(granules * HK_GRANULE_BYTES, expected[i] * MIB);
        for (uint32_t used = 1; used < granules; used++)
            take(1);
    }
}

TEST_FRESH(chunks_are_as_large_as_all_before_them_from_1_to_8_mib_by_default) {
    check_chunks("1", "8", "3", (uint32_t[]){1, 1, 2, 4, 8, 8});
}
TEST_FRESH(chunks_start_as_large_as_the_option_says) {
    check_chunks("4", "8", "3", (uint32_t[]){4, 4, 8, 8, 8, 8});
}
TEST_FRESH(chunks_double_as_often_as_the_option_says) {
    check_chunks("1", "64", "2", (uint32_t[]){1, 1, 2, 4, 4, 4});
}
TEST_FRESH(without_growth_levels_all_chunks_are_equal) {
    check_chunks("2", "64", "0", (uint32_t[]){2, 2, 2, 2, 2, 2});
}
TEST_FRESH(the_largest_chunk_limits_the_first_too) {
    check_chunks("16", "4", "3", (uint32_t[]){4, 4, 4, 4, 4, 4});
}

TEST_FRESH(a_chunk_is_as_large_as_the_run_it_was_mapped_for) {
    CHECK_EQ(take(HK_ARENA_GRANULES_MAX).chunk->granules, HK_ARENA_GRANULES_MAX);
    /* The next chunk in sequence would have 1 MiB. */
    CHECK_EQ(take(33).chunk->granules, 3 * MIB / HK_GRANULE_BYTES);
}

TEST_FRESH(given_granules_are_taken_again_before_fresh_ones) {
    struct hk_granules first = take(3), second = take(1);
    give(first, 3);
    struct hk_granules again = take(3);
    CHECK_EQ(again.base, first.base);
    CHECK(!again.zero);
    give(second, 1);
    give(again, 3);
    CHECK_EQ(take(4).base, first.base); /* adjacent free runs are merged */
    CHECK_EQ(fake_os.map_calls, 2);     /* a chunk and its descriptor */
}

TEST_FRESH(a_run_that_is_partly_dirty_is_not_called_zero) {
    struct hk_granules first = take(2);
    give(first, 2);
    struct hk_granules run = take(5);
    CHECK_EQ(run.base, first.base);
    CHECK(!run.zero);
}

TEST_FRESH(the_fullest_chunk_that_has_room_is_used_first) {
    struct hk_granules small = take(16); /* all of the first chunk */
    take(16);                            /* and of the second */
    struct hk_granules large = take(2);
    give(small, 16);
    struct hk_granules kept = take(10); /* leaves 6 granules in the small chunk, 30 in the other */
    CHECK(kept.chunk == small.chunk);
    CHECK(take(6).chunk == small.chunk);
    CHECK(take(6).chunk == large.chunk);
}

TEST_FRESH(a_run_grows_into_free_granules_behind_it_only) {
    struct hk_granules a = take(2), b = take(2);
    CHECK_EQ(b.base, a.base + 2 * HK_GRANULE_BYTES);
    CHECK(!hk_arena_extend(a.chunk, a.base, 2, 1));
    CHECK(hk_arena_extend(b.chunk, b.base, 2, 12)); /* to the end of the chunk */
    CHECK(!hk_arena_extend(b.chunk, b.base, 14, 1));
    give(b, 14);
    CHECK(!hk_arena_extend(a.chunk, a.base, 2, 15));
    CHECK(hk_arena_extend(a.chunk, a.base, 2, 14));
    CHECK(hk_arena_valid(&arena));
    CHECK(take(1).chunk != a.chunk);
}

/* ---- Against a model ------------------------------------------------------------------------- */

enum { RUNS = 60 };

struct model_run {
    struct hk_granules run;
    uint32_t granules; /* 0: no run */
    uint64_t key;      /* of the pattern in its first bytes */
};

static void check_runs_apart(const struct model_run *runs) {
    for (int i = 0; i < RUNS; i++) {
        for (int j = 0; j < i; j++) {
            uintptr_t a = runs[i].run.base, b = runs[j].run.base;
            CHECK(runs[i].granules == 0 || runs[j].granules == 0 ||
                  a + runs[i].granules * HK_GRANULE_BYTES <= b ||
                  b + runs[j].granules * HK_GRANULE_BYTES <= a);
        }
    }
}

static void model_take(struct model_run *run, uint64_t *seed) {
    run->granules = (uint32_t)(test_random(seed) % (test_random(seed) % 4 ? 8 : 64) + 1);
    run->run = take(run->granules);
    run->key = test_random(seed);
    if (run->run.zero)
        for (uint32_t i = 0; i < run->granules; i++)
            CHECK_EQ(test_zeros((char *)run->run.base + i * HK_GRANULE_BYTES, 64), 64);
    for (uint32_t i = 0; i < run->granules; i++)
        test_fill((char *)run->run.base + i * HK_GRANULE_BYTES, 64, run->key);
}

static void model_give_part(struct model_run *run, uint32_t part) {
    uint32_t left = run->granules - part;
    for (uint32_t i = 0; i < run->granules; i++)
        CHECK_EQ(test_intact((char *)run->run.base + i * HK_GRANULE_BYTES, 64, run->key), 64);
    hk_arena_give(run->run.chunk, run->run.base + left * HK_GRANULE_BYTES, part);
    run->granules = left;
}

static void model_extend(struct model_run *run, uint32_t more) {
    if (!hk_arena_extend(run->run.chunk, run->run.base, run->granules, more))
        return;
    for (uint32_t i = run->granules; i < run->granules + more; i++)
        test_fill((char *)run->run.base + i * HK_GRANULE_BYTES, 64, run->key);
    run->granules += more;
}

TEST_FRESH(random_takes_gives_extensions_and_purges_keep_runs_apart_and_contents_whole) {
    static struct model_run runs[RUNS];
    uint64_t seed = test_seed(3);
    for (int step = 0; step < 20000; step++) {
        struct model_run *run = &runs[test_random(&seed) % RUNS];
        AT("step", step);
        if (run->granules == 0)
            model_take(run, &seed);
        else if (test_random(&seed) % 3 == 0)
            model_extend(run, (uint32_t)(test_random(&seed) % 5 + 1));
        else
            model_give_part(run, (uint32_t)(test_random(&seed) % run->granules + 1));
        if (step % 100 == 0) {
            purge_arena(test_random(&seed) % 8 ? HK_PURGE_DECAYED : HK_PURGE_ALL);
            check_runs_apart(runs);
            CHECK(hk_arena_valid(&arena));
        }
    }
    for (int i = 0; i < RUNS; i++)
        if (runs[i].granules > 0)
            model_give_part(&runs[i], runs[i].granules);
    purge_arena(HK_PURGE_ALL);
    CHECK_EQ(mapped_for_chunks(), 0);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
    CHECK_EQ(used_by_chunks(), 0);
}

/* ---- Returning memory ------------------------------------------------------------------------ */

TEST_FRESH(granules_are_purged_at_the_second_look_that_finds_them_free) {
    struct hk_granules kept = take(1), freed = take(4);
    test_fill((void *)freed.base, 100, 1);
    give(freed, 4);
    CHECK_EQ(hk_arena_dirty_bytes(), 4 * HK_GRANULE_BYTES);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(hk_arena_dirty_bytes(), 4 * HK_GRANULE_BYTES);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 4 * HK_GRANULE_BYTES);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
    CHECK_EQ(hk_os_counts.purge_calls, 1);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK(fake_os_is_mapped((void *)kept.base, HK_GRANULE_BYTES));
    struct hk_granules again = take(4);
    CHECK(again.base == freed.base && again.zero);
    CHECK_EQ(test_zeros((void *)again.base, 100), 100);
}

TEST_FRESH(granules_used_between_two_looks_start_to_age_anew) {
    take(1);
    struct hk_granules run = take(4);
    give(run, 4);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    give(take(2), 2); /* the first half */
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 2 * HK_GRANULE_BYTES);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 2 * HK_GRANULE_BYTES);
}

TEST_FRESH(granules_that_were_never_used_are_not_purged) {
    take(1);
    CHECK_EQ(purge_arena(HK_PURGE_ALL), 0);
    CHECK_EQ(hk_os_counts.purge_calls, 0);
}

TEST_FRESH(granules_that_the_os_refuses_to_purge_stay_dirty) {
    take(1);
    struct hk_granules run = take(4);
    give(run, 4);
    fake_os.purge_fails = true;
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_ALL), 0);
    CHECK_EQ(hk_arena_dirty_bytes(), 4 * HK_GRANULE_BYTES);
    CHECK(hk_arena_valid(&arena));
    struct hk_granules again = take(4);
    CHECK(again.base == run.base && !again.zero);
    give(again, 4);
    fake_os.purge_fails = false;
    CHECK_EQ(purge_arena(HK_PURGE_ALL), 4 * HK_GRANULE_BYTES);
}

TEST_FRESH(a_purge_of_all_unmaps_chunks_without_use_and_keeps_the_others) {
    struct hk_granules whole = take(16), full = take(16), part = take(3);
    CHECK_EQ(mapped_for_chunks(), 4 * MIB);
    give(whole, 16);
    give(take(1), 1);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(mapped_for_chunks(), 4 * MIB);
    CHECK_EQ(purge_arena(HK_PURGE_ALL), 1 * MIB);
    CHECK_EQ(mapped_for_chunks(), 3 * MIB);
    CHECK(fake_os_is_mapped((void *)full.base, MIB));
    CHECK(fake_os_is_mapped((void *)part.base, 3 * HK_GRANULE_BYTES));
    CHECK(hk_arena_valid(&arena));
    take(16);
    CHECK_EQ(mapped_for_chunks(), 3 * MIB);
}

static uint32_t count_granule(void *count, uintptr_t base) {
    CHECK_EQ(base % HK_GRANULE_BYTES, 0);
    ++*(uint32_t *)count;
    return 1;
}

TEST_FRESH(a_visit_sees_every_granule_in_use) {
    struct hk_granules run = take(5);
    take(3);
    take(40);
    give(run, 5);
    uint32_t count = 0;
    hk_arena_visit(&arena, count_granule, &count);
    CHECK_EQ(count, 43);
}

/* ---- Huge pages and limits ------------------------------------------------------------------- */

/* Fills the chunks that never ask for huge pages, in total 4 MiB. */
static void fill_small_chunks(void) {
    for (int i = 0; i < 64; i++)
        take(1);
    CHECK_EQ(mapped_for_chunks(), 4 * MIB);
    CHECK_EQ(fake_os.huge_wanted_bytes, 0);
}

TEST_FRESH(from_4_mib_on_chunks_ask_for_huge_pages_whose_granules_are_committed_together) {
    fill_small_chunks();
    struct hk_granules run = take(1);
    CHECK_EQ(run.chunk->base % (2 * MIB), 0);
    CHECK_EQ(fake_os.huge_wanted_bytes, 4 * MIB);
    CHECK_EQ(hk_chunk_huge_bytes(), 4 * MIB);
    CHECK_EQ(used_by_chunks(), 6 * MIB);
    CHECK_EQ(hk_arena_dirty_bytes(), 2 * MIB - HK_GRANULE_BYTES);
    for (int i = 1; i < 32; i++) {
        struct hk_granules next = take(1);
        CHECK(next.chunk == run.chunk && next.zero);
    }
    CHECK_EQ(used_by_chunks(), 6 * MIB);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
    give(run, 1);
    purge_arena(HK_PURGE_ALL);
    CHECK_EQ(hk_chunk_huge_bytes(), 2 * MIB);
}

TEST_FRESH(sparse_use_never_gets_huge_pages_and_dense_use_gets_them_first) {
    fill_small_chunks();
    struct hk_granules huge = take(1);
    CHECK_EQ(huge.chunk->side, HK_CHUNK_HUGE);
    struct hk_granules sparse = hk_arena_take(&arena, 1, HK_GRANULES_SPARSE);
    CHECK_EQ(sparse.chunk->side, HK_CHUNK_SHARED);
    CHECK_EQ(sparse.chunk->granules * HK_GRANULE_BYTES, MIB);
    CHECK(take(1).chunk == huge.chunk);
    CHECK(hk_arena_take(&arena, 1, HK_GRANULES_SPARSE).chunk == sparse.chunk);
    while (huge.chunk->longest > 0)
        take(1);
    CHECK(take(1).chunk == sparse.chunk); /* rather than a new chunk */
}

TEST_FRESH(sparse_use_beside_huge_pages_has_chunks_that_dense_use_does_not_fill_but_the_first) {
    static const uint32_t expected[] = {1, 8, 8};
    fill_small_chunks();
    take(1);
    struct hk_chunk *chunk = NULL;
    for (size_t i = 0; i < TEST_COUNT(expected); i++) {
        AT("chunk", i);
        chunk = hk_arena_take(&arena, 1, HK_GRANULES_SPARSE).chunk;
        CHECK_EQ(chunk->granules * HK_GRANULE_BYTES, expected[i] * MIB);
        CHECK_EQ(chunk->side, expected[i] > 1 ? HK_CHUNK_SPARSE : HK_CHUNK_SHARED);
        while (i + 1 < TEST_COUNT(expected) && chunk->longest > 0)
            hk_arena_take(&arena, 1, HK_GRANULES_SPARSE);
    }
    for (int i = 0; i < 300; i++)
        CHECK(take(1).chunk != chunk);
}

TEST_FRESH(where_pages_have_16_kib_no_chunk_asks_for_huge_pages) {
    fake_os.page_bytes = 16384;
    for (int i = 0; i < 20; i++)
        take(64);
    CHECK_EQ(fake_os.huge_wanted_bytes, 0);
}

TEST_FRESH(with_the_option_at_zero_no_chunk_asks_for_huge_pages) {
    only_small_pages();
    for (int i = 0; i < 20; i++)
        take(64);
    CHECK_EQ(fake_os.huge_wanted_bytes, 0);
}

/* Returns the base of a fully used chunk of two huge pages that ask. */
static struct hk_granules take_huge(void) {
    fill_small_chunks();
    struct hk_granules run = take(64);
    CHECK_EQ(run.chunk->asks, 3);
    CHECK_EQ(run.base, run.chunk->base);
    return run;
}

TEST_FRESH(a_huge_page_that_is_mostly_in_use_is_purged_by_a_trim_only) {
    struct hk_granules run = take_huge();
    give(run, 8);
    for (int i = 0; i < 4; i++)
        CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_WHOLE), 0);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), 0);
    CHECK_EQ(fake_os.huge_refused_bytes, 0);
    CHECK_EQ(purge_arena(HK_PURGE_ALL), 8 * HK_GRANULE_BYTES);
    CHECK_EQ(fake_os.huge_refused_bytes, 2 * MIB); /* or the kernel would fill the hole again */
    CHECK_EQ(run.chunk->asks, 2);
}

TEST_FRESH(a_huge_page_is_broken_up_when_all_that_is_free_in_it_has_decayed) {
    struct hk_granules run = take_huge();
    give(run, 16);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    hk_arena_give(run.chunk, run.base + 16 * HK_GRANULE_BYTES, 1);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 17 * HK_GRANULE_BYTES);
    CHECK_EQ(run.chunk->asks, 2);
    CHECK_EQ(hk_chunk_huge_bytes(), 2 * MIB);
    CHECK_EQ(fake_os.huge_refused_bytes, 2 * MIB);
}

TEST_FRESH(a_whole_huge_page_goes_back_without_being_broken_up) {
    struct hk_granules run = take_huge();
    hk_arena_give(run.chunk, run.base + 32 * HK_GRANULE_BYTES, 32);
    give(run, 4);
    CHECK_EQ(purge_arena(HK_PURGE_WHOLE), 2 * MIB);
    CHECK_EQ(run.chunk->asks, 3);
    CHECK_EQ(fake_os.huge_refused_bytes, 0);
    CHECK_EQ(hk_arena_dirty_bytes(), 4 * HK_GRANULE_BYTES);
}

TEST_FRESH(a_broken_huge_page_asks_again_when_all_of_it_has_gone_back) {
    struct hk_granules run = take_huge();
    uint64_t wanted = fake_os.huge_wanted_bytes;
    give(run, 31);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), 31 * HK_GRANULE_BYTES);
    CHECK_EQ(run.chunk->asks, 2);
    struct hk_granules small = take(1); /* in a broken page, it is purged alone */
    CHECK_EQ(small.base, run.base);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
    give(small, 1);
    hk_arena_give(run.chunk, run.base + 31 * HK_GRANULE_BYTES, 1);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), 2 * HK_GRANULE_BYTES);
    CHECK_EQ(run.chunk->asks, 3);
    CHECK_EQ(fake_os.huge_wanted_bytes, wanted + 2 * MIB);
    take(1);
    CHECK_EQ(hk_arena_dirty_bytes(), 2 * MIB - HK_GRANULE_BYTES);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(granules_in_use_can_lose_pages_after_their_huge_page_was_broken_up) {
    struct hk_granules run = take_huge();
    hk_arena_break_huge(run.chunk, run.base + 30 * HK_GRANULE_BYTES, 1);
    CHECK_EQ(run.chunk->asks, 2);
    hk_arena_break_huge(run.chunk, run.base + 30 * HK_GRANULE_BYTES, 4); /* reaches into the next */
    CHECK_EQ(run.chunk->asks, 0);
    CHECK_GE(fake_os.huge_refused_bytes, 4 * MIB);
    CHECK_EQ(hk_chunk_huge_bytes(), 0);
}

TEST_FRESH(the_unused_end_of_a_huge_page_goes_back_once_its_arena_rests) {
    fill_small_chunks();
    struct hk_granules last;
    for (int i = 0; i < 5; i++) { /* the heap grows between two scans */
        last = take(1);
        CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    }
    CHECK_EQ(last.chunk->asks, 3);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 27 * HK_GRANULE_BYTES);
    CHECK_EQ(last.chunk->asks, 2);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
}

TEST_FRESH(a_process_with_many_huge_pages_breaks_up_whole_chunks) {
    fake_os.mappings_max = 16; /* an eighth: 2 huge pages */
    struct hk_granules run = take_huge();
    give(run, 31);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), 31 * HK_GRANULE_BYTES);
    CHECK_EQ(run.chunk->asks, 0);
    CHECK_EQ(fake_os.huge_refused_bytes, 4 * MIB);
}

TEST_FRESH(near_the_hard_limit_no_rest_of_a_huge_page_is_committed) {
    fill_small_chunks();
    take(1);
    for (int i = 1; i < 32; i++)
        take(1);
    char limit[32];
    snprintf(limit, sizeof limit, "%zu", (size_t)hk_usage_bytes() + MIB);
    CHECK_EQ(hk_option_set("limit_hard", limit), 0);
    for (int i = 0; i < 16; i++)
        CHECK(take(1).zero);
    CHECK(try_take(1).chunk == NULL);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
}

TEST_FRESH(beyond_the_hard_limit_only_committed_granules_are_handed_out) {
    struct hk_granules run = take(10);
    char limit[32];
    snprintf(limit, sizeof limit, "%zu", (size_t)hk_meta_bytes() + MIB);
    CHECK_EQ(hk_option_set("limit_hard", limit), 0);
    CHECK_EQ(used_by_chunks(), 10 * HK_GRANULE_BYTES);
    CHECK(try_take(7).chunk == NULL);
    CHECK(!hk_arena_extend(run.chunk, run.base, 10, 7));
    CHECK(hk_arena_extend(run.chunk, run.base, 10, 6));
    CHECK_EQ(used_by_chunks(), MIB);
    CHECK(try_take(1).chunk == NULL);
    give(run, 16);
    CHECK_EQ(used_by_chunks(), MIB); /* dirty, but still committed */
    CHECK_EQ(take(16).base, run.base);
    CHECK_EQ(fake_os.map_calls, 2);
}

/* ---- Without memory -------------------------------------------------------------------------- */

TEST_FRESH(without_memory_there_are_no_granules_and_nothing_is_lost) {
    for (uint64_t nth = 1; nth <= 2; nth++) { /* the descriptor; then the chunk */
        fake_os_fail_maps(nth, FAKE_OS_ALL);
        AT("failing from", nth);
        CHECK(try_take(1).chunk == NULL);
        CHECK(hk_arena_valid(&arena));
        CHECK_EQ(mapped_for_chunks(), 0);
    }
    fake_os_fail_maps(0, 0);
    take(1);
    CHECK_EQ(mapped_for_chunks(), 1 * MIB);
}

TEST_FRESH(when_a_chunk_of_full_size_is_refused_the_smallest_that_serves_is_tried) {
    take(16);
    take(32);
    fake_os_fail_maps(1, 1); /* the chunk of 4 MiB */
    CHECK_EQ(take(1).chunk->granules * HK_GRANULE_BYTES, MIB);
    fake_os_fail_maps(1, 1);
    CHECK_EQ(take(20).chunk->granules * HK_GRANULE_BYTES, 2 * MIB);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(broken_bits_of_a_chunk_are_noticed) {
    struct hk_chunk *chunk = take(3).chunk;
    CHECK(hk_arena_valid(&arena));
    chunk->written[0] &= ~(uint64_t)1; /* in use, but marked as zero */
    CHECK(!hk_arena_valid(&arena));
    chunk->written[0] |= 1;
    chunk->committed[0] &= ~(uint64_t)2; /* written, but marked as uncommitted */
    CHECK(!hk_arena_valid(&arena));
    chunk->committed[0] |= 2;
    chunk->longest--;
    CHECK(!hk_arena_valid(&arena));
    chunk->longest++;
    CHECK(hk_arena_valid(&arena));
}

/* ---- Alignment ------------------------------------------------------------------------------- */

static struct hk_granules take_aligned(uint32_t granules, size_t align) {
    struct hk_granules run = hk_arena_take_aligned(&arena, granules, align, HK_GRANULES_DENSE);
    REQUIRE(run.chunk != NULL);
    CHECK_EQ(run.base % align, 0);
    return run;
}

TEST_FRESH(runs_are_aligned_as_asked_for_and_share_chunks) {
    for (size_t align = HK_GRANULE_BYTES; align <= 2 * MIB; align *= 2) {
        for (uint32_t granules = 1; granules <= 20; granules++) {
            AT("align granules", align, granules);
            struct hk_granules run = take_aligned(granules, align);
            CHECK(run.base + granules * HK_GRANULE_BYTES <=
                  run.chunk->base + run.chunk->granules * HK_GRANULE_BYTES);
            memset((void *)run.base, 1, granules * HK_GRANULE_BYTES);
        }
    }
    CHECK(hk_arena_valid(&arena));
    CHECK(fake_os.map_calls < 60);
}

TEST_FRESH(an_aligned_run_is_found_again_when_the_granules_around_it_are_in_use) {
    enum { RUNS_ALIGNED = 200 };
    static struct hk_granules runs[RUNS_ALIGNED];
    for (int i = 0; i < RUNS_ALIGNED; i++)
        runs[i] = take_aligned(1, 2 * HK_GRANULE_BYTES);
    size_t mapped = mapped_for_chunks();
    for (struct hk_chunk *chunk = arena.chunks; chunk != NULL; chunk = chunk->older)
        while (chunk->longest > 0)
            take(1); /* the gaps, and the rest */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < RUNS_ALIGNED; i++)
            give(runs[i], 1);
        for (int i = 0; i < RUNS_ALIGNED; i++)
            runs[i] = take_aligned(1, 2 * HK_GRANULE_BYTES);
    }
    CHECK_EQ(mapped_for_chunks(), mapped);
}

/* ---- Budgets --------------------------------------------------------------------------------- */

/* Creates chunks with every second granule dirty. Returns the number of dirty granules. */
static uint32_t make_holes(uint32_t granules) {
    only_small_pages();
    static struct hk_granules runs[2048];
    REQUIRE(granules <= TEST_COUNT(runs));
    for (uint32_t i = 0; i < granules; i++)
        runs[i] = take(1);
    for (uint32_t i = 0; i < granules; i += 2)
        give(runs[i], 1);
    return granules / 2;
}

TEST_FRESH(a_purge_stops_after_so_many_calls_and_the_next_one_goes_on_there) {
    uint32_t holes = make_holes(600);
    for (uint32_t left = holes; left > 0;) {
        struct hk_purge_budget budget = {7, SIZE_MAX};
        uint32_t expected = left < 7 ? left : 7;
        AT("left", left);
        CHECK_EQ(hk_arena_purge(&arena, HK_PURGE_FREE, &budget), expected * HK_GRANULE_BYTES);
        CHECK_EQ(budget.calls, 7 - expected);
        left -= expected;
        CHECK_EQ(hk_arena_dirty_bytes(), left * HK_GRANULE_BYTES);
    }
}

TEST_FRESH(a_purge_stops_after_so_many_bytes) {
    make_holes(600);
    struct hk_purge_budget budget = {UINT32_MAX, 10 * HK_GRANULE_BYTES};
    CHECK_EQ(hk_arena_purge(&arena, HK_PURGE_FREE, &budget), 10 * HK_GRANULE_BYTES);
    CHECK_EQ(budget.bytes, 0);
    CHECK_EQ(hk_arena_purge(&arena, HK_PURGE_FREE, &budget), 0);
}

TEST_FRESH(a_scan_that_was_interrupted_ages_no_granule_twice) {
    uint32_t holes = make_holes(600);
    purge_arena(HK_PURGE_DECAYED); /* all have decayed */
    uint32_t calls = 0;
    for (;; calls++) {
        struct hk_purge_budget budget = {1, SIZE_MAX};
        struct hk_granules fresh = take(1); /* dirty, but used between two scans */
        give(fresh, 1);
        if (hk_arena_purge(&arena, HK_PURGE_DECAYED, &budget) == 0)
            break;
    }
    /* Granules that were dirty for two scans are purged. The granule that was used again is not. */
    CHECK(calls >= holes - 1 && calls <= holes);
    CHECK(hk_arena_dirty_bytes() <= 2 * HK_GRANULE_BYTES);
}

TEST_FRESH(no_single_purge_call_is_longer_than_8_mib) {
    CHECK_EQ(hk_option_set("pool_tls_arena_mb_init", "64"), 0);
    CHECK_EQ(hk_option_set("pool_tls_arena_mb_max", "64"), 0);
    struct hk_granules runs[15];
    for (size_t i = 0; i < TEST_COUNT(runs); i++)
        runs[i] = take(64);
    for (size_t i = 0; i < TEST_COUNT(runs); i++)
        give(runs[i], 64);
    struct hk_purge_budget budget = {1, SIZE_MAX};
    CHECK_EQ(hk_arena_purge(&arena, HK_PURGE_FREE, &budget), 8 * MIB);
}

TEST_FRESH(a_run_over_the_end_of_a_huge_page_goes_back_in_one_call_where_none_is_asked_for) {
    CHECK_EQ(hk_option_set("pool_tls_arena_mb_init", "8"), 0);
    only_small_pages();
    take(20);
    struct hk_granules run = take(60);
    take(1);
    give(run, 60);
    struct hk_purge_budget budget = {1, SIZE_MAX};
    CHECK_EQ(hk_arena_purge(&arena, HK_PURGE_FREE, &budget), 60 * HK_GRANULE_BYTES);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
}

TEST_FRESH(a_purge_of_free_granules_leaves_chunks_mapped_whatever_the_age) {
    give(take(16), 16);
    take(32);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), MIB);
    CHECK_EQ(mapped_for_chunks(), 3 * MIB);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
}

/* ---- Refused calls --------------------------------------------------------------------------- */

TEST_FRESH(a_chunk_that_the_os_does_not_unmap_gives_its_pages_back_and_becomes_a_chunk_again) {
    struct hk_granules run = take(16);
    memset((void *)run.base, 1, 16 * HK_GRANULE_BYTES);
    uintptr_t base = run.base;
    give(run, 16);
    fake_os.unmap_fails = true;
    CHECK_EQ(purge_arena(HK_PURGE_ALL), MIB);
    CHECK_EQ(used_by_chunks(), 0);
    CHECK_EQ(hk_arena_dirty_bytes(), 0);
    CHECK_EQ(hk_extent_refused_bytes(), MIB);
    CHECK(hk_extent_valid());
    fake_os_fail_maps(1, FAKE_OS_ALL);
    run = take(16);
    CHECK(run.base == base && run.zero);
    CHECK_EQ(test_zeros((void *)run.base, MIB), MIB);
    CHECK_EQ(hk_extent_refused_bytes(), 0);
    CHECK(try_take(1).chunk == NULL);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(where_nothing_can_be_mapped_chunks_come_from_freed_large_ranges) {
    struct hk_range range = hk_extent_take(9 * MIB, HK_GRANULE_BYTES);
    memset((void *)range.base, 1, range.bytes);
    range.dirty = true;
    hk_extent_give(range, hk_meta_alloc(HK_EXTENT_NODE_BYTES), HK_EXTENT_NODE_BYTES);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    struct hk_granules run = take(3);
    CHECK(!run.zero);
    CHECK_EQ(used_by_chunks(), 9 * MIB); /* these are the same pages, counted once */
    for (uint32_t granules = 3; granules < 9 * 16; granules++)
        take(1);
    CHECK(try_take(1).chunk == NULL);
    CHECK(hk_arena_valid(&arena));
    CHECK_EQ(used_by_chunks(), 9 * MIB);
}

/* ---- Huge pages of the whole system ---------------------------------------------------------- */

TEST_FRESH(where_huge_pages_are_everywhere_chunks_that_do_not_ask_refuse_them) {
    fake_os.huge_mode = HK_OS_HUGE_ALWAYS;
    struct hk_granules run = take(6);
    CHECK_EQ(fake_os.huge_refused_bytes, MIB);
    CHECK_EQ(used_by_chunks(), 6 * HK_GRANULE_BYTES);
    give(run, 6);
    purge_arena(HK_PURGE_FREE);
    CHECK_EQ(fake_os.huge_refused_bytes, MIB);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(where_huge_pages_are_everywhere_large_arenas_ask_all_the_same) {
    fake_os.huge_mode = HK_OS_HUGE_ALWAYS;
    take_huge();
    CHECK_EQ(fake_os.huge_wanted_bytes, 4 * MIB);
    CHECK_EQ(fake_os.huge_refused_bytes, 4 * MIB); /* the chunks before */
}

TEST_FRESH(where_huge_pages_come_on_request_only_other_chunks_stay_as_they_are) {
    struct hk_granules run = take(6);
    hk_arena_give(run.chunk, run.base, 2);
    CHECK_EQ(purge_arena(HK_PURGE_FREE), 2 * HK_GRANULE_BYTES);
    CHECK_EQ(fake_os.huge_refused_bytes, 0);
    CHECK_EQ(hk_os_counts.purge_calls, 1);
}

TEST_FRESH(a_process_without_huge_pages_asks_for_none_and_keeps_nothing_for_them) {
    struct hk_granules run = take_huge();
    give(run, 4);
    fake_os.huge_mode = HK_OS_HUGE_NEVER; /* by a later prctl */
    hk_arena_obey_huge_mode(&arena);
    CHECK_EQ(run.chunk->asks, 0);
    CHECK_EQ(hk_chunk_huge_bytes(), 0);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 0);
    CHECK_EQ(purge_arena(HK_PURGE_DECAYED), 4 * HK_GRANULE_BYTES);
    uint64_t wanted = fake_os.huge_wanted_bytes;
    CHECK_EQ(take(64).chunk->side, HK_CHUNK_SHARED);
    CHECK_EQ(fake_os.huge_wanted_bytes, wanted);
}

/* ---- Repair ---------------------------------------------------------------------------------- */

static void repair(void) {
    hk_lock(&arena.lock, HK_RANK_ARENA);
    hk_arena_repair(&arena);
    hk_unlock(&arena.lock, HK_RANK_ARENA);
    hk_arena_repair_purge(&arena);
    CHECK(hk_arena_valid(&arena));
}

/* An arena with used and dirty runs in several chunks. */
static void make_mixed(void) {
    uint64_t seed = test_seed(7);
    for (int i = 0; i < 120; i++) {
        uint32_t granules = (uint32_t)(test_random(&seed) % 8 + 1);
        struct hk_granules run = take(granules);
        if (i % 3 == 0)
            give(run, granules);
    }
}

TEST_FRESH(a_repair_derives_everything_from_the_bits) {
    make_mixed();
    uint64_t dirty = hk_arena_dirty_bytes(), used = used_by_chunks();
    struct hk_arena whole = arena;
    memset(arena.sides, 0x5a, sizeof arena.sides);
    arena.committed += 3;
    arena.dirty -= 2;
    hk_usage_note(3 * HK_GRANULE_BYTES);
    for (struct hk_chunk *chunk = arena.chunks; chunk != NULL; chunk = chunk->older) {
        chunk->longest += 5;
        chunk->next = chunk->prev = chunk;
        chunk->decayed[0] = ~UINT64_C(0);
    }
    repair();
    CHECK_EQ(arena.committed, whole.committed);
    CHECK_EQ(arena.dirty, whole.dirty);
    CHECK_EQ(used_by_chunks(), used);
    CHECK_EQ(hk_arena_dirty_bytes(), dirty + 2 * HK_GRANULE_BYTES); /* nothing was allocated */
    for (int side = 0; side < HK_CHUNK_SIDES; side++)
        CHECK_EQ(arena.sides[side].filled, whole.sides[side].filled);
    uint64_t maps = fake_os.map_calls;
    for (uint32_t granules = 8; granules > 0; granules--)
        take(granules);
    CHECK(fake_os.map_calls <= maps + 2);
}

TEST_FRESH(a_purge_that_had_begun_to_free_its_run_is_ended_before_others_take_it) {
    struct hk_granules run = take(4);
    give(run, 4);
    arena.purging = run.chunk; /* the thread stopped while it freed the run */
    arena.purging_run = (struct hk_run){0, 4};
    run.chunk->used[0] = 0x3;
    hk_lock(&arena.lock, HK_RANK_ARENA);
    hk_arena_repair(&arena);
    hk_unlock(&arena.lock, HK_RANK_ARENA);
    CHECK(arena.purging == NULL);
    struct hk_granules taken = take(4);
    CHECK_EQ(taken.base, run.base);
    hk_arena_repair_purge(&arena); /* much later */
    CHECK(take(4).base != taken.base);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(a_purge_under_way_keeps_its_run_until_the_repair_of_the_purge) {
    struct hk_granules run = take(4);
    give(run, 4);
    arena.purging = run.chunk;
    arena.purging_run = (struct hk_run){0, 4};
    run.chunk->used[0] = 0xf;
    hk_lock(&arena.lock, HK_RANK_ARENA);
    hk_arena_repair(&arena);
    hk_unlock(&arena.lock, HK_RANK_ARENA);
    CHECK(take(4).base != run.base);
    hk_arena_repair_purge(&arena);
    CHECK_EQ(take(4).base, run.base);
    CHECK(hk_arena_valid(&arena));
}

TEST_FRESH(granules_that_were_half_taken_stay_in_use_and_are_committed) {
    struct hk_granules run = take(2);
    run.chunk->used[0] |= 0xf0; /* the thread stopped here */
    repair();
    CHECK_EQ(run.chunk->committed[0] & 0xf0, 0xf0);
    CHECK_EQ(run.chunk->longest, 8);
    CHECK_EQ(used_by_chunks(), 6 * HK_GRANULE_BYTES);
}

TEST_FRESH(a_run_that_was_being_purged_is_free_after_a_repair) {
    struct hk_granules run = take(8);
    hk_arena_give(run.chunk, run.base, 4);
    arena.purging_run = (struct hk_run){0, 4};
    arena.purging = run.chunk;
    run.chunk->used[0] |= 0x3; /* two of the four bits, and the thread stopped here */
    repair();
    CHECK(arena.purging == NULL);
    CHECK_EQ(run.chunk->used[0], 0xf0);
    CHECK_EQ(hk_arena_dirty_bytes(), 4 * HK_GRANULE_BYTES);
    CHECK_EQ(take(4).base, run.base);
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void *take_and_give(void *key) {
    uint64_t seed = (uintptr_t)key;
    for (int i = 0; i < 3000; i++) {
        uint32_t granules = (uint32_t)(test_random(&seed) % 20 + 1);
        struct hk_granules run = take(granules);
        memcpy((void *)run.base, &key, sizeof key);
        sched_yield();
        CHECK(memcmp((void *)run.base, &key, sizeof key) == 0);
        give(run, granules);
    }
    return NULL;
}

TEST_FRESH(threads_and_a_purge_at_the_same_time_never_share_granules) {
    pthread_t threads[3];
    for (uintptr_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(take_and_give, (void *)(i + 1));
    for (int i = 0; i < 300; i++)
        purge_arena(i % 10 ? HK_PURGE_DECAYED : HK_PURGE_ALL);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    CHECK(hk_arena_valid(&arena));
    purge_arena(HK_PURGE_ALL);
    CHECK_EQ(mapped_for_chunks(), 0);
}

/* ---- Growth ---------------------------------------------------------------------------------- */

enum { TAKERS = 16 };

static pthread_barrier_t takers_ready;

static void wait_a_little(void) { test_sleep_ms(5); }

static void *take_with_others(void *arg) {
    pthread_barrier_wait(&takers_ready);
    take(1);
    return arg;
}

TEST_FRESH(threads_that_find_no_run_at_once_map_one_chunk_together) {
    pthread_t threads[TAKERS];
    take(1);  /* so metadata is there */
    take(15); /* the first chunk is full */
    uint64_t before = fake_os.map_calls;
    pthread_barrier_init(&takers_ready, NULL, TAKERS);
    fake_os.delay = wait_a_little;
    for (size_t i = 0; i < TAKERS; i++)
        threads[i] = test_thread(take_with_others, NULL);
    for (size_t i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(fake_os.map_calls, before + 1);
    CHECK(hk_arena_valid(&arena));
}
