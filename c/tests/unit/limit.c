/* unit/limit.c - the callback for usage that comes close to a limit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A block of 8 MiB has its own mapping, so usage grows by exactly that.
 */
// link: fake_os
#include "purge/limit.h"

#include "core/options.h"
#include "debug/validate.h"
#include "fresh.h"
#include "os/lock.h"
#include "thread/thread.h"

#define MIB ((size_t)1 << 20)
#define BLOCK (8 * MIB)

enum { CALLS = 32, BLOCKS = 32 };

/* The calls of the callback. */
static struct hak_limit calls[CALLS];
static unsigned called;
static bool running;
static void (*inside)(void); /* what the callback does */

static void note(void *arg, const struct hak_limit *limit) {
    CHECK(arg == &called);
    CHECK(!running);
    CHECK(called < CALLS);
    running = true;
    hk_lock_note_none_held();
    calls[called++] = *limit;
    errno = EDOM;
    if (inside != NULL)
        inside();
    running = false;
}

static void set(const char *name, size_t mib) {
    char value[32];
    snprintf(value, sizeof value, "%zu", mib * MIB);
    CHECK_EQ(hak_option_set(name, value), 0);
}

static void *blocks[BLOCKS];
static size_t held;

static void hold(size_t count) {
    for (; count > 0; count--) {
        void *block = hak_malloc(BLOCK);
        CHECK(block != NULL);
        blocks[held++] = block;
    }
}

static void release(size_t count) {
    for (; count > 0; count--)
        hak_free(blocks[--held]);
}

/* Limits usage to 25 blocks of 4 % each. Large blocks are not cached by the thread, so their frees
 * take effect at once. */
static void begin(void) {
    hk_thread_get();
    CHECK_EQ(hak_option_set("thread_cache_kb", "0"), 0);
    set("limit_soft", 200);
    hak_on_limit(note, &called);
}

static uint64_t reads(void) { return hk_load_relaxed(&fake_os.memory_reads); }

static void pass_ms(uint64_t ms) { __atomic_add_fetch(&fake_os.now_ms, ms, __ATOMIC_SEQ_CST); }

TEST_FRESH(each_level_is_one_call) {
    begin();
    hold(19);
    CHECK_EQ(called, 0);
    hold(2);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 80);
    CHECK_EQ(calls[0].limit, 200 * MIB);
    CHECK_EQ(calls[0].kind, HAK_LIMIT_OPTION);
    CHECK_GE(calls[0].percent, 80);
    CHECK_LE(calls[0].percent, 84);
    CHECK_GE(calls[0].used, 160 * MIB);
    CHECK_LE(calls[0].used, 169 * MIB);
    hold(2);
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 90);
    hold(3);
    CHECK_EQ(called, 3);
    CHECK_EQ(calls[2].level, 100);
    hold(3);
    CHECK_EQ(called, 3);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_rise_over_several_levels_is_one_call) {
    begin();
    void *block = hak_malloc(190 * MIB);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 90);
    CHECK_EQ(calls[0].percent, 95);
    hak_free(block);
}

TEST_FRESH(a_level_counts_again_after_usage_has_fallen_by_5_percent) {
    begin();
    hold(20);
    CHECK_EQ(called, 1);
    release(1); /* to 76 or 77 % */
    hold(1);
    CHECK_EQ(called, 1);
    release(2); /* to 72 or 73 % */
    hold(2);
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 80);
}

TEST_FRESH(free_memory_does_not_count) {
    begin();
    CHECK_EQ(hak_option_set("purge_thread_mb", "0"), 0); /* no balance */
    CHECK_EQ(hak_option_set("large_cache_mb", "256"), 0);
    hold(18);
    release(18);
    CHECK_GE(hk_usage_bytes(), 64 * MIB); /* kept as cached extents */
    void *block = hak_malloc(120 * MIB);
    CHECK_EQ(called, 0);
    struct hak_limit now;
    hak_limit(&now, sizeof now);
    CHECK_LE(now.percent, 61);
    hak_free(block);
}

static void *small[100000];

TEST_FRESH(allocations_of_all_kinds_notice_the_level) {
    begin();
    hold(18);
    size_t count = 0;
    while (called == 0 && count < TEST_COUNT(small))
        small[count++] = hak_malloc(1000);
    CHECK_EQ(called, 1);
    while (count > 0)
        hak_free(small[--count]);
    release(18);

    hold(18);
    while (called == 1 && count < 1000)
        small[count++] = hak_calloc(1, 100000);
    CHECK_EQ(called, 2);
    while (count > 0)
        hak_free(small[--count]);
    release(18);

    hold(10);
    void *growing = hak_malloc(BLOCK);
    for (size_t size = BLOCK; size < 100 * MIB && called == 2; size += BLOCK)
        growing = hak_realloc(growing, size);
    CHECK_EQ(called, 3);
    hak_free(growing);
}

/* ---- Private heaps --------------------------------------------------------------------------- */

TEST_FRESH(allocations_of_private_heaps_notice_the_level) {
    begin();
    for (int is_default = 0; is_default < 2; is_default++) {
        AT("default", is_default);
        unsigned before = called;
        struct hak_heap *heap = hak_heap_new(NULL, 0);
        hold(18);
        hak_heap_set_default(is_default ? heap : NULL);
        for (size_t i = 0; called == before && i < 100000; i++)
            REQUIRE((is_default ? hak_malloc(1000) : hak_heap_malloc(heap, 1000)) != NULL);
        CHECK_EQ(called, before + 1);
        hak_heap_destroy(heap);
        release(18);

        before = called;
        heap = hak_heap_new(NULL, 0);
        hold(10);
        hak_heap_set_default(is_default ? heap : NULL);
        void *growing = hak_heap_malloc(heap, BLOCK);
        for (size_t size = BLOCK; size < 100 * MIB && called == before; size += BLOCK)
            growing = hak_realloc(growing, size);
        CHECK_EQ(called, before + 1);
        hak_heap_destroy(heap);
        release(10);
    }
    CHECK_EQ(hk_validate(), 0);
}

static unsigned asked;
static void *to_free[2]; /* by the callbacks of the heap and of the process */

static int ask(void *arg, struct hak_heap *heap, size_t bytes) {
    (void)arg, (void)heap, (void)bytes;
    asked++;
    hak_free(to_free[0]);
    to_free[0] = NULL;
    return 1;
}

static void free_spare(void) {
    hak_free(to_free[1]);
    to_free[1] = NULL;
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == NULL);
    hak_free(block);
}

TEST_FRESH(the_limits_of_a_heap_and_of_the_process_each_call_their_own_callback) {
    struct hak_heap_options options = {.limit = 64 * MIB, .on_limit = ask};
    begin();
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    to_free[0] = hak_heap_malloc(heap, 60 * MIB);
    void *block = hak_heap_malloc(heap, 60 * MIB);
    CHECK(block != NULL);
    CHECK_EQ(asked, 1);
    CHECK_EQ(called, 0);
    hak_free(block);

    set("limit_soft", 0);
    set("limit_hard", 200);
    to_free[1] = hak_malloc(155 * MIB);
    CHECK_EQ(called, 0);
    inside = free_spare;
    block = hak_heap_malloc(heap, 60 * MIB);
    CHECK(block != NULL);
    CHECK_EQ(asked, 1);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 100);
    hak_heap_destroy(heap);
    CHECK_EQ(hk_validate(), 0);
}

/* The heap's callback makes room in the heap, and the other one in the process. */
TEST_FRESH(an_allocation_that_both_limits_refuse_asks_both) {
    struct hak_heap_options options = {.limit = 64 * MIB, .on_limit = ask};
    begin();
    set("limit_soft", 0);
    set("limit_hard", 200);
    struct hak_heap *heap = hak_heap_new(&options, sizeof options);
    to_free[0] = hak_heap_malloc(heap, 8 * MIB);
    to_free[1] = hak_malloc(150 * MIB);
    inside = free_spare;
    hak_heap_set_default(heap);
    void *block = hak_malloc(60 * MIB);
    CHECK(hak_heap_of(block) == heap);
    CHECK_EQ(asked, 1);
    CHECK_EQ(called, 1);
    hak_heap_destroy(heap);
}

static void *kept; /* by the callback */
static struct hak_heap *inner;

static void keep_one(void) {
    kept = hak_malloc(100);
    CHECK(hak_heap_of(kept) == NULL);
    hak_heap_set_default(inner);
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == inner);
    hak_free(block);
    CHECK(hak_heap_set_default(NULL) == inner);
}

TEST_FRESH(the_callback_does_not_allocate_from_the_default_heap) {
    begin();
    struct hak_heap *heap = hak_heap_new(NULL, 0);
    inner = hak_heap_new(NULL, 0);
    inside = keep_one;
    hak_heap_set_default(heap);
    hold(20);
    CHECK_EQ(called, 1);
    void *block = hak_malloc(100);
    CHECK(hak_heap_of(block) == heap);
    hak_heap_destroy(heap);
    hak_free(kept);
    hak_heap_destroy(inner);
    CHECK_EQ(hk_validate(), 0);
}

/* ---- The callback, and errno ----------------------------------------------------------------- */

TEST_FRESH(errno_is_kept) {
    begin();
    errno = ERANGE;
    hold(20);
    CHECK_EQ(called, 1);
    CHECK_EQ(errno, ERANGE);
}

/* ---- The callback ---------------------------------------------------------------------------- */

static void allocate_more(void) {
    void *before = hak_malloc(100);
    hold(2);
    hak_trim();
    hak_free(before);
}

TEST_FRESH(the_callback_may_allocate_and_is_not_called_inside_itself) {
    begin();
    inside = allocate_more;
    hold(20);
    CHECK_EQ(called, 1);
    inside = NULL;
    hold(1); /* 92 %, of which the callback allocated a part */
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 90);
    CHECK_EQ(hk_validate(), 0);
}

static void *other(void *arg) {
    void *block = hak_malloc(BLOCK);
    CHECK(block != NULL);
    return arg;
}

static void allocate_in_other_thread(void) {
    for (int i = 0; i < 4; i++)
        pthread_join(test_thread(other, NULL), NULL);
}

TEST_FRESH(another_thread_does_not_call_it_at_the_same_time) {
    begin();
    inside = allocate_in_other_thread;
    hold(20);
    CHECK_EQ(called, 1);
}

static void stop_calls(void) { hak_on_limit(NULL, NULL); }

TEST_FRESH(the_callback_may_remove_itself) {
    begin();
    inside = stop_calls;
    hold(28);
    CHECK_EQ(called, 1);
    CHECK_EQ(hk_limit_next, UINT64_MAX);
}

TEST_FRESH(a_level_that_was_reached_before_is_told_to_a_new_callback) {
    begin();
    hold(23);
    CHECK_EQ(called, 2);
    hak_on_limit(note, &called);
    CHECK_EQ(called, 2);
    hold(1);
    CHECK_EQ(called, 3);
    CHECK_EQ(calls[2].level, 90);
}

static void fork_and_continue(void *unused) {
    (void)unused;
    unsigned before = called;
    running = false; /* a nested call fails the check in note */
    inside = NULL;
    hold(3);
    CHECK_EQ(called, before);
}

static void fork_inside(void) {
    struct test_child child = test_in_child(fork_and_continue, NULL);
    CHECK_EXITED(child);
}

static void child_of_another_thread(void *unused) {
    (void)unused;
    running = false;
    inside = NULL;
    hold(3);
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 90);
}

static void *fork_in_other_thread(void *arg) {
    struct test_child child = test_in_child(child_of_another_thread, NULL);
    CHECK_EXITED(child);
    return arg;
}

static void fork_elsewhere(void) { pthread_join(test_thread(fork_in_other_thread, NULL), NULL); }

TEST_FRESH(a_child_that_is_forked_in_the_callback_does_not_call_it_inside_itself) {
    begin();
    inside = fork_inside;
    hold(20);
    CHECK_EQ(called, 1);
}

TEST_FRESH(a_child_that_another_thread_forks_meanwhile_calls_it_itself) {
    begin();
    inside = fork_elsewhere;
    hold(20);
    CHECK_EQ(called, 1);
}

/* ---- The hard limit -------------------------------------------------------------------------- */

static void shed(void) { release(4); }

TEST_FRESH(a_refused_allocation_counts_as_100_percent_and_is_tried_again) {
    begin();
    CHECK_EQ(hak_option_set("limit_soft", "0"), 0);
    set("limit_hard", 200);
    hold(24);
    CHECK_EQ(called, 2);
    CHECK(hak_malloc(16 * MIB) == NULL);
    CHECK_EQ(called, 3);
    CHECK_EQ(calls[2].level, 100);
    CHECK_EQ(calls[2].percent, 100);
    CHECK(hak_malloc(16 * MIB) == NULL);
    CHECK_EQ(called, 3);

    release(4);
    hold(4);
    inside = shed;
    CHECK(hak_malloc(16 * MIB) != NULL);
    CHECK_EQ(calls[called - 1].level, 100);
    CHECK_EQ(held, 20);
}

TEST_FRESH(a_size_above_the_limit_is_a_mistake_and_no_load) {
    begin();
    set("limit_hard", 200);
    CHECK(hak_malloc(201 * MIB) == NULL);
    CHECK(hak_malloc((size_t)1 << 50) == NULL);
    CHECK_EQ(called, 0);
}

TEST_FRESH(the_lower_one_of_the_options_counts) {
    begin();
    set("limit_hard", 100);
    hold(9);
    CHECK_EQ(called, 0);
    hold(1);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].limit, 100 * MIB);
    struct hak_limit now;
    hak_limit(&now, sizeof now);
    CHECK_EQ(now.limit, 100 * MIB);
    CHECK_EQ(now.level, 80);
}

/* ---- Control groups -------------------------------------------------------------------------- */

TEST_FRESH(the_use_of_the_cgroup_counts_if_it_is_closer_to_its_limit) {
    begin();
    fake_os.memory_use = (struct hk_os_memory){850 * MIB, 1000 * MIB};
    hk_limit_tick();
    CHECK_EQ(called, 0); /* the end of an allocation calls it */
    hold(1);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 80);
    CHECK_EQ(calls[0].kind, HAK_LIMIT_CGROUP);
    CHECK_EQ(calls[0].used, 850 * MIB);
    CHECK_EQ(calls[0].limit, 1000 * MIB);
    CHECK_EQ(calls[0].percent, 85);
    hold(19);
    CHECK_EQ(called, 1); /* 80 % of the option is no higher level */

    fake_os.memory_use.used = 740 * MIB;
    release(19);
    pass_ms(1000);
    hk_limit_tick();
    fake_os.memory_use.used = 999 * MIB;
    pass_ms(1000);
    hk_limit_tick();
    hold(1);
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 90);
}

TEST_FRESH(the_use_of_the_cgroup_is_read_ten_times_a_second_and_only_for_a_callback) {
    hk_thread_get();
    hk_limit_tick();
    CHECK_EQ(reads(), 0);
    begin();
    for (unsigned ms = 0; ms < 1000; ms++) {
        hk_limit_tick();
        pass_ms(1);
    }
    CHECK_EQ(reads(), 10);
    stop_calls();
    pass_ms(1000);
    hk_limit_tick();
    CHECK_EQ(reads(), 10);
}

TEST_FRESH(slow_calls_of_a_busy_program_read_it_by_themselves) {
    begin();
    fake_os.memory_use = (struct hk_os_memory){95, 100};
    for (unsigned i = 0; i < 40 && called == 0; i++)
        hak_free(hak_malloc(BLOCK));
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 90);
}

TEST_FRESH(large_reallocations_and_zeroed_blocks_read_it_too) {
    begin();
    void *growing = hak_malloc(BLOCK);
    fake_os.memory_use = (struct hk_os_memory){85, 100};
    pass_ms(100);
    growing = hak_realloc(growing, 2 * BLOCK);
    CHECK_EQ(called, 1);
    CHECK_EQ(calls[0].level, 80);
    hak_free(growing);

    fake_os.memory_use = (struct hk_os_memory){95, 100};
    pass_ms(100);
    hak_free(hak_calloc(1, 100000));
    CHECK_EQ(called, 2);
    CHECK_EQ(calls[1].level, 90);
}

TEST_FRESH(without_any_limit_there_is_no_call) {
    begin();
    CHECK_EQ(hak_option_set("limit_soft", "0"), 0);
    hk_limit_tick();
    hold(30);
    CHECK_EQ(called, 0);
    struct hak_limit now;
    hak_limit(&now, sizeof now);
    CHECK_EQ(now.kind, HAK_LIMIT_NONE);
    CHECK_EQ(now.limit, 0);
    CHECK_EQ(now.percent, 0);
    CHECK_EQ(now.level, 0);
}
