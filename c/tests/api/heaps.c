/* api/heaps.c - private heaps: each function, and its errors.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
#include "hakmem.h"
#include "test.h"

enum { LARGE = 1 << 20, HUGE = 9 << 20 };

static const size_t sizes[] = {0,    1,    8,     9,      100,    128,   129,  1000, 1024, 1025,
                               5000, 8192, 40000, 200000, 262144, LARGE, HUGE, 17,   290,  3000};

static struct hak_heap *new_heap(void) {
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    if (heap == NULL)
        test_leave();
    return heap;
}

static struct hak_heap *new_limited(uint64_t limit) {
    struct hak_heap_options options = {.name = "limited", .limit = limit};
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    if (heap == NULL)
        test_leave();
    return heap;
}

static struct hak_heap_stats stats_of(struct hak_heap *heap) {
    struct hak_heap_stats stats;
    hak_heap_stats(heap, &stats, sizeof stats);
    return stats;
}

static struct hak_stats all_stats(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    return stats;
}

/* ---- Allocation ------------------------------------------------------------------------------ */

TEST(blocks_of_every_size_belong_to_their_heap_and_are_freed_by_free) {
    struct hak_heap *heap = new_heap();
    unsigned char *blocks[TEST_COUNT(sizes)];
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("size", sizes[i]);
        blocks[i] = hak_heap_malloc(heap, sizes[i]);
        REQUIRE(blocks[i] != NULL);
        CHECK_EQ((uintptr_t)blocks[i] % 16, 0);
        CHECK(hak_usable_size(blocks[i]) >= sizes[i]);
        CHECK(hak_heap_of(blocks[i]) == heap);
        test_fill(blocks[i], sizes[i], i);
    }
    CHECK_EQ(stats_of(heap).blocks_live, TEST_COUNT(sizes));
    CHECK_EQ(hak_validate(), 0);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("size", sizes[i]);
        CHECK_EQ(test_intact(blocks[i], sizes[i], i), sizes[i]);
        i % 2 == 0 ? hak_free(blocks[i]) : free(blocks[i]);
    }
    CHECK_EQ(stats_of(heap).blocks_live, 0);
    CHECK_EQ(stats_of(heap).bytes_live, 0);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
    CHECK_EQ(all_stats().errors, 0);
}

TEST(aligned_blocks_of_a_heap_are_aligned) {
    struct hak_heap *heap = new_heap();
    for (size_t align = 1; align <= 4 << 20; align *= 2) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            AT("align size", align, sizes[i]);
            char *block = hak_heap_aligned_alloc(heap, align, sizes[i]);
            REQUIRE(block != NULL);
            CHECK_EQ((uintptr_t)block % (align > 16 ? align : 16), 0);
            CHECK(hak_heap_of(block) == heap);
            memset(block, 1, sizes[i]);
            if (i % 2 == 0)
                hak_free(block);
        }
    }
    errno = 0;
    CHECK(hak_heap_aligned_alloc(heap, HIDE((size_t)24), 8) == NULL);
    CHECK_EQ(errno, EINVAL);
    errno = 0;
    CHECK(hak_heap_aligned_alloc(heap, HIDE((size_t)0), 8) == NULL);
    CHECK_EQ(errno, EINVAL);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

TEST(calloc_of_a_heap_zeroes_blocks_that_were_used_before) {
    struct hak_heap *heap = new_heap();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            AT("size round", sizes[i], round);
            unsigned char *block = hak_heap_calloc(heap, 1, sizes[i]);
            REQUIRE(block != NULL);
            CHECK_EQ(test_zeros(block, sizes[i]), sizes[i]);
            memset(block, 0xA5, sizes[i]);
            hak_free(block);
        }
    }
    hak_heap_destroy(heap);
}

TEST(absurd_sizes_fail_with_enomem) {
    struct hak_heap *heap = new_heap();
    const size_t absurd[] = {SIZE_MAX, SIZE_MAX - 4095, PTRDIFF_MAX, (size_t)PTRDIFF_MAX + 1};
    for (size_t i = 0; i < TEST_COUNT(absurd); i++) {
        AT("case", i);
        errno = 0;
        CHECK(hak_heap_malloc(heap, HIDE(absurd[i])) == NULL);
        CHECK_EQ(errno, ENOMEM);
    }
    errno = 0;
    CHECK(hak_heap_calloc(heap, HIDE(SIZE_MAX / 2), 3) == NULL);
    CHECK_EQ(errno, ENOMEM);
    void *block = hak_heap_malloc(heap, 100);
    errno = 0;
    CHECK(hak_heap_realloc(heap, block, HIDE(SIZE_MAX)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    errno = 0;
    CHECK(hak_realloc(block, HIDE(SIZE_MAX)) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK(hak_heap_of(block) == heap);
    CHECK_EQ(stats_of(heap).blocks_live, 1);
    hak_heap_destroy(heap);
}

TEST(without_a_heap_the_functions_are_those_of_malloc) {
    void *blocks[4] = {hak_heap_malloc(NULL, 100), hak_heap_calloc(NULL, 10, 10),
                       hak_heap_aligned_alloc(NULL, 64, 100), hak_heap_realloc(NULL, NULL, 100)};
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        CHECK(blocks[i] != NULL);
        CHECK(hak_heap_of(blocks[i]) == NULL);
        hak_free(blocks[i]);
    }
    hak_heap_destroy(NULL);
    hak_heap_merge(NULL);
    CHECK_EQ(stats_of(NULL).id, 0);
    CHECK_EQ(hak_heap_visit(NULL, NULL, NULL), 0);
    CHECK(hak_heap_of(NULL) == NULL);
}

/* ---- Resizing -------------------------------------------------------------------------------- */

/* Resizes a block through all sizes, and checks its contents and its heap. */
static void resize_through_all(struct hak_heap *heap, int by_heap) {
    size_t old = 24;
    unsigned char *block = hak_heap_malloc(heap, old);
    test_fill(block, old, 7);
    for (size_t round = 0; round < 3 * TEST_COUNT(sizes); round++) {
        size_t size = sizes[round * 7 % TEST_COUNT(sizes)] + 1;
        size_t kept = old < size ? old : size;
        AT("old size", old, size);
        block = by_heap ? hak_heap_realloc(heap, block, size) : hak_realloc(block, size);
        REQUIRE(block != NULL);
        CHECK_EQ(test_intact(block, kept, 7), kept);
        CHECK(hak_heap_of(block) == heap);
        CHECK_EQ(stats_of(heap).blocks_live, 1);
        test_fill(block, size, 7);
        old = size;
    }
    CHECK_EQ(hak_validate(), 0);
    hak_free(block);
    CHECK_EQ(stats_of(heap).bytes_live, 0);
}

TEST(realloc_leaves_a_block_in_its_heap) {
    struct hak_heap *heap = new_heap();
    resize_through_all(heap, 0);
    resize_through_all(heap, 1);
    hak_heap_destroy(heap);
}

TEST(a_realloc_into_another_heap_moves_the_block) {
    struct hak_heap *a = new_heap(), *b = new_heap();
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        size_t size = sizes[i] + 1;
        AT("size", size);
        unsigned char *block = hak_malloc(size);
        test_fill(block, size, i);
        block = hak_heap_realloc(a, block, size);
        CHECK(hak_heap_of(block) == a);
        block = hak_heap_realloc(b, block, 2 * size);
        CHECK(hak_heap_of(block) == b);
        CHECK_EQ(test_intact(block, size, i), size);
        block = hak_heap_realloc(NULL, block, size);
        CHECK(hak_heap_of(block) == NULL);
        CHECK_EQ(test_intact(block, size, i), size);
        hak_free(block);
    }
    CHECK_EQ(stats_of(a).blocks_live + stats_of(b).blocks_live, 0);
    void *block = hak_heap_malloc(a, 10);
    CHECK(hak_heap_realloc(b, block, 0) == NULL);
    CHECK_EQ(stats_of(a).blocks_live, 0);
    hak_heap_destroy(a);
    hak_heap_destroy(b);
}

TEST(sized_frees_and_layouts_accept_blocks_of_a_heap) {
    struct hak_heap *heap = new_heap();
    for (int merged = 0; merged < 2; merged++) {
        void *blocks[TEST_COUNT(sizes)], *resized[TEST_COUNT(sizes)];
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            blocks[i] = hak_heap_malloc(heap, sizes[i]);
            resized[i] = hak_heap_aligned_alloc(heap, 16, sizes[i]);
        }
        if (merged)
            hak_heap_merge(heap);
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            AT("size merged", sizes[i], merged);
            hak_free_sized(blocks[i], sizes[i]);
            resized[i] = hak_realloc_layout(resized[i], sizes[i], 16, 2 * sizes[i] + 1);
            REQUIRE(resized[i] != NULL);
            hak_dealloc(resized[i], 2 * sizes[i] + 1, 16);
        }
    }
    CHECK_EQ(all_stats().errors, 0);
    CHECK_EQ(hak_validate(), 0);
}

/* ---- The end of a heap ----------------------------------------------------------------------- */

static void fill(struct hak_heap *heap, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t size = sizes[i % TEST_COUNT(sizes)];
        unsigned char *block = hak_heap_malloc(heap, size);
        REQUIRE(block != NULL);
        test_fill(block, size < 64 ? size : 64, i);
    }
}

TEST(destroy_frees_all_blocks_and_memory_returns_for_reuse) {
    uint64_t live = all_stats().bytes_live;
    uint64_t mapped = 0;
    for (int round = 0; round < 20; round++) {
        struct hak_heap *heap = new_heap();
        fill(heap, 400);
        CHECK(all_stats().bytes_live > live + 20 * (uint64_t)LARGE);
        hak_heap_destroy(heap);
        CHECK_EQ(all_stats().bytes_live, live);
        CHECK_EQ(hak_validate(), 0);
        if (round == 2)
            mapped = all_stats().bytes_mapped;
    }
    CHECK(all_stats().bytes_mapped <= mapped + (32 << 20)); /* one round has 150 MiB */
}

TEST(merged_blocks_live_on_in_the_heaps_of_malloc) {
    uint64_t live = all_stats().bytes_live;
    struct hak_heap *heap = new_heap();
    unsigned char *blocks[10 * TEST_COUNT(sizes)];
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        size_t size = sizes[i % TEST_COUNT(sizes)];
        blocks[i] = hak_heap_malloc(heap, size);
        test_fill(blocks[i], size, i);
    }
    uint64_t before = all_stats().bytes_live;
    hak_heap_merge(heap);
    CHECK_EQ(all_stats().bytes_live, before);
    CHECK_EQ(hak_validate(), 0);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        size_t size = sizes[i % TEST_COUNT(sizes)];
        AT("block size", i, size);
        CHECK(hak_heap_of(blocks[i]) == NULL);
        CHECK_EQ(test_intact(blocks[i], size, i), size);
        hak_free(blocks[i]);
    }
    CHECK_EQ(all_stats().bytes_live, live);
    hak_trim();
    CHECK_EQ(hak_validate(), 0);
    CHECK_EQ(all_stats().errors, 0);
}

/* ---- The limit ------------------------------------------------------------------------------- */

TEST(a_limit_refuses_exactly_what_would_exceed_it) {
    enum { LIMIT = 100000, SIZE = 1000 }; /* blocks of 1024 */
    struct hak_heap *heap = new_limited(LIMIT);
    void *blocks[LIMIT / 1024 + 1];
    size_t count = 0;
    while ((blocks[count] = hak_heap_malloc(heap, SIZE)) != NULL)
        count++;
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(count, LIMIT / 1024);
    CHECK_EQ(stats_of(heap).bytes_live, count * 1024);
    CHECK_EQ(stats_of(heap).refused, 1);
    CHECK_STR(stats_of(heap).name, "limited");
    hak_free(blocks[3]);
    blocks[3] = hak_heap_malloc(heap, SIZE);
    CHECK(blocks[3] != NULL);
    CHECK(hak_heap_malloc(heap, LARGE) == NULL);
    CHECK(hak_heap_malloc(heap, 700) == NULL); /* 672 bytes are left, and it would have 768 */
    CHECK(hak_heap_malloc(heap, 600) != NULL);
    hak_heap_destroy(heap);
}

TEST(a_limit_counts_large_blocks_and_their_growth) {
    struct hak_heap *heap = new_limited(3 * LARGE);
    char *block = hak_heap_malloc(heap, LARGE);
    REQUIRE(block != NULL);
    block = hak_realloc(block, 2 * LARGE);
    REQUIRE(block != NULL);
    CHECK_EQ(stats_of(heap).bytes_live, 2 * LARGE);
    errno = 0;
    CHECK(hak_realloc(block, 4 * LARGE) == NULL);
    CHECK_EQ(errno, ENOMEM);
    CHECK_EQ(stats_of(heap).bytes_live, 2 * LARGE);
    void *other = hak_heap_malloc(heap, LARGE);
    CHECK(other != NULL);
    CHECK(hak_heap_malloc(heap, 1) == NULL);
    hak_free(block);
    CHECK(hak_heap_malloc(heap, 1) != NULL);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

enum { SHARERS = 4, SHARED_LIMIT = 1 << 20, SHARED_MOST = SHARED_LIMIT / 1024 };

static struct sharer {
    struct hak_heap *heap;
    size_t count;
    void *blocks[SHARED_MOST];
} sharers[SHARERS];

static void *share_until_refused(void *arg) {
    struct sharer *sharer = arg;
    void *block;
    while ((block = hak_heap_malloc(sharer->heap, 1000)) != NULL)
        sharer->blocks[sharer->count++] = block;
    return NULL;
}

static void *free_shared(void *arg) {
    struct sharer *sharer = arg;
    while (sharer->count > 0)
        hak_free(sharer->blocks[--sharer->count]);
    return NULL;
}

static void run_sharers(void *(*run)(void *arg)) {
    pthread_t threads[SHARERS];
    for (int i = 0; i < SHARERS; i++)
        threads[i] = test_thread(run, &sharers[i]);
    for (int i = 0; i < SHARERS; i++)
        pthread_join(threads[i], NULL);
}

TEST(threads_reach_a_limit_together_and_frees_of_other_threads_count) {
    struct hak_heap *heap = new_limited(SHARED_LIMIT);
    CHECK(hak_heap_malloc(heap, 16) != NULL); /* this thread is the owner */
    for (int i = 0; i < SHARERS; i++)
        sharers[i].heap = heap;

    for (int round = 0; round < 3; round++) {
        size_t count = 0;
        run_sharers(share_until_refused);
        for (int i = 0; i < SHARERS; i++)
            count += sharers[i].count;
        CHECK_LE(count, SHARED_MOST - 1);

        void *rest = NULL; /* of the limit, in cells of the other threads */
        size_t rest_bytes = SHARED_LIMIT - stats_of(heap).bytes_live;
        if (rest_bytes >= 1024)
            CHECK((rest = hak_heap_malloc(heap, rest_bytes / 1024 * 1024)) != NULL);
        CHECK(hak_heap_malloc(heap, 1000) == NULL);
        hak_free(rest);
        run_sharers(free_shared);
        CHECK_EQ(stats_of(heap).bytes_live, 16);
        CHECK_EQ(hak_validate(), 0);
    }
    hak_heap_destroy(heap);
}

static void *allocate_once(void *heap) { return hak_heap_malloc(heap, 1000); }

TEST(a_resize_at_the_limit_gets_the_bytes_that_other_threads_cache) {
    enum { LIMIT = 1 << 20 };
    struct hak_heap *heap = new_limited(LIMIT);
    char *block = hak_heap_malloc(heap, 1000); /* this thread is the owner */
    void *other;
    pthread_join(test_thread(allocate_once, heap), &other);
    CHECK_EQ(stats_of(heap).bytes_live, 2048);
    block = hak_realloc(block, LIMIT - 4096);
    CHECK(block != NULL);
    CHECK_EQ(stats_of(heap).refused, 0);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

static void *cache_some(void *heap) {
    hak_free(hak_heap_malloc(heap, 1000));
    return NULL;
}

TEST(a_large_block_gets_the_bytes_that_an_owner_had_cached_when_it_ended) {
    enum { PAGE = 4096, LIMIT = 1 << 20 };
    struct hak_heap *heap = new_limited(LIMIT);
    for (size_t pages = 0; pages < 3; pages++) {
        pthread_join(test_thread(cache_some, heap), NULL);
        char *block = hak_heap_malloc(heap, LIMIT - pages * PAGE);
        CHECK((block = hak_realloc(block, LIMIT)) != NULL); /* in place */
        CHECK_EQ(stats_of(heap).bytes_live, LIMIT);
        hak_free(block);
    }
    CHECK_EQ(stats_of(heap).refused, 0);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

/* Blocks of more than 4 MiB have 64 KiB as their unit, those in arenas a page. */
TEST(no_resize_and_no_large_block_exceeds_a_limit) {
    enum { LIMIT = (20 << 20) + 5000 };
    for (size_t size = 300 << 10; size <= LIMIT; size += 777777) {
        struct hak_heap *heap = new_limited(LIMIT);
        for (size_t grown = size; grown <= LIMIT; grown += grown / 3 + 1) {
            AT("size grown", size, grown);
            char *block = hak_heap_malloc(heap, size);
            char *resized = block != NULL ? hak_realloc(block, grown) : NULL;
            CHECK_LE(stats_of(heap).bytes_live, LIMIT);
            hak_free(resized != NULL ? resized : block);
            CHECK_EQ(stats_of(heap).bytes_live, 0);
        }
        char *all = hak_heap_malloc(heap, LIMIT / 65536 * 65536);
        CHECK(all != NULL);
        CHECK(hak_heap_malloc(heap, 5001) == NULL);
        all = hak_realloc(all, 5 << 20);
        REQUIRE(all != NULL);
        CHECK_LE(stats_of(heap).bytes_live, LIMIT);
        for (size_t grown = 5 << 20; grown <= LIMIT + (1 << 20); grown += 1000000) {
            char *resized = hak_realloc(all, grown);
            all = resized != NULL ? resized : all;
            CHECK_LE(stats_of(heap).bytes_live, LIMIT);
        }
        hak_free(all);
        CHECK(hak_heap_malloc(heap, LIMIT / 65536 * 65536) != NULL); /* nothing counts twice */
        CHECK_EQ(hak_validate(), 0);
        hak_heap_destroy(heap);
    }
}

TEST(a_large_block_grows_to_the_last_page_of_a_limit_in_place) {
    enum { PAGE = 4096, LIMIT = 1 << 20 };
    struct hak_heap *heap = new_limited(LIMIT + PAGE / 2);
    char *block = hak_heap_malloc(heap, LIMIT - 2 * PAGE);
    for (int i = 0; i < 3; i++) /* cached blocks of the owner make room */
        hak_free(hak_heap_malloc(heap, 16));
    CHECK((block = hak_realloc(block, LIMIT)) != NULL);
    CHECK_EQ(stats_of(heap).bytes_live, LIMIT);
    CHECK(hak_realloc(block, LIMIT + 1) == NULL);
    CHECK_EQ(stats_of(heap).bytes_live, LIMIT);
    CHECK_EQ(stats_of(heap).refused, 1);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

TEST(a_limit_has_no_bytes_out_of_reach) {
    enum { LIMIT = 30 << 20, UNIT = 65536 };
    struct hak_heap *heap = new_limited(LIMIT);
    for (size_t size = 1; size < 200000; size = size * 2 + 1)
        CHECK(hak_heap_malloc(heap, size) != NULL);
    char *block = hak_heap_malloc(heap, 1000);

    size_t left = (LIMIT - stats_of(heap).bytes_live) / UNIT * UNIT;
    CHECK(hak_heap_malloc(heap, left + UNIT) == NULL);
    CHECK(hak_heap_malloc(heap, left) != NULL);
    left = LIMIT - stats_of(heap).bytes_live;
    CHECK(left >= 1024);
    CHECK((block = hak_realloc(block, 1024 + left / 1024 * 1024)) == NULL);
    while (left >= 1024) {
        CHECK(hak_heap_malloc(heap, 1024) != NULL);
        left -= 1024;
    }
    CHECK(hak_heap_malloc(heap, 1024) == NULL);
    CHECK_EQ(stats_of(heap).bytes_live, LIMIT - left);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(heap);
}

TEST(counts_stay_right_when_a_large_block_grows_to_the_limit) {
    enum { LIMIT = 20 << 20 };
    hak_trim(); /* so that it grows in place, with a reserve, and not by a copy */
    struct hak_heap *heap = new_limited(LIMIT);
    char *block = hak_heap_malloc(heap, 6 << 20);
    for (size_t size = 6 << 20; size <= LIMIT; size += 999999) {
        char *resized = hak_realloc(block, size);
        block = resized != NULL ? resized : block;
        CHECK_EQ(stats_of(heap).bytes_live, hak_usable_size(block));
        CHECK_EQ(stats_of(heap).bytes_large, hak_usable_size(block));
    }
    hak_free(block);
    CHECK_EQ(stats_of(heap).bytes_live, 0);
    CHECK(hak_heap_malloc(heap, LIMIT) != NULL);
    hak_heap_destroy(heap);
}

struct ask {
    struct hak_heap *heap;
    void *spare;
    size_t calls, bytes;
};

static int give_spare(void *arg, struct hak_heap *heap, size_t bytes) {
    struct ask *ask = arg;
    ask->calls++;
    ask->bytes = bytes;
    ask->heap = heap;
    if (ask->spare == NULL)
        return 0;
    /* A callback that exceeds the limit itself is not called again. */
    CHECK(hak_heap_malloc(heap, LARGE) == NULL);
    hak_free(ask->spare);
    ask->spare = NULL;
    return 1;
}

TEST(the_callback_of_a_limit_may_free_memory) {
    struct ask ask = {0};
    struct hak_heap_options options = {
        .limit = 2 * LARGE, .on_limit = give_spare, .on_limit_arg = &ask};
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    REQUIRE(heap != NULL);
    ask.spare = hak_heap_malloc(heap, LARGE);
    CHECK(hak_heap_malloc(heap, LARGE) != NULL);
    CHECK_EQ(ask.calls, 0);
    CHECK(hak_heap_malloc(heap, LARGE - 5) != NULL);
    CHECK_EQ(ask.calls, 1);
    CHECK_EQ(ask.bytes, LARGE - 5);
    CHECK(ask.heap == heap);
    CHECK_EQ(stats_of(heap).refused, 1); /* the one in the callback */
    CHECK(hak_heap_malloc(heap, 7) == NULL);
    CHECK_EQ(ask.calls, 2);
    CHECK_EQ(stats_of(heap).refused, 2);
    CHECK_EQ(ask.bytes, 7);
    hak_heap_destroy(heap);
}

/* ---- The default heap ------------------------------------------------------------------------ */

TEST(all_functions_allocate_from_the_default_heap) {
    struct hak_heap *heap = new_heap();
    void *before = hak_malloc(100);
    CHECK(hak_heap_set_default(heap) == NULL);
    void *out = NULL;
    CHECK_EQ(hak_posix_memalign(&out, 64, 100), 0);
    void *blocks[] = {hak_malloc(100),
                      hak_calloc(7, 9),
                      hak_aligned_alloc(256, 10),
                      hak_alloc(5, 1),
                      hak_alloc_zeroed(40, 8),
                      hak_realloc(NULL, 3000),
                      hak_malloc(LARGE),
                      malloc(50),
                      calloc(3, 3),
                      hak_calloc(1, 100000),
                      hak_malloc(HUGE),
                      out};
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        AT("block", i);
        CHECK(hak_heap_of(blocks[i]) == heap);
    }
    before = hak_realloc(before, 110); /* same class */
    CHECK(hak_heap_of(before) == NULL);
    hak_free(before);
    CHECK(hak_heap_set_default(NULL) == heap);
    CHECK_EQ(stats_of(heap).blocks_live, TEST_COUNT(blocks));
    void *after = hak_malloc(100);
    CHECK(hak_heap_of(after) == NULL);
    hak_free(after);
    hak_heap_destroy(heap);
    CHECK_EQ(hak_validate(), 0);
}

/* A library may enlarge a block that lives longer than the heap. */
TEST(a_block_that_a_thread_with_a_default_heap_resizes_stays_in_its_heap) {
    struct hak_heap *heap = new_heap(), *other = new_heap();
    struct hak_heap *const owners[] = {NULL, other, heap};
    for (size_t owner = 0; owner < TEST_COUNT(owners); owner++) {
        for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
            AT("owner size", owner, sizes[i]);
            size_t old = sizes[i] + 1;
            unsigned char *block = hak_heap_malloc(owners[owner], old);
            test_fill(block, old, i);
            hak_heap_set_default(heap);
            for (size_t k = 0; k < TEST_COUNT(sizes); k++) {
                size_t size = sizes[k] + 1;
                size_t kept = old < size ? old : size;
                block = k % 2 == 0 ? hak_realloc(block, size)
                                   : hak_realloc_layout(block, old, 16, size);
                REQUIRE(block != NULL);
                CHECK(hak_heap_of(block) == owners[owner]);
                CHECK_EQ(test_intact(block, kept, i), kept);
                test_fill(block, size, i);
                old = size;
            }
            void *next = hak_malloc(100);
            CHECK(hak_heap_of(next) == heap);
            hak_free(next);
            hak_heap_set_default(NULL);
            hak_free(block);
        }
    }
    hak_heap_destroy(heap);
    hak_heap_destroy(other);
    CHECK_EQ(all_stats().errors, 0);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_destroyed_default_heap_is_none_in_every_thread) {
    struct hak_heap *heap = new_heap();
    hak_heap_set_default(heap);
    hak_heap_destroy(heap);
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == NULL);
    hak_free(block);
    CHECK(hak_heap_set_default(NULL) == NULL);
}

static pthread_barrier_t step;

static void *use_as_default(void *heap) {
    hak_heap_set_default(heap);
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == heap);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    block = hak_malloc(100);
    CHECK(hak_heap_of(block) == NULL);
    hak_free(block);
    CHECK(hak_heap_set_default(NULL) == NULL);
    return NULL;
}

TEST(another_thread_falls_back_when_its_default_heap_was_destroyed) {
    struct hak_heap *heap = new_heap();
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(use_as_default, heap);
    pthread_barrier_wait(&step);
    hak_heap_destroy(heap);
    struct hak_heap *other = new_heap(); /* may reuse the record */
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
    CHECK_EQ(stats_of(other).blocks_live, 0);
    hak_heap_destroy(other);
}

/* ---- Observation ----------------------------------------------------------------------------- */

struct seen {
    size_t blocks, bytes, stop_at;
    int frees, allocates;
    struct hak_heap *heap;
};

static int see(void *arg, void *block, size_t bytes) {
    struct seen *seen = arg;
    CHECK(hak_heap_of(block) == seen->heap);
    CHECK_EQ(hak_usable_size(block), bytes);
    seen->blocks++;
    seen->bytes += bytes;
    if (seen->frees)
        hak_free(block);
    if (seen->allocates)
        CHECK(hak_heap_malloc(seen->heap, 100) != NULL);
    return seen->blocks != seen->stop_at;
}

TEST(visit_sees_each_live_block_once) {
    struct seen seen = {.heap = new_heap()};
    CHECK_EQ(hak_heap_visit(seen.heap, see, &seen), 0);
    CHECK_EQ(seen.blocks, 0);
    for (size_t i = 0; i < 5000; i++) {
        size_t size = sizes[i % (TEST_COUNT(sizes) - 6)];
        void *block = hak_heap_malloc(seen.heap, size);
        if (i % 3 == 0)
            hak_free(block);
    }
    fill(seen.heap, TEST_COUNT(sizes));
    struct hak_heap_stats stats = stats_of(seen.heap);
    CHECK_EQ(hak_heap_visit(seen.heap, see, &seen), 0);
    CHECK_EQ(seen.blocks, stats.blocks_live);
    CHECK_EQ(seen.bytes, stats.bytes_live);

    seen = (struct seen){.heap = seen.heap, .stop_at = 10};
    CHECK_EQ(hak_heap_visit(seen.heap, see, &seen), ECANCELED);
    CHECK_EQ(seen.blocks, 10);

    seen = (struct seen){.heap = seen.heap, .frees = 1, .allocates = 1};
    CHECK_EQ(hak_heap_visit(seen.heap, see, &seen), 0);
    CHECK(seen.blocks >= stats.blocks_live);
    CHECK_EQ(hak_validate(), 0);
    hak_heap_destroy(seen.heap);
}

TEST(statistics_of_the_process_include_private_heaps) {
    struct hak_stats before = all_stats();
    struct hak_heap *heap = new_heap();
    for (int i = 0; i < 1000; i++)
        CHECK(hak_heap_malloc(heap, 512) != NULL);
    CHECK(hak_heap_malloc(heap, LARGE) != NULL);
    struct hak_stats now = all_stats();
    CHECK_EQ(now.bytes_live - before.bytes_live, 1000 * 512 + LARGE);
    CHECK_EQ(now.bytes_private - before.bytes_private, 1000 * 512 + LARGE);
    CHECK_EQ(now.heaps_private - before.heaps_private, 1);
    hak_heap_destroy(heap);
    CHECK_EQ(all_stats().bytes_live, before.bytes_live);
    CHECK_EQ(all_stats().heaps_private, before.heaps_private);
}

TEST(slabs_that_became_empty_leave_a_heap_at_a_trim_unless_it_keeps_them) {
    enum { COUNT = 2000 };
    for (int keeps = 0; keeps < 2; keeps++) {
        void *blocks[COUNT];
        struct hak_heap_options options = {.purge = keeps ? HAK_HEAP_PURGE_NEVER
                                                          : HAK_HEAP_PURGE_DELAYED};
        struct hak_heap *heap = hak_heap_new(&options, sizeof options);
        REQUIRE(heap != NULL);
        for (int i = 0; i < COUNT; i++)
            blocks[i] = hak_heap_malloc(heap, 1000);
        uint64_t full = stats_of(heap).bytes_slabs;
        CHECK(full >= COUNT * 1000);
        for (int i = 0; i < COUNT; i++)
            hak_free(blocks[i]);
        CHECK_LE(stats_of(heap).bytes_slabs, full);
        hak_trim();
        if (keeps)
            CHECK_EQ(stats_of(heap).bytes_slabs, full);
        else
            CHECK_LE(stats_of(heap).bytes_slabs, 64 << 10); /* of the cached blocks */
        CHECK_EQ(hak_validate(), 0);
        hak_heap_destroy(heap);
    }
}

TEST(the_first_bytes_of_longer_and_shorter_structs_are_used) {
    struct {
        struct hak_heap_options options;
        char more[64];
    } longer = {.options = {.name = "a name that is much longer than thirty-one bytes"}};
    struct hak_heap *heap = hak_heap_new(&longer.options, sizeof longer);
    REQUIRE(heap != NULL);
    CHECK_STR(stats_of(heap).name, "a name that is much longer than");
    uint64_t id[2] = {0, 77};
    hak_heap_stats(heap, (struct hak_heap_stats *)(void *)id, sizeof id[0]);
    CHECK(id[0] != 0);
    CHECK_EQ(id[1], 77);
    hak_heap_destroy(heap);
    heap = hak_heap_new(&longer.options, 0);
    REQUIRE(heap != NULL);
    CHECK_STR(stats_of(heap).name, "");
    hak_heap_destroy(heap);
}
