/* unit/guard.c - guarded blocks when the OS refuses system calls.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "guard/guard.h"

#include <hakmem.h>
#include <setjmp.h>

#include "core/options.h"
#include "core/pagemap.h"
#include "core/usage.h"
#include "debug/validate.h"
#include "fresh.h"
#include "guard/print.h"
#include "guard/slots.h"
#include "os/lock.h"

enum { SIZE = 100, SLOTS = 8, ALL = 1 << 30 };

static bool is_guarded(const void *block) {
    return hk_pagemap_find(block)->kind == HK_SPAN_GUARDED;
}

static void guard_all(void) { CHECK_EQ(hk_guard_start(1, SLOTS), 0); }

TEST_FRESH(each_granule_of_a_slot_leads_to_it) {
    guard_all();
    char *block = hak_malloc(SIZE);
    const struct hk_span *span = hk_pagemap_find(block);
    CHECK_EQ(span->kind, HK_SPAN_GUARDED);
    for (size_t i = 0; i < span->granules * HK_GRANULE_BYTES; i += 4096)
        CHECK(hk_pagemap_find((const char *)span->base + i) == span);
    CHECK_EQ(hk_class_map_class(block), HK_CLASS_NONE);
    hak_free(block);
}

TEST_FRESH(slots_work_with_large_pages) {
    fake_os.page_bytes = 65536;
    guard_all();
    for (int i = 0; i < 3 * SLOTS; i++) {
        char *block = hak_malloc(SIZE);
        CHECK(is_guarded(block));
        memset(block, 1, SIZE);
        const struct hk_span *span = hk_pagemap_find(block);
        CHECK_GE((uintptr_t)block, span->base + 65536);
        CHECK_LE((uintptr_t)block + SIZE, span->base + span->granules * HK_GRANULE_BYTES - 65536);
        hak_free(block);
    }
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_start_without_memory_fails_and_leaves_nothing_mapped) {
    hak_free(hak_malloc(SIZE));
    uint64_t mapped = hk_stat_get(&hk_os_counts.bytes_mapped);
    fake_os_fail_maps(1, ALL);
    CHECK_EQ(hk_guard_start(1, SLOTS), ENOMEM);
    fake_os_fail_maps(0, 0);
    CHECK_EQ(hk_watch_number(HK_WATCHER_GUARD), 0);
    CHECK_EQ(hk_stat_get(&hk_os_counts.bytes_mapped), mapped);

    fake_os_fail(FAKE_OS_PROTECT, 1, 1);
    CHECK_EQ(hk_guard_start(1, SLOTS), ENOMEM);
    CHECK_EQ(hk_stat_get(&hk_os_counts.bytes_mapped), mapped);
    guard_all();
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_start_without_metadata_for_all_slots_fails_and_a_later_one_makes_the_rest) {
    enum { MANY = 1000 };
    uint64_t mapped = hk_stat_get(&hk_os_counts.bytes_mapped);
    fake_os_fail_maps(2, ALL); /* the slots are mapped */
    hak_free(hak_malloc(SIZE));
    fake_os_fail_maps(2, ALL);
    CHECK_EQ(hk_guard_start(1, MANY), ENOMEM);
    CHECK_LE(hk_stat_get(&hk_os_counts.bytes_mapped) - mapped, MANY / 2 * 65536);

    fake_os_fail_maps(0, 0);
    CHECK_EQ(hk_guard_start(1, MANY), 0);
    void *blocks[MANY];
    for (size_t i = 0; i < MANY; i++) {
        blocks[i] = hak_malloc(SIZE);
        CHECK(is_guarded(blocks[i]));
    }
    for (size_t i = 0; i < MANY; i++)
        hak_free(blocks[i]);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_start_by_option_without_memory_says_so_and_the_process_goes_on) {
    char *environment[] = {"HAKMEM_GUARD_RATE=1", NULL};
    hak_free(hak_malloc(SIZE));
    fake_os.environment = environment;
    hk_options_read();
    fake_os_fail_maps(1, ALL);
    hk_guard_start_by_option();
    CHECK_STR(fake_os_take_errors(), "hakmem: no memory for guard pages\n");
    CHECK_EQ(hk_watch_number(HK_WATCHER_GUARD), 0);

    fake_os_fail_maps(0, 0);
    hk_guard_start_by_option();
    CHECK_STR(fake_os_take_errors(), "");
    CHECK(is_guarded(hak_malloc(SIZE)));
}

TEST_FRESH(the_only_slot_is_free_again_when_the_os_refuses_its_pages) {
    CHECK_EQ(hk_guard_start(1, 1), 0);
    fake_os_fail(FAKE_OS_PROTECT, 1, 1);
    CHECK(!is_guarded(hak_malloc(SIZE)));
    CHECK_EQ(hk_validate(), 0);
    CHECK(is_guarded(hak_malloc(SIZE)));
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(an_allocation_whose_pages_the_os_refuses_is_served_without_guard) {
    guard_all();
    uint64_t used = hk_usage_bytes();
    fake_os_fail(FAKE_OS_PROTECT, 1, 1);
    void *refused = hak_malloc(SIZE);
    CHECK(refused != NULL && !is_guarded(refused));
    CHECK_EQ(hk_slots_live_bytes(), 0);
    hak_free(refused);
    CHECK_LE(used, hk_usage_bytes());
    void *block = hak_malloc(SIZE);
    CHECK(is_guarded(block));
    hak_free(block);
    CHECK_EQ(hk_validate(), 0);
}

/* The pages stay accessible, so only the second free is detected. */
TEST_FRESH(a_slot_that_the_os_does_not_protect_is_free_nevertheless) {
    guard_all();
    void *block = hak_malloc(SIZE);
    fake_os_fail(FAKE_OS_PROTECT, 1, 1);
    hak_free(block);
    CHECK_EQ(hk_slots_live_bytes(), 0);
    for (int i = 0; i < 3 * SLOTS; i++) {
        block = hak_malloc(SIZE);
        CHECK(is_guarded(block));
        hak_free(block);
    }
    CHECK_EQ(hk_validate(), 0);
}

/* As with locked memory. */
TEST_FRESH(calloc_zeroes_a_slot_that_the_os_does_not_purge) {
    guard_all();
    fake_os.purge_fails = true;
    for (int i = 0; i < 3 * SLOTS; i++) {
        char *block = hak_malloc(5000);
        memset(block, 1, 5000);
        hak_free(block);
        block = hak_calloc(1, 5000);
        CHECK(is_guarded(block));
        CHECK_EQ(test_zeros(block, 5000), 5000);
        memset(block, 1, 5000);
        hak_free(block);
    }
}

TEST_FRESH(a_later_start_may_add_slots_or_use_fewer) {
    void *blocks[3 * SLOTS];
    guard_all();
    hk_guard_stop();
    for (uint32_t slots = 1; slots <= 2 * SLOTS; slots = slots * 2 + 1) {
        AT("slots", slots);
        CHECK_EQ(hk_guard_start(1, slots), 0);
        for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
            blocks[i] = hak_malloc(SIZE);
            CHECK_EQ(is_guarded(blocks[i]), i < slots);
        }
        for (size_t i = 0; i < TEST_COUNT(blocks); i++)
            hak_free(blocks[i]);
        hk_guard_stop();
    }
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_slot_is_not_reused_while_it_is_shown) {
    void *blocks[SLOTS];
    struct hk_slot_view view;
    guard_all();
    void *first = hak_malloc(SIZE);
    struct hk_slot *slot = hk_slot_of(hk_pagemap_find(first));
    hak_free(first);
    CHECK_EQ(hk_slots_show_begin(slot, HK_SLOT_ACCESS, &view), HK_SLOT_SHOWN);
    CHECK_EQ(view.state, HK_SLOT_FREED);
    CHECK_EQ(view.block, first);
    for (size_t i = 0; i < SLOTS; i++) {
        blocks[i] = hak_malloc(SIZE);
        CHECK_EQ(is_guarded(blocks[i]), i < SLOTS - 1);
        CHECK(hk_pagemap_find(blocks[i]) != slot->span);
    }
    hk_slots_show_end();
    void *last = hak_malloc(SIZE);
    CHECK(hk_pagemap_find(last) == slot->span);
    hak_free(last);
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(blocks[i]);
    CHECK_EQ(hk_validate(), 0);
}

/* Two threads may both find the block live before one of them frees it. */
TEST_FRESH(of_two_frees_at_the_same_time_one_is_reported) {
    CHECK_EQ(hak_option_set("on_error", "continue"), 0);
    guard_all();
    void *block = hak_malloc(SIZE);
    struct hk_span *span = hk_pagemap_find(block);
    hk_guard_free("free", span, block, __builtin_frame_address(0));
    CHECK_STR(fake_os_take_errors(), "");
    hk_guard_free("free", span, block, __builtin_frame_address(0));
    CHECK_CONTAINS(fake_os_take_errors(), "already free (double free)\n");
    CHECK_EQ(hk_slots_live_bytes(), 0);
    CHECK_EQ(hk_validate(), 0);
}

static void *advance_clock(void *stopped) {
    while (!__atomic_load_n((bool *)stopped, __ATOMIC_RELAXED))
        __atomic_add_fetch(&fake_os.now_ms, 100, __ATOMIC_SEQ_CST);
    return NULL;
}

TEST_FRESH(a_fault_during_a_report_that_does_not_end_has_a_report_of_one_line) {
    struct hk_slot_view view;
    bool stopped = false;
    char line[100];
    guard_all();
    void *shown = hak_malloc(SIZE), *other = hak_malloc(SIZE);
    struct hk_os_fault fault = {.address = (uintptr_t)other, .kind = HK_OS_FAULT_READ};
    struct hk_slot *slot = hk_slot_of(hk_pagemap_find(shown));
    hak_free(other);
    CHECK_EQ(hk_slots_show_begin(slot, HK_SLOT_ACCESS, &view), HK_SLOT_SHOWN);

    pthread_t clock = test_thread(advance_clock, &stopped);
    hk_print_fault(&fault);
    __atomic_store_n(&stopped, true, __ATOMIC_RELAXED);
    pthread_join(clock, NULL);
    snprintf(line, sizeof line, "hakmem: bad access to a guarded block at %p\n", other);
    CHECK_STR(fake_os_take_errors(), line);

    hk_slots_show_end();
    hk_print_fault(&fault);
    CHECK_CONTAINS(fake_os_take_errors(), "hakmem: use after free: read of ");
    hk_print_fault(&fault); /* reported already */
    CHECK_STR(fake_os_take_errors(), "");
}

static void show_again(void *slot) {
    struct hk_slot_view view;
    CHECK_EQ(hk_slots_show_begin(slot, HK_SLOT_ACCESS, &view), HK_SLOT_SHOWN);
    hk_slots_show_end();
}

TEST_FRESH(a_slot_that_is_shown_at_a_fork_is_not_shown_in_the_child) {
    struct hk_slot_view view;
    hk_os_generation(); /* forks count from here */
    guard_all();
    void *first = hak_malloc(SIZE);
    void *second = hak_malloc(SIZE);
    struct hk_slot *slot = hk_slot_of(hk_pagemap_find(first));
    CHECK_EQ(hk_slots_show_begin(slot, HK_SLOT_ACCESS, &view), HK_SLOT_SHOWN);
    CHECK_EXITED(test_in_child(show_again, hk_slot_of(hk_pagemap_find(second))));
    hk_slots_show_end();
    hak_free(first);
    hak_free(second);
}

TEST_FRESH(a_repair_rebuilds_the_queue_from_the_slots) {
    guard_all();
    void *live = hak_malloc(SIZE);
    hak_free(hak_malloc(SIZE));
    struct hk_slot *taken = hk_slots_take(SIZE); /* by a thread that vanishes */
    CHECK(taken != NULL);
    hk_slots_repair(NULL);
    CHECK_EQ(hk_validate(), 0);
    CHECK_EQ(hk_slots_live_bytes(), SIZE);

    void *blocks[SLOTS];
    for (size_t i = 0; i < SLOTS; i++) {
        blocks[i] = hak_malloc(SIZE);
        CHECK_EQ(is_guarded(blocks[i]), i < SLOTS - 1);
    }
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(blocks[i]);
    hak_free(live);
    CHECK_EQ(hk_validate(), 0);
}

static jmp_buf vanished;

static void vanish(void) {
    fake_os.delay = NULL;
    longjmp(vanished, 1);
}

/* A slot that a vanished thread was freeing and had not purged yet. */
TEST_FRESH(calloc_zeroes_a_slot_after_a_repair) {
    guard_all();
    char *block = hak_malloc(5000);
    struct hk_span *span = hk_pagemap_find(block);
    memset(block, 1, 5000);
    if (setjmp(vanished) == 0) {
        fake_os.delay = vanish;
        hak_free(block);
    }
    hk_slots_repair(NULL);

    bool reused = false;
    for (int i = 0; i < SLOTS; i++) {
        block = hak_calloc(1, 5000);
        reused |= hk_pagemap_find(block) == span;
        CHECK_EQ(test_zeros(block, 5000), 5000);
    }
    CHECK(reused);
    CHECK_EQ(hk_validate(), 0);
}

/* A thread that the watch reaches for the first time draws its first distance. */
TEST_FRESH(the_distances_are_spread_evenly_around_the_rate) {
    enum { RATE = 20, DRAWS = 4000 };
    size_t seen[2 * RATE] = {0};
    size_t distance = 0, draws = 0;
    CHECK_EQ(hk_guard_start(RATE, SLOTS), 0);
    while (draws < DRAWS) {
        void *block = hak_malloc(SIZE);
        distance++;
        if (is_guarded(block)) {
            REQUIRE(distance < 2 * RATE);
            seen[distance]++;
            draws++;
            distance = 0;
        }
        hak_free(block);
    }
    for (size_t i = 1; i < 2 * RATE; i++) {
        AT("distance", i);
        CHECK_GE(seen[i], DRAWS / (2 * RATE - 1) / 2);
        CHECK_LE(seen[i], DRAWS / (2 * RATE - 1) * 2);
    }
}
