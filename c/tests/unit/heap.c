/* unit/heap.c - batches between heaps and threads: slabs, decay, bad pointers.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "heap/scan.h"

#include "core/error.h"
#include "core/large.h"
#include "core/meta.h"
#include "core/options.h"
#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "heap/heaps.h"
#include "thread/check.h"
#include "transfer/transfer.h"

enum { CLASS = HK_CLASS_64 };
#define IN_A_SLAB (HK_GRANULE_BYTES / 64)

/* A heap with a new number. */
static struct hk_heap *make_heap(void) {
    hk_heaps_start(HK_HEAPS_MAX, 1);
    struct hk_heap *fresh = hk_heap_create();
    struct hk_heap *heap = fresh != NULL ? hk_heaps_choose(&fresh, 0) : NULL;
    REQUIRE(heap != NULL && fresh == NULL);
    heap->threads = 1; /* so that the next one is created, too */
    return heap;
}

static void take(struct hk_heap *heap, size_t class, void **to, uint32_t count) {
    for (uint32_t taken = 0; taken < count;) {
        uint32_t n = hk_heap_take(heap, class, to + taken, count - taken);
        REQUIRE(n > 0);
        taken += n;
    }
}

static void give(size_t class, void *const *blocks, uint32_t count) {
    struct hk_mistakes mistakes = {0};
    hk_heap_give(class, blocks, count, &mistakes);
    hk_mistakes_report("free", &mistakes);
}

static void give_singly(size_t class, void *const *blocks, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        hk_heap_give_one("free", class, blocks[i]);
}

/* A complete scan, in steps of `calls` system calls. */
static struct hk_scan scan_in_steps(struct hk_heap *heap, enum hk_purge which, uint32_t calls) {
    struct hk_scan scan = {.which = which};
    do
        scan.budget = (struct hk_purge_budget){calls, SIZE_MAX};
    while (!hk_heap_scan(heap, &scan));
    hk_mistakes_report("free", &scan.mistakes);
    return scan;
}

static struct hk_scan look(struct hk_heap *heap, enum hk_purge which) {
    return scan_in_steps(heap, which, 1000);
}

static void continue_after_errors(void) { CHECK_EQ(hk_option_set("on_error", "continue"), 0); }

/* ---- Taking ---------------------------------------------------------------------------------- */

TEST_FRESH(blocks_of_every_class_are_apart_and_belong_to_the_heap) {
    struct hk_heap *heap = make_heap();
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        void *blocks[64];
        size_t bytes = hk_classes[class].block_bytes;
        take(heap, class, blocks, TEST_COUNT(blocks));
        for (uint32_t i = 0; i < TEST_COUNT(blocks); i++) {
            const struct hk_span *slab = hk_pagemap_find(blocks[i]);
            AT("class block", class, i);
            CHECK(slab != NULL && slab->owner == heap && slab->class == class);
            CHECK_EQ(hk_class_map_class(blocks[i]), class);
            test_fill(blocks[i], bytes, i);
        }
        for (uint32_t i = 0; i < TEST_COUNT(blocks); i++)
            CHECK_EQ(test_intact(blocks[i], bytes, i), bytes);
        CHECK_EQ(heap->classes[class].blocks_allocated, TEST_COUNT(blocks));
    }
}

TEST_FRESH(a_single_block_is_called_zero_while_it_was_never_used) {
    struct hk_heap *heap = make_heap();
    struct hk_block first = hk_heap_take_one(heap, HK_CLASS_53248);
    CHECK(first.start != NULL && first.zero);
    hk_heap_give_one("free", HK_CLASS_53248, first.start);
    struct hk_block again = hk_heap_take_one(heap, HK_CLASS_53248);
    CHECK(again.start == first.start && !again.zero);
    CHECK(hk_heap_take_one(heap, HK_CLASS_53248).zero);
}

/* ---- Giving ---------------------------------------------------------------------------------- */

TEST_FRESH(a_batch_goes_to_the_slabs_it_came_from) {
    struct hk_heap *heap = make_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS];
    static void *blocks[3 * HK_BATCH_MAX + 7];
    take(heap, CLASS, blocks, TEST_COUNT(blocks));
    give(CLASS, blocks, TEST_COUNT(blocks));
    CHECK_EQ(hc->blocks_allocated, 0);
    CHECK_EQ(hc->flushes, 4);
    for (uint32_t i = 0; i < TEST_COUNT(blocks); i++)
        CHECK_EQ(hk_slab_look(hk_pagemap_find(blocks[i]), blocks[i]), HK_SLAB_ALREADY_FREE);
}

TEST_FRESH(each_block_of_a_mixed_batch_goes_to_the_heap_it_came_from) {
    struct hk_heap *heaps[3] = {make_heap(), make_heap(), make_heap()};
    void *batch[60];
    for (int i = 0; i < 60; i++)
        take(heaps[i % 3], CLASS, &batch[i], 1);
    give(CLASS, batch, 60);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(heaps[i]->classes[CLASS].blocks_allocated, 0);
        CHECK_EQ(heaps[i]->classes[CLASS].flushes, 1);
    }
}

TEST_FRESH(a_check_of_a_batch_takes_out_what_is_not_allocated) {
    struct hk_heap *heap = make_heap();
    void *blocks[4], *other;
    static char alien[64];
    take(heap, CLASS, blocks, 4);
    take(heap, HK_CLASS_128, &other, 1);
    hk_heap_give_one("free", CLASS, blocks[3]);
    void *never = (char *)blocks[3] + 64;
    void *batch[] = {
        blocks[0], (char *)blocks[1] + 8, blocks[1], alien, blocks[2], other, blocks[3], never};
    struct hk_mistakes mistakes = {0};
    CHECK_EQ(hk_heap_check_batch(CLASS, batch, TEST_COUNT(batch), &mistakes), 3);
    for (int i = 0; i < 3; i++)
        CHECK(batch[i] == blocks[i]);
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 3); /* nothing changed */
    static const char *const causes[] = {HK_CAUSE_INSIDE, HK_CAUSE_ALIEN, HK_CAUSE_ALIEN,
                                         HK_CAUSE_FREE, HK_CAUSE_ALIEN};
    const void *const bad[] = {(char *)blocks[1] + 8, alien, other, blocks[3], never};
    REQUIRE(mistakes.count == TEST_COUNT(causes));
    for (size_t i = 0; i < TEST_COUNT(causes); i++) {
        CHECK(mistakes.pointers[i] == bad[i]);
        CHECK_STR(mistakes.causes[i], causes[i]);
    }
}

TEST_FRESH(one_empty_slab_is_kept_and_the_others_are_released) {
    struct hk_heap *heap = make_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS];
    static void *blocks[4 * IN_A_SLAB];
    take(heap, CLASS, blocks, TEST_COUNT(blocks));
    CHECK_EQ(hc->slabs, 4);
    CHECK_EQ(hc->listed, 0); /* all exhausted */
    give_singly(CLASS, blocks, TEST_COUNT(blocks));
    CHECK_EQ(hc->slabs, 1);
    CHECK_EQ(hc->empty, 1);
    CHECK_EQ(hc->blocks_allocated, 0);
    uint32_t known = 0;
    for (uint32_t i = 0; i < TEST_COUNT(blocks); i++)
        known += hk_pagemap_find(blocks[i]) != NULL;
    CHECK_EQ(known, IN_A_SLAB);
    look(heap, HK_PURGE_ALL);
    CHECK_EQ(hc->slabs, 0);
    /* A leaf of the pagemap and the first generation of the class map stay. */
    CHECK_EQ(fake_os_mapped() - hk_meta_bytes() - 512 * 1024, 256 * 1024 + 4096);
}

TEST_FRESH(slabs_with_free_blocks_are_used_before_a_new_one_is_made) {
    struct hk_heap *heap = make_heap();
    static void *blocks[3 * IN_A_SLAB];
    take(heap, CLASS, blocks, TEST_COUNT(blocks));
    give_singly(CLASS, &blocks[10], 1);
    give_singly(CLASS, &blocks[IN_A_SLAB + 10], 1);
    void *again[2];
    take(heap, CLASS, again, 2);
    CHECK(again[0] == blocks[10] && again[1] == blocks[IN_A_SLAB + 10]);
    CHECK_EQ(heap->classes[CLASS].slabs, 3);
}

/* ---- Bad pointers ---------------------------------------------------------------------------- */

TEST_FRESH(a_double_free_is_found_when_the_block_reaches_its_slab) {
    struct hk_heap *heap = make_heap();
    void *blocks[2];
    take(heap, CLASS, blocks, 2);
    continue_after_errors();
    hk_heap_give_one("free", CLASS, blocks[0]);
    hk_heap_give_one("hak_dealloc", CLASS, blocks[0]);
    char line[100];
    snprintf(line, sizeof line, "hakmem: hak_dealloc(): %p: already free (double free)\n",
             blocks[0]);
    CHECK_STR(fake_os_take_errors(), line);
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 1);
}

TEST_FRESH(a_batch_with_a_block_that_is_free_already_reports_it) {
    struct hk_heap *heap = make_heap();
    void *blocks[3];
    take(heap, CLASS, blocks, 3);
    continue_after_errors();
    hk_heap_give_one("free", CLASS, blocks[1]);
    give(CLASS, blocks, 3);
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_FREE);
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 0);
}

TEST_FRESH(a_block_that_is_twice_in_a_batch_is_reported) {
    struct hk_heap *heap = make_heap();
    void *blocks[3];
    take(heap, CLASS, blocks, 2);
    blocks[2] = blocks[0];
    continue_after_errors();
    give(CLASS, blocks, 3);
    CHECK_CONTAINS(fake_os_take_errors(), "already free (double free)\n");
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 0);
}

/* Successive blocks in the same word of the bits go to their slab together. */
TEST_FRESH(neighbours_in_a_batch_come_home_in_every_order_without_one_that_is_free_already) {
    enum { COUNT = 131, FREE = 70 }; /* a prime number, in three words */
    struct hk_heap *heap = make_heap();
    void *blocks[COUNT], *batch[COUNT];
    continue_after_errors();
    for (uint32_t step = 1; step < COUNT; step++) {
        take(heap, CLASS, blocks, COUNT);
        hk_heap_give_one("free", CLASS, blocks[FREE]);
        for (uint32_t i = 0; i < COUNT; i++)
            batch[i] = blocks[i * step % COUNT];
        AT("step", step);
        uint64_t errors = hk_errors;
        give(CLASS, batch, COUNT);
        char line[200];
        snprintf(line, sizeof line, "hakmem: free(): %p: %s\n", blocks[FREE], HK_CAUSE_FREE);
        CHECK_CONTAINS(fake_os_take_errors(), line);
        CHECK_EQ(hk_errors, errors + 1);
        CHECK_EQ(heap->classes[CLASS].blocks_allocated, 0);
        CHECK_EQ(hk_validate(), 0);
        for (uint32_t i = 0; i < COUNT; i++)
            CHECK_EQ(hk_slab_look(hk_pagemap_find(blocks[i]), blocks[i]), HK_SLAB_ALREADY_FREE);
    }
}

TEST_FRESH(bad_pointers_in_a_batch_are_reported_and_the_others_come_home) {
    struct hk_heap *heap = make_heap();
    void *blocks[4], *other;
    static char alien[64];
    take(heap, CLASS, blocks, 4);
    take(heap, HK_CLASS_128, &other, 1);
    continue_after_errors();
    void *batch[] = {blocks[0], (char *)blocks[1] + 8, blocks[1], alien, blocks[2], other,
                     blocks[3]};
    give(CLASS, batch, TEST_COUNT(batch));
    const char *errors = fake_os_take_errors();
    static const struct {
        int index;
        const char *cause;
    } bad[] = {{1, HK_CAUSE_INSIDE}, {3, HK_CAUSE_ALIEN}, {5, HK_CAUSE_ALIEN}};
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        char line[200];
        snprintf(line, sizeof line, "hakmem: free(): %p: %s\n", batch[bad[i].index], bad[i].cause);
        CHECK_CONTAINS(errors, line);
    }
    CHECK_EQ(hk_errors, TEST_COUNT(bad));
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 0);
    CHECK_EQ(heap->classes[HK_CLASS_128].blocks_allocated, 1);
}

TEST_FRESH(a_batch_of_nothing_but_bad_pointers_is_survived) {
    struct hk_heap *heap = make_heap();
    void *blocks[HK_BATCH_MAX];
    take(heap, CLASS, blocks, 1);
    for (uint32_t i = 1; i < HK_BATCH_MAX; i++)
        blocks[i] = (char *)blocks[0] + 1;
    blocks[0] = blocks[1];
    continue_after_errors();
    give(CLASS, blocks, HK_BATCH_MAX);
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_INSIDE);
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 1);
}

TEST_FRESH(checking_a_pointer_tells_live_blocks_from_all_else) {
    struct hk_heap *heap = make_heap();
    void *blocks[2];
    take(heap, CLASS, blocks, 2);
    char *large = hk_large_alloc(&heap->arena, heap, 1 << 20, 16).start;
    hk_heap_give_one("free", CLASS, blocks[1]);
    continue_after_errors();
    CHECK(hk_check("free", blocks[0]));
    CHECK(hk_check("free", large));
    CHECK_STR(fake_os_take_errors(), "");
    CHECK(!hk_check("free", blocks[1]));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_FREE);
    CHECK(!hk_check("free", (char *)blocks[0] + 16));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_INSIDE);
    CHECK(!hk_check("free", large + 16));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_INSIDE);
    CHECK(!hk_check("free", (char *)blocks[0] + 32768)); /* never used */
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_ALIEN);
    CHECK(!hk_check("free", &heap));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_ALIEN);
    CHECK(!hk_check("free", NULL));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_ALIEN);
}

/* With checks=fast, blocks move through transfer caches. */
TEST_FRESH(checking_a_pointer_finds_a_block_in_a_transfer_cache_free) {
    void *blocks[3];
    take(make_heap(), CLASS, blocks, 3);
    hk_transfer_start(2);
    CHECK_EQ(hk_transfer_put(CLASS, blocks, 2, NULL).count, 2);
    continue_after_errors();
    CHECK(!hk_check("free", blocks[0]));
    CHECK_CONTAINS(fake_os_take_errors(), HK_CAUSE_FREE);
    CHECK(hk_check("free", blocks[2]));
}

/* ---- Extending ------------------------------------------------------------------------------- */

#define EXTEND(block, from, to, size) hk_heap_extend(block, HK_CLASS_##from, HK_CLASS_##to, size)

TEST_FRESH(a_block_that_has_its_slab_to_itself_grows_where_it_is) {
    struct hk_heap *heap = make_heap();
    void *block;
    take(heap, HK_CLASS_65536, &block, 1);
    test_fill(block, 65536, 1);
    uint64_t large = hk_large_live_bytes();
    CHECK(EXTEND(block, 65536, 131072, 131072));
    CHECK_EQ(hk_class_map_class(block), HK_CLASS_131072);
    CHECK_EQ(hk_class_map_class((char *)block + 131071), HK_CLASS_131072);
    CHECK_EQ(heap->classes[HK_CLASS_65536].slabs, 0);
    CHECK_EQ(heap->classes[HK_CLASS_131072].slabs, 1);
    CHECK_EQ(heap->classes[HK_CLASS_131072].blocks_allocated, 1);
    CHECK(EXTEND(block, 131072, NONE, 1000000));
    CHECK_EQ(hk_class_map_class((char *)block + 65536), HK_CLASS_NONE);
    CHECK_EQ(heap->classes[HK_CLASS_131072].slabs, 0);
    CHECK_EQ(hk_large_live_bytes(), large + 1003520);
    CHECK_EQ(test_intact(block, 65536, 1), 65536);
    memset(block, 1, 1003520);
    CHECK(hk_arena_valid(&heap->arena));
    hk_large_free(hk_pagemap_find(block));
    CHECK_EQ(hk_large_live_bytes(), large);
    CHECK(hk_arena_valid(&heap->arena));
}

TEST_FRESH(an_extended_block_comes_home_to_its_new_class) {
    struct hk_heap *heap = make_heap();
    void *block;
    take(heap, HK_CLASS_65536, &block, 1);
    CHECK(EXTEND(block, 65536, 262144, 262144));
    hk_heap_give_one("free", HK_CLASS_262144, block);
    CHECK_EQ(heap->classes[HK_CLASS_262144].blocks_allocated, 0);
    CHECK_EQ(heap->classes[HK_CLASS_262144].empty, 1);
    look(heap, HK_PURGE_ALL);
    CHECK_EQ(heap->classes[HK_CLASS_262144].slabs, 0);
    CHECK(hk_pagemap_find(block) == NULL);
}

TEST_FRESH(a_block_with_a_neighbour_behind_it_stays_as_it_is) {
    struct hk_heap *heap = make_heap();
    char *blocks[2];
    take(heap, HK_CLASS_65536, (void **)blocks, 1);
    take(heap, HK_CLASS_65536, (void **)blocks + 1, 1);
    REQUIRE(blocks[1] == blocks[0] + 65536);
    CHECK(!EXTEND(blocks[0], 65536, 131072, 131072));
    CHECK_EQ(hk_class_map_class(blocks[0]), HK_CLASS_65536);
    CHECK_EQ(heap->classes[HK_CLASS_65536].blocks_allocated, 2);
    CHECK(EXTEND(blocks[1], 65536, 131072, 131072));
}

TEST_FRESH(without_metadata_a_block_is_not_extended_and_stays_as_it_is) {
    struct hk_heap *heap = make_heap();
    void *block;
    take(heap, HK_CLASS_65536, &block, 1);
    fake_os_fail_maps(1, FAKE_OS_ALL);
    for (size_t bytes = 1 << 20; bytes >= 64; bytes /= 2) {
        while (hk_meta_alloc(bytes) != NULL)
            ;
    }
    CHECK(!EXTEND(block, 65536, 131072, 131072));
    CHECK_EQ(hk_class_map_class(block), HK_CLASS_65536);
    CHECK_EQ(heap->classes[HK_CLASS_65536].blocks_allocated, 1);
    CHECK(hk_arena_valid(&heap->arena));
    fake_os_fail_maps(0, 0);
    CHECK(EXTEND(block, 65536, 131072, 131072));
}

TEST_FRESH(what_is_not_a_block_of_one_slab_or_not_out_is_not_extended) {
    struct hk_heap *heap = make_heap();
    void *small, *block;
    take(heap, HK_CLASS_32768, &small, 1);
    take(heap, HK_CLASS_65536, &block, 1);
    CHECK(!EXTEND(small, 32768, 65536, 65536));
    CHECK(!EXTEND(block, 65536, 53248, 53248));
    CHECK(!EXTEND(block, 65536, 114688, 114688)); /* its slabs have several */
    CHECK(!EXTEND((char *)block + 4096, 65536, 131072, 131072));
    CHECK(!EXTEND(block, 65536, NONE, (4 << 20) + 1));
    CHECK(!EXTEND(block, 65536, NONE, SIZE_MAX));
    hk_heap_give_one("free", HK_CLASS_65536, block);
    CHECK(!EXTEND(block, 65536, 131072, 131072));
    CHECK_EQ(heap->classes[HK_CLASS_65536].slabs, 1);
    CHECK(hk_arena_valid(&heap->arena));
}

/* ---- Decay ----------------------------------------------------------------------------------- */

TEST_FRESH(blocks_that_a_scan_returns_are_no_use_of_their_class) {
    struct hk_heap *heap = make_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS];
    static void *blocks[2 * IN_A_SLAB];
    take(heap, CLASS, blocks, TEST_COUNT(blocks));
    look(heap, HK_PURGE_DECAYED);
    struct hk_mistakes mistakes = {0};
    hk_heap_give_idle(CLASS, blocks, IN_A_SLAB, &mistakes);
    CHECK_EQ(hc->empty, 1);
    look(heap, HK_PURGE_DECAYED); /* the class is idle, so its empty slab is freed */
    CHECK_EQ(hc->empty, 0);
    give(CLASS, blocks + IN_A_SLAB, IN_A_SLAB);
    look(heap, HK_PURGE_DECAYED); /* it was used in between */
    CHECK_EQ(hc->empty, 1);
    CHECK_EQ(mistakes.count, 0);
}

TEST_FRESH(a_heap_at_rest_comes_to_have_nothing_left_to_give_back) {
    struct hk_heap *heap = make_heap();
    static void *blocks[3 * IN_A_SLAB];
    take(heap, CLASS, blocks, TEST_COUNT(blocks));
    for (uint32_t i = 0; i + 100 <= TEST_COUNT(blocks); i += 100)
        give(CLASS, blocks + i, 100);
    int looks = 0;
    while (look(heap, HK_PURGE_DECAYED).waiting > 0 || hk_arena_dirty_bytes() > 0)
        REQUIRE(++looks < 20);
    uint64_t purges = hk_os_counts.purge_calls;
    CHECK_EQ(look(heap, HK_PURGE_DECAYED).purged_bytes, 0);
    CHECK_EQ(hk_os_counts.purge_calls, purges);
}

/* Frees the blocks `from` to `end` of a full slab of 64 blocks of 1 KiB, and makes it decay. */
static void check_pages_purged(uint32_t from, uint32_t end, size_t purged) {
    struct hk_heap *heap = make_heap();
    void *blocks[64];
    take(heap, HK_CLASS_1024, blocks, 64);
    for (uint32_t i = 0; i < 64; i++)
        test_fill(blocks[i], 1024, i);
    give_singly(HK_CLASS_1024, blocks + from, end - from);
    AT("from end page", from, end, fake_os.page_bytes);
    CHECK_EQ(look(heap, HK_PURGE_DECAYED).purged_bytes, 0);
    CHECK_EQ(look(heap, HK_PURGE_DECAYED).purged_bytes, purged);
    CHECK_EQ(look(heap, HK_PURGE_ALL).purged_bytes, 0);
    size_t zero_bytes = 0;
    for (uint32_t i = 0; i < 64; i++) {
        if (i < from || i >= end)
            CHECK_EQ(test_intact(blocks[i], 1024, i), 1024);
        else
            zero_bytes += test_zeros(blocks[i], 1024) == 1024 ? 1024 : 0;
    }
    CHECK_EQ(zero_bytes, purged);
    CHECK_EQ(heap->classes[HK_CLASS_1024].blocks_allocated, 64 - (end - from));
    void *again;
    take(heap, HK_CLASS_1024, &again, 1);
    CHECK(again == blocks[from]);
}

TEST_FRESH(whole_pages_of_free_blocks_in_a_used_slab_go_back_at_the_second_look) {
    check_pages_purged(0, 16, 16 * 1024);
    check_pages_purged(1, 16, 12 * 1024);
    check_pages_purged(5, 10, 0);
    check_pages_purged(30, 63, 28 * 1024);
}

TEST_FRESH(of_pages_of_16_and_64_kib_only_whole_free_ones_go_back) {
    fake_os.page_bytes = 16384;
    check_pages_purged(0, 33, 32 * 1024);
    check_pages_purged(1, 33, 16 * 1024);
    fake_os.page_bytes = 65536;
    check_pages_purged(0, 63, 0);
}

/* ---- Without memory, and with threads -------------------------------------------------------- */

TEST_FRESH(without_memory_nothing_is_taken_and_the_heap_stays_as_it_was) {
    struct hk_heap *heap = make_heap();
    struct hk_heap_class *hc = &heap->classes[HK_CLASS_262144];
    void *block;
    for (uint64_t first = 1; first <= 2; first++) { /* no chunk; then a chunk, but no leaf for it */
        fake_os_fail_maps(first, FAKE_OS_ALL);
        AT("failing from", first);
        CHECK_EQ(hk_heap_take(heap, HK_CLASS_262144, &block, 1), 0);
        CHECK(hk_heap_take_one(heap, HK_CLASS_262144).start == NULL);
        CHECK(hc->slabs == 0 && hc->blocks_allocated == 0 && hc->first == NULL);
    }
    fake_os_fail_maps(0, 0);
    take(heap, HK_CLASS_262144, &block, 1);
    CHECK(hc->slabs == 1 && hc->blocks_allocated == 1);
}

static struct hk_heap *shared[2];

static void *take_and_give(void *key) {
    uint64_t seed = (uintptr_t)key;
    for (int round = 0; round < 400; round++) {
        void *blocks[40];
        uint32_t n = hk_heap_take(shared[test_random(&seed) % 2], HK_CLASS_1024, blocks, 40);
        for (uint32_t i = 0; i < n; i++)
            test_fill(blocks[i], 1024, (uintptr_t)key);
        sched_yield();
        for (uint32_t i = 0; i < n; i++)
            CHECK_EQ(test_intact(blocks[i], 1024, (uintptr_t)key), 1024);
        give(HK_CLASS_1024, blocks, n);
    }
    return NULL;
}

TEST_FRESH(threads_that_share_heaps_with_ageing_never_share_blocks) {
    pthread_t threads[3];
    shared[0] = make_heap();
    shared[1] = make_heap();
    for (uintptr_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = test_thread(take_and_give, (void *)(i + 1));
    for (int i = 0; i < 200; i++)
        look(shared[i % 2], i % 5 ? HK_PURGE_DECAYED : HK_PURGE_ALL);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) {
        look(shared[i], HK_PURGE_ALL);
        CHECK_EQ(shared[i]->classes[HK_CLASS_1024].blocks_allocated, 0);
        CHECK_EQ(shared[i]->classes[HK_CLASS_1024].slabs, 0);
        CHECK(hk_arena_valid(&shared[i]->arena));
    }
}

/* ---- Steps and repairs ----------------------------------------------------------------------- */

enum { MANY = 5000 };
static void *many[MANY];

/* Takes blocks from several slabs, and frees every third block. */
static struct hk_heap *make_worn_heap(void) {
    struct hk_heap *heap = make_heap();
    take(heap, CLASS, many, MANY);
    for (uint32_t i = 0; i < MANY; i += 3)
        hk_heap_give_one("free", CLASS, many[i]);
    return heap;
}

/* Takes all free blocks again. None of them may be allocated. */
static void check_worn_heap(struct hk_heap *heap) {
    for (uint32_t i = 0; i < MANY; i++)
        if (i % 3 != 0)
            memset(many[i], 1, 64);
    for (uint32_t i = 0; i < MANY; i += 3) {
        take(heap, CLASS, &many[i], 1);
        memset(many[i], 2, 64);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        AT("block", i);
        CHECK_EQ(*(char *)many[i], i % 3 == 0 ? 2 : 1);
    }
    give_singly(CLASS, many, MANY);
    CHECK_EQ(heap->classes[CLASS].blocks_allocated, 0);
}

TEST_FRESH(a_class_is_rebuilt_from_the_bits_of_its_slabs) {
    struct hk_heap *heap = make_worn_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS], before = *hc;
    for (struct hk_span *slab = hc->first; slab != NULL; slab = slab->next)
        slab->free = 77;
    hc->first->next = hc->first; /* a list during an update */
    hc->slabs = hc->listed = hc->empty = 1234;
    hc->blocks_allocated = 5;
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_heap_repair_class(heap, CLASS);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    CHECK_EQ(hc->slabs, before.slabs);
    CHECK_EQ(hc->listed, before.listed);
    CHECK_EQ(hc->empty, before.empty);
    CHECK_EQ(hc->blocks_allocated, before.blocks_allocated);
    check_worn_heap(heap);
}

TEST_FRESH(a_purge_of_a_vanished_thread_is_undone) {
    struct hk_heap *heap = make_worn_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS];
    struct hk_span *slab = hc->first;
    uint32_t taken = hk_slab_take_all(slab, heap->purging_bits);
    CHECK(taken > 0);
    heap->purging = slab;
    hc->first = slab->next; /* and not in the list any more */
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_heap_repair_class(heap, CLASS);
    CHECK_EQ(hc->blocks_purging, taken);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    hk_heap_repair_purge(NULL, heap);
    CHECK(heap->purging == NULL);
    CHECK_EQ(hc->blocks_purging, 0);
    check_worn_heap(heap);
}

TEST_FRESH(a_purge_whose_end_had_begun_is_ended_before_its_blocks_are_used) {
    struct hk_heap *heap = make_worn_heap();
    struct hk_heap_class *hc = &heap->classes[CLASS];
    struct hk_span *slab = hc->first;
    CHECK(hk_slab_take_all(slab, heap->purging_bits) > 0);
    heap->purging = slab;
    slab->bits[0] |= heap->purging_bits[0]; /* the first word was returned */
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_heap_repair_class(heap, CLASS);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    for (uint32_t i = 0; i < MANY; i += 3)
        take(heap, CLASS, &many[i], 1);
    hk_heap_repair_purge(NULL, heap); /* frees none of them */
    for (uint32_t i = 0; i < MANY; i += 3)
        hk_heap_give_one("free", CLASS, many[i]);
    CHECK_EQ(hk_errors, 0);
    check_worn_heap(heap);
}

TEST_FRESH(a_scan_in_small_steps_gives_back_as_much_as_one_in_a_large_step) {
    size_t purged[2];
    for (int small = 0; small < 2; small++) {
        struct hk_heap *heap = make_heap();
        take(heap, HK_CLASS_4096, many, MANY / 10);
        for (uint32_t i = 0; i < MANY / 10; i += 2)
            hk_heap_give_one("free", HK_CLASS_4096, many[i]);
        uint32_t calls = small ? 1 : 100000;
        size_t first = scan_in_steps(heap, HK_PURGE_DECAYED, calls).purged_bytes;
        CHECK_EQ(first, 0); /* nothing has decayed, because a step does not count twice */
        purged[small] = scan_in_steps(heap, HK_PURGE_DECAYED, calls).purged_bytes;
    }
    CHECK_GE(purged[0], (size_t)MANY / 20 * 4096);
    CHECK_EQ(purged[1], purged[0]);
}

/* ---- Orphaned locks during a purge ----------------------------------------------------------- */

static struct hk_heap *orphaned;
static pthread_barrier_t step;

static void repair_class_of_orphaned(struct hk_lock *lock) {
    struct hk_heap_class *hc = (struct hk_heap_class *)(void *)lock;
    hk_heap_repair_class(orphaned, (size_t)(hc - orphaned->classes));
}

static void *hold_class_until_the_end(void *arg) {
    struct hk_heap_class *hc = &orphaned->classes[CLASS];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    pthread_barrier_wait(&step);
    pthread_barrier_wait(&step);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    return arg;
}

static void repair_purge_in_child(void *unused) {
    (void)unused;
    hk_heap_repair_purge(NULL, orphaned); /* finds the class lock orphaned, ends the purge */
    CHECK(orphaned->purging == NULL);
    CHECK_EQ(orphaned->classes[CLASS].blocks_purging, 0);
    check_worn_heap(orphaned);
}

TEST_FRESH(a_purge_whose_end_had_begun_under_an_orphaned_lock_is_ended_once) {
    orphaned = make_worn_heap();
    struct hk_span *slab = orphaned->classes[CLASS].first;
    uint32_t taken = hk_slab_take_all(slab, orphaned->purging_bits);
    orphaned->classes[CLASS].blocks_purging += taken;
    orphaned->purging = slab;
    hk_slab_give_all(slab, orphaned->purging_bits); /* the end has begun */

    hk_os_generation();
    hk_lock_set_repair(HK_RANK_CLASS, repair_class_of_orphaned);
    pthread_barrier_init(&step, NULL, 2);
    pthread_t thread = test_thread(hold_class_until_the_end, NULL);
    pthread_barrier_wait(&step);
    struct test_child child = test_in_child(repair_purge_in_child, NULL);
    CHECK_EXITED(child);
    pthread_barrier_wait(&step);
    pthread_join(thread, NULL);
}

TEST_FRESH(a_slab_that_is_half_entered_is_lost_and_its_neighbours_are_not) {
    enum { TWO = HK_CLASS_20480 }; /* slabs of several granules */
    struct hk_heap *heap = make_heap();
    take(heap, TWO, many, 40);
    uint32_t slabs = heap->classes[TWO].slabs;
    struct hk_span *half = hk_pagemap_find(many[0]);
    REQUIRE(half->granules > 1 && slabs > 1);
    hk_pagemap_remove(half);
    struct hk_heap_class *hc = &heap->classes[TWO];
    hk_lock(&hc->lock, HK_RANK_CLASS);
    hk_heap_repair_class(heap, TWO);
    hk_unlock(&hc->lock, HK_RANK_CLASS);
    CHECK_EQ(hc->slabs, slabs - 1);
}
