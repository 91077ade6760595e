/* unit/pagemap.c - the owner of an address, inside and outside of the class map.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Spans are registered at unmapped addresses, because the pagemap never accesses their memory.
 */
// link: fake_os
#include "core/pagemap.h"

#include <sys/mman.h>
#include <sys/prctl.h>

#include "fresh.h"

#define TIB ((uintptr_t)1 << 40)
#define GIB ((uintptr_t)1 << 30)
#define AT_16_TIB (16 * TIB)

static struct hk_span *make_span(size_t class, uintptr_t base, uint32_t granules) {
    struct hk_span *span = hk_span_create(class, HK_SPAN_PLAIN);
    REQUIRE(span != NULL);
    span->base = base;
    span->granules = granules;
    span->bytes = granules * HK_GRANULE_BYTES;
    return span;
}

/* The classes found by a sized free of a layout, and of a block of malloc. */
static size_t class_8(uintptr_t address) {
    return hk_class_of_row(hk_class_map_find_8(hk_class_map_get(), (void *)address));
}

static size_t class_16(uintptr_t address) {
    return hk_class_of_row(hk_class_map_find_16(hk_class_map_get(), (void *)address));
}

static void check_found(uintptr_t from, size_t bytes, const struct hk_span *span, size_t class) {
    const uintptr_t places[] = {from, from + 16, from + bytes / 2, from + bytes - 16};
    for (size_t i = 0; i < TEST_COUNT(places); i++) {
        AT("address", places[i]);
        CHECK(hk_pagemap_find((void *)places[i]) == span);
        CHECK(hk_pagemap_find((void *)(places[i] + 15)) == span);
        CHECK_EQ(hk_class_map_class((void *)places[i]), class);
        CHECK_EQ(hk_class_map_class((void *)(places[i] + 15)), class);
        CHECK_EQ(class_8(places[i]), class);
        CHECK_EQ(class_8(places[i] + 8), class);
        CHECK_EQ(class_8(places[i] + 4), HK_CLASS_NONE);
        CHECK_EQ(class_16(places[i]), class);
        CHECK_EQ(class_16(places[i] + 8), HK_CLASS_NONE);
    }
}

/* Creates the class map with a first slab at 4 GiB above 16 TiB. */
static void make_map(void) {
    CHECK(hk_pagemap_enter(make_span(HK_CLASS_16, AT_16_TIB + 4 * GIB, 1)));
}

static struct hk_span *enter_at(uintptr_t base) {
    struct hk_span *slab = make_span(HK_CLASS_64, base, 1);
    CHECK(hk_pagemap_enter(slab));
    return slab;
}

TEST_FRESH(an_empty_registry_knows_nothing) {
    static const uintptr_t places[] = {
        0, 16, 65536, AT_16_TIB, (uintptr_t)1 << 47, TIB, TIB - 16, 1ull << 48, UINTPTR_MAX - 15};
    for (size_t i = 0; i < TEST_COUNT(places); i++)
        check_found(places[i], 16, NULL, HK_CLASS_NONE);
    CHECK_EQ(fake_os.map_calls, 0);
    make_map();
    for (size_t i = 0; i < TEST_COUNT(places); i++)
        check_found(places[i], 16, NULL, HK_CLASS_NONE);
}

TEST_FRESH(all_granules_of_a_slab_are_found_and_none_beside_it) {
    make_map();
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB + HK_GRANULE_BYTES, 5);
    CHECK(hk_pagemap_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
    check_found(AT_16_TIB, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    check_found(slab->base + slab->bytes, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    hk_pagemap_remove(slab);
    check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
}

TEST_FRESH(a_large_block_is_found_at_its_first_granule_and_has_no_class) {
    make_map();
    struct hk_span *large = make_span(HK_CLASS_NONE, AT_16_TIB, 9);
    CHECK(hk_pagemap_enter(large));
    check_found(large->base, HK_GRANULE_BYTES, large, HK_CLASS_NONE);
    check_found(large->base + HK_GRANULE_BYTES, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    hk_pagemap_remove(large);
    check_found(large->base, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
}

TEST_FRESH(a_pointer_that_is_not_aligned_to_8_bytes_has_no_class_for_sized_frees) {
    make_map();
    struct hk_span *slab = enter_at(AT_16_TIB);
    for (uintptr_t i = 1; i < 16; i++) {
        AT("offset", i);
        CHECK_EQ(class_8(slab->base + i), i == 8 ? HK_CLASS_64 : HK_CLASS_NONE);
    }
}

TEST_FRESH(the_alignment_of_each_class_is_that_of_all_its_blocks_and_of_no_more) {
    make_map();
    const struct hk_class_map *map = hk_class_map_get();
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        AT("class", class);
        uintptr_t all = 0;
        for (uint32_t i = 0; i < hk_classes[class].blocks; i++) {
            uintptr_t block = AT_16_TIB + i * (uintptr_t)hk_classes[class].block_bytes;
            CHECK(!hk_class_map_is_inside(map, hk_row_of(class), (void *)block));
            all |= block;
        }
        CHECK(hk_class_map_is_inside(map, hk_row_of(class), (void *)(AT_16_TIB + 1)));
        if (hk_classes[class].blocks > 1 && hk_classes[class].block_bytes < HK_GRANULE_BYTES)
            CHECK_EQ(map->rows[class].inside, (all & -all) - 1);
    }
}

TEST_FRESH(far_above_the_first_slab_spans_are_found_though_their_class_is_not) {
    make_map();
    static const uintptr_t far[] = {AT_16_TIB + 9 * GIB, AT_16_TIB + 2 * TIB,
                                    ((uintptr_t)1 << 48) - HK_GRANULE_BYTES};
    for (size_t i = 0; i < TEST_COUNT(far); i++) {
        struct hk_span *slab = enter_at(far[i]);
        check_found(far[i], HK_GRANULE_BYTES, slab, HK_CLASS_NONE);
        hk_pagemap_remove(slab);
        check_found(far[i], HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    }
}

TEST_FRESH(beyond_the_addresses_of_the_pagemap_nothing_can_be_entered) {
    static const uintptr_t far[] = {(uintptr_t)1 << 48, (uintptr_t)1 << 52, -HK_GRANULE_BYTES};
    for (size_t i = 0; i < TEST_COUNT(far); i++) {
        CHECK(!hk_pagemap_reserve(far[i]));
        CHECK(!hk_pagemap_enter(make_span(HK_CLASS_64, far[i], 1)));
        check_found(far[i], HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    }
}

TEST_FRESH(the_class_map_follows_a_heap_however_far_below_it_goes) {
    static const uintptr_t below[] = {GIB,     11 * GIB, 13 * GIB, 120 * GIB,
                                      TIB / 2, 2 * TIB,  15 * TIB, AT_16_TIB - HK_GRANULE_BYTES};
    struct hk_span *slabs[TEST_COUNT(below)];
    make_map();
    struct hk_span *above = enter_at(AT_16_TIB + 2 * GIB);
    for (size_t i = 0; i < TEST_COUNT(below); i++) {
        slabs[i] = enter_at(AT_16_TIB - below[i]);
        for (size_t k = 0; k <= i; k++)
            check_found(slabs[k]->base, HK_GRANULE_BYTES, slabs[k], HK_CLASS_64);
        check_found(above->base, HK_GRANULE_BYTES, above, HK_CLASS_64);
    }
    for (size_t i = 0; i < TEST_COUNT(below); i++) {
        hk_pagemap_remove(slabs[i]);
        check_found(slabs[i]->base, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    }
}

TEST_FRESH(a_reader_of_an_older_generation_sees_later_changes) {
    make_map();
    const struct hk_class_map *old = hk_class_map_get();
    struct hk_span *slab = enter_at(AT_16_TIB);
    enter_at(AT_16_TIB - 2 * TIB);
    CHECK(hk_class_map_get() != old);
    CHECK_EQ(hk_class_of_row(hk_class_map_find(old, (void *)slab->base)), HK_CLASS_64);
    hk_pagemap_remove(slab);
    CHECK_EQ(hk_class_of_row(hk_class_map_find(old, (void *)slab->base)), HK_CLASS_NONE);
    struct hk_span *later = enter_at(AT_16_TIB + GIB);
    CHECK_EQ(hk_class_of_row(hk_class_map_find(old, (void *)later->base)), HK_CLASS_64);
}

TEST_FRESH(without_memory_for_a_larger_class_map_spans_are_found_and_the_next_slab_tries_again) {
    make_map();
    uintptr_t base = AT_16_TIB - 2 * TIB;
    CHECK(hk_pagemap_reserve(base));
    fake_os_fail_maps(1, 1);
    struct hk_span *slab = enter_at(base);
    check_found(base, HK_GRANULE_BYTES, slab, HK_CLASS_NONE);
    struct hk_span *next = enter_at(base + HK_GRANULE_BYTES);
    check_found(next->base, HK_GRANULE_BYTES, next, HK_CLASS_64);
}

static unsigned resident_pages(const void *start, size_t bytes) {
    static unsigned char resident[65536];
    unsigned pages = 0;
    CHECK(bytes / 4096 <= sizeof resident);
    CHECK_EQ(mincore((void *)(uintptr_t)start, bytes, resident), 0);
    for (size_t i = 0; i < bytes / 4096; i++)
        pages += resident[i] & 1;
    return pages;
}

TEST_FRESH(pages_of_a_class_map_that_hold_no_class_stay_untouched) {
    CHECK_EQ(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0), 0); /* the fake OS cannot refuse huge pages */
    make_map();
    enter_at(AT_16_TIB - 2 * TIB);
    CHECK_LE(resident_pages(hk_class_map_get(), (size_t)128 << 20), 3);
}

TEST_FRESH(a_class_map_near_zero_ends_at_zero) {
    struct hk_span *high = enter_at(GIB);
    struct hk_span *low = enter_at(HK_GRANULE_BYTES);
    check_found(low->base, HK_GRANULE_BYTES, low, HK_CLASS_64);
    check_found(high->base, HK_GRANULE_BYTES, high, HK_CLASS_64);
    CHECK_EQ(hk_class_map_class(NULL), HK_CLASS_NONE);
}

TEST_FRESH(a_slab_may_lie_across_two_leaves) {
    make_map();
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB - 2 * HK_GRANULE_BYTES, 5);
    CHECK(hk_pagemap_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
    hk_pagemap_remove(slab);
    check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
}

TEST_FRESH(without_memory_for_a_leaf_nothing_is_entered) {
    make_map();
    enter_at(AT_16_TIB - 5 * GIB); /* now the map covers the slab */
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB - 2 * HK_GRANULE_BYTES, 5);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fake_os_fail_maps(1, 1);
        AT("failed leaf", nth);
        CHECK(!hk_pagemap_enter(slab)); /* the second time, the first leaf already exists */
        check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
        CHECK(hk_pagemap_reserve(nth == 1 ? slab->base : slab->base + 4 * HK_GRANULE_BYTES));
    }
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_pagemap_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
}

TEST_FRESH(a_leaf_is_mapped_once_and_kept) {
    make_map();
    struct hk_span *slab = make_span(HK_CLASS_64, AT_16_TIB, 1);
    uint64_t before = fake_os.map_calls;
    for (int i = 0; i < 10; i++) {
        CHECK(hk_pagemap_enter(slab));
        hk_pagemap_remove(slab);
    }
    CHECK_EQ(fake_os.map_calls, before + 1);
}

static void *enter_and_remove(void *arg) {
    for (uintptr_t leaf = 0; leaf < 64; leaf++) {
        struct hk_span *slab = make_span(HK_CLASS_64, AT_16_TIB + leaf * 4 * GIB, 1);
        slab->base += (uintptr_t)arg * HK_GRANULE_BYTES;
        CHECK(hk_pagemap_enter(slab));
        CHECK(hk_pagemap_find((void *)slab->base) == slab);
    }
    return NULL;
}

TEST_FRESH(threads_that_need_the_same_leaf_share_one) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    make_map();
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(enter_and_remove, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uintptr_t leaf = 0; leaf < 64; leaf++)
        for (uintptr_t i = 0; i < THREADS; i++)
            CHECK(hk_pagemap_find((void *)(AT_16_TIB + leaf * 4 * GIB + i * HK_GRANULE_BYTES)));
}
