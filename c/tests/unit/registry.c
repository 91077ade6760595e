/* unit/registry.c - what is at an address, inside and outside of the window.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Spans are entered at addresses that nothing is mapped at: the registry looks at numbers only.
 */
// link: fake_os
#include "core/registry.h"

#include "fresh.h"

#define TIB ((uintptr_t)1 << 40)
#define GIB ((uintptr_t)1 << 30)
#define AT_16_TIB (16 * TIB)

static struct hk_span *make_span(size_t class, uintptr_t base, uint32_t granules) {
    struct hk_span *span = hk_span_create(class);
    REQUIRE(span != NULL);
    span->base = base;
    span->granules = granules;
    span->bytes = granules * HK_GRANULE_BYTES;
    return span;
}

static void check_found(uintptr_t from, size_t bytes, const struct hk_span *span, size_t class) {
    const uintptr_t places[] = {from, from + 1, from + bytes / 2, from + bytes - 1};
    for (size_t i = 0; i < TEST_COUNT(places); i++) {
        AT("address", places[i]);
        CHECK(hk_registry_find((void *)places[i]) == span);
        CHECK_EQ(hk_registry_class((void *)places[i]), class);
    }
}

TEST_FRESH(an_empty_registry_knows_nothing) {
    static const uintptr_t places[] = {0,   1,       65536,      AT_16_TIB,  (uintptr_t)1 << 47,
                                       TIB, TIB - 1, 1ull << 48, UINTPTR_MAX};
    for (size_t i = 0; i < TEST_COUNT(places); i++)
        check_found(places[i], 1, NULL, HK_CLASS_NONE);
    hk_registry_place_window(AT_16_TIB);
    for (size_t i = 0; i < TEST_COUNT(places); i++)
        check_found(places[i], 1, NULL, HK_CLASS_NONE);
    CHECK_EQ(fake_os.map_calls, 0);
}

TEST_FRESH(all_granules_of_a_slab_are_found_and_none_beside_it) {
    hk_registry_place_window(AT_16_TIB);
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB + HK_GRANULE_BYTES, 5);
    CHECK(hk_registry_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
    check_found(AT_16_TIB, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    check_found(slab->base + slab->bytes, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    hk_registry_remove(slab);
    check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
}

TEST_FRESH(a_large_block_is_found_at_its_first_granule_and_has_no_class) {
    hk_registry_place_window(AT_16_TIB);
    struct hk_span *large = make_span(HK_CLASS_NONE, AT_16_TIB, 9);
    CHECK(hk_registry_enter(large));
    check_found(large->base, HK_GRANULE_BYTES, large, HK_CLASS_NONE);
    check_found(large->base + HK_GRANULE_BYTES, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    hk_registry_remove(large);
    check_found(large->base, HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
}

TEST_FRESH(outside_of_the_window_spans_are_found_though_their_class_is_not) {
    hk_registry_place_window(AT_16_TIB);
    static const uintptr_t far[] = {HK_GRANULE_BYTES, AT_16_TIB + 2 * TIB, AT_16_TIB - 2 * TIB,
                                    ((uintptr_t)1 << 48) - HK_GRANULE_BYTES};
    for (size_t i = 0; i < TEST_COUNT(far); i++) {
        struct hk_span *slab = make_span(HK_CLASS_64, far[i], 1);
        CHECK(hk_registry_enter(slab));
        check_found(far[i], HK_GRANULE_BYTES, slab, HK_CLASS_NONE);
        hk_registry_remove(slab);
        check_found(far[i], HK_GRANULE_BYTES, NULL, HK_CLASS_NONE);
    }
}

TEST_FRESH(the_window_is_one_tib_of_which_three_quarters_lie_below_the_first_chunk) {
    hk_registry_place_window(AT_16_TIB);
    hk_registry_place_window(TIB); /* too late */
    static const struct {
        uintptr_t base;
        bool inside;
    } places[] = {
        {AT_16_TIB - TIB / 4 * 3, true},
        {AT_16_TIB - TIB / 4 * 3 - HK_GRANULE_BYTES, false},
        {AT_16_TIB, true},
        {AT_16_TIB + TIB / 4 - HK_GRANULE_BYTES, true},
        {AT_16_TIB + TIB / 4, false},
    };
    for (size_t i = 0; i < TEST_COUNT(places); i++) {
        struct hk_span *slab = make_span(HK_CLASS_64, places[i].base, 1);
        CHECK(hk_registry_enter(slab));
        check_found(slab->base, HK_GRANULE_BYTES, slab,
                    places[i].inside ? HK_CLASS_64 : HK_CLASS_NONE);
    }
}

TEST_FRESH(a_window_near_zero_begins_at_zero) {
    hk_registry_place_window(GIB);
    struct hk_span *low = make_span(HK_CLASS_64, HK_GRANULE_BYTES, 1);
    struct hk_span *high = make_span(HK_CLASS_64, GIB + TIB / 2, 1);
    CHECK(hk_registry_enter(low) && hk_registry_enter(high));
    check_found(low->base, HK_GRANULE_BYTES, low, HK_CLASS_64);
    check_found(high->base, HK_GRANULE_BYTES, high, HK_CLASS_64);
    CHECK_EQ(hk_registry_class(NULL), HK_CLASS_NONE);
}

TEST_FRESH(a_slab_may_lie_across_two_leaves) {
    hk_registry_place_window(AT_16_TIB);
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB + 4 * GIB - 2 * HK_GRANULE_BYTES, 5);
    CHECK(hk_registry_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
    hk_registry_remove(slab);
    check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
}

TEST_FRESH(without_memory_for_a_leaf_nothing_is_entered) {
    hk_registry_place_window(AT_16_TIB);
    struct hk_span *slab = make_span(HK_CLASS_20480, AT_16_TIB + 4 * GIB - 2 * HK_GRANULE_BYTES, 5);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        fake_os_fail_maps(1, 1);
        AT("failed leaf", nth);
        CHECK(!hk_registry_enter(slab)); /* the second time the first leaf is there already */
        check_found(slab->base, slab->bytes, NULL, HK_CLASS_NONE);
        CHECK(hk_registry_reserve(nth == 1 ? slab->base : slab->base + 4 * HK_GRANULE_BYTES));
    }
    fake_os_fail_maps(1, FAKE_OS_ALL);
    CHECK(hk_registry_enter(slab));
    check_found(slab->base, slab->bytes, slab, HK_CLASS_20480);
}

TEST_FRESH(a_leaf_is_mapped_once_and_kept) {
    hk_registry_place_window(AT_16_TIB);
    struct hk_span *slab = make_span(HK_CLASS_64, AT_16_TIB, 1);
    uint64_t before = fake_os.map_calls;
    for (int i = 0; i < 10; i++) {
        CHECK(hk_registry_enter(slab));
        hk_registry_remove(slab);
    }
    CHECK_EQ(fake_os.map_calls, before + 1);
}

static void *enter_and_remove(void *arg) {
    for (uintptr_t leaf = 0; leaf < 64; leaf++) {
        struct hk_span *slab = make_span(HK_CLASS_64, AT_16_TIB + leaf * 4 * GIB, 1);
        slab->base += (uintptr_t)arg * HK_GRANULE_BYTES;
        CHECK(hk_registry_enter(slab));
        CHECK(hk_registry_find((void *)slab->base) == slab);
    }
    return NULL;
}

TEST_FRESH(threads_that_need_the_same_leaf_share_one) {
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    hk_registry_place_window(AT_16_TIB);
    for (uintptr_t i = 0; i < THREADS; i++)
        threads[i] = test_thread(enter_and_remove, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (uintptr_t leaf = 0; leaf < 64; leaf++)
        for (uintptr_t i = 0; i < THREADS; i++)
            CHECK(hk_registry_find((void *)(AT_16_TIB + leaf * 4 * GIB + i * HK_GRANULE_BYTES)));
}
