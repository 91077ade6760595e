/* guard/contract.c - guarded blocks behave like any other block.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// env: HAKMEM_PURGE_THREAD_MB=0
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
#include "guard.h"

enum { LARGEST = 16 << 10 };

TEST(start_and_stop_say_whether_the_guard_runs) {
    CHECK_EQ(hak_guard_is_running(), 0);
    CHECK_EQ(hak_guard_start(0, 0), EINVAL);
    CHECK_EQ(hak_guard_start((UINT64_C(1) << 32) + 1, 0), EINVAL);
    CHECK_EQ(hak_guard_start(1, 65537), EINVAL);
    CHECK_EQ(hak_guard_start(1000, 0), 0);
    CHECK_EQ(hak_guard_is_running(), 1);
    CHECK_EQ(hak_guard_start(1000, 0), EALREADY);
    hak_guard_stop();
    hak_guard_stop();
    CHECK_EQ(hak_guard_is_running(), 0);
}

TEST(all_functions_that_allocate_may_return_guarded_blocks) {
    void *blocks[7] = {0};
    guard_all();
    blocks[0] = hak_malloc(SIZE);
    blocks[1] = hak_calloc(5, 20);
    blocks[2] = hak_aligned_alloc(16, SIZE);
    CHECK_EQ(hak_posix_memalign(&blocks[3], 8, SIZE), 0);
    blocks[4] = hak_alloc(SIZE, 1);
    blocks[5] = hak_alloc_zeroed(SIZE, 4);
    blocks[6] = hak_realloc(NULL, SIZE);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        AT("block", i);
        CHECK(is_guarded(blocks[i], SIZE));
        memset(blocks[i], 1, SIZE);
    }
    CHECK_EQ(stats().bytes_guarded, 7 * SIZE);
    CHECK(stats().bytes_live >= 7 * SIZE);
    CHECK_EQ(hak_validate(), 0);

    hak_free(blocks[0]);
    hak_free_sized(blocks[1], SIZE);
    hak_free_aligned_sized(blocks[2], 16, SIZE);
    hak_free(blocks[3]);
    hak_dealloc(blocks[4], SIZE, 1);
    hak_dealloc(blocks[5], SIZE, 4);
    hak_free(blocks[6]);
    CHECK_EQ(stats().bytes_guarded, 0);
    CHECK_EQ(stats().errors, 0);
    hak_guard_stop();
}

TEST(every_alignment_up_to_a_page_is_kept_at_both_ends) {
    guard_all();
    for (size_t align = 1; align <= page(); align *= 2) {
        for (size_t size = 0; size <= 5000; size = size * 2 + 1) {
            size_t at_start = 0, at_end = 0;
            AT("align size", align, size);
            for (int i = 0; i < 64; i++) {
                char *block = hak_alloc(size, align);
                REQUIRE(block != NULL);
                uintptr_t address = (uintptr_t)block;
                CHECK_EQ(address % align, 0);
                CHECK(is_guarded(block, size));
                memset(block, 1, size);

                size_t after = (page() - (address + size + (size == 0)) % page()) % page();
                at_start += address % page() == 0;
                at_end += after < align;
                CHECK(address % page() == 0 || after < align);
                hak_dealloc(block, size, align);
            }
            CHECK(at_start > 0);
            CHECK(at_end > 0);
        }
    }
    hak_guard_stop();
}

TEST(blocks_that_are_too_large_or_too_aligned_are_served_without_guard) {
    guard_all();
    void *largest = hak_malloc(LARGEST);
    CHECK_EQ(stats().bytes_guarded, LARGEST);
    void *larger = hak_malloc(LARGEST + 1);
    void *aligned = hak_aligned_alloc(2 * page(), SIZE);
    void *huge = hak_malloc(8 << 20);
    CHECK_EQ(stats().bytes_guarded, LARGEST);
    CHECK(larger != NULL && aligned != NULL && huge != NULL);
    hak_free(largest);
    hak_free(larger);
    hak_free(aligned);
    hak_free(huge);
    hak_guard_stop();
}

TEST(calloc_zeroes_a_slot_that_was_used_before) {
    guard_all();
    for (size_t i = 0; i < 3 * SLOTS; i++) {
        unsigned char *block = hak_malloc(5000);
        REQUIRE(is_guarded(block, 5000));
        memset(block, 0xA5, 5000);
        hak_free(block);
        block = hak_calloc(1, 5000);
        REQUIRE(is_guarded(block, 5000));
        CHECK_EQ(test_zeros(block, 5000), 5000);
        memset(block, 0xA5, 5000);
        hak_free(block);
    }
    hak_guard_stop();
}

/* Resizes a block up and down, from guarded sizes to larger ones that are not guarded, and back. */
static void resize_steps(int layout) {
    static const size_t sizes[] = {SIZE, 5000, 130, 70000, 1 << 20, 9000, 6 << 20, 3, 40000, 1};
    size_t old = 24;
    char *block = layout ? hak_alloc(old, 8) : hak_malloc(old);
    test_fill(block, old, 1);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("layout step", layout, i);
        int guarded = old <= LARGEST;
        char *moved =
            layout ? hak_realloc_layout(block, old, 8, sizes[i]) : hak_realloc(block, sizes[i]);
        REQUIRE(moved != NULL);
        CHECK(!guarded || moved != block);
        size_t kept = old < sizes[i] ? old : sizes[i];
        CHECK_EQ(test_intact(moved, kept, 1), kept);
        CHECK_EQ(stats().bytes_guarded, sizes[i] <= LARGEST ? sizes[i] : 0);
        block = moved;
        old = sizes[i];
        test_fill(block, old, 1);
    }
    if (layout)
        hak_dealloc(block, old, 8);
    else
        hak_free_sized(block, old);
}

TEST(a_resized_block_moves_and_keeps_its_contents) {
    guard_all();
    resize_steps(0);
    resize_steps(1);
    CHECK_EQ(stats().bytes_guarded, 0);
    CHECK_EQ(stats().errors, 0);
    CHECK_EQ(hak_validate(), 0);
    hak_guard_stop();
}

TEST(when_all_slots_are_in_use_blocks_are_served_without_guard) {
    enum { MANY = SLOTS + 40 };
    static char *blocks[MANY];
    guard_all();
    for (size_t i = 0; i < MANY; i++) {
        AT("block", i);
        blocks[i] = hak_malloc(SIZE);
        REQUIRE(blocks[i] != NULL);
        CHECK_EQ(is_guarded(blocks[i], SIZE), i < SLOTS);
        test_fill(blocks[i], SIZE, i);
    }
    CHECK_EQ(stats().bytes_guarded, SLOTS * SIZE);

    hak_free(blocks[0]);
    blocks[0] = hak_malloc(SIZE);
    CHECK(is_guarded(blocks[0], SIZE));
    test_fill(blocks[0], SIZE, 0);
    for (size_t i = 0; i < MANY; i++) {
        CHECK_EQ(test_intact(blocks[i], SIZE, i), SIZE);
        hak_free(blocks[i]);
    }
    hak_guard_stop();
}

static uintptr_t slot_of(const void *block) { return (uintptr_t)block & ~(uintptr_t)0xFFFF; }

TEST(the_slot_that_was_freed_longest_ago_is_reused_first) {
    uintptr_t order[SLOTS];
    void *blocks[SLOTS];
    guard_all();
    for (size_t i = 0; i < SLOTS; i++)
        blocks[i] = hak_malloc(SIZE);
    for (size_t i = 0; i < SLOTS; i++) {
        size_t k = i * 37 % SLOTS; /* each once */
        order[i] = slot_of(blocks[k]);
        hak_free(blocks[k]);
    }
    for (size_t i = 0; i < SLOTS; i++) {
        AT("allocation", i);
        blocks[i] = hak_malloc(SIZE);
        CHECK_EQ(slot_of(blocks[i]), order[i]);
    }
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(blocks[i]);
    hak_guard_stop();
}

TEST(about_one_allocation_in_the_rate_is_guarded) {
    enum { RATE = 50, COUNT = 200000 };
    size_t guarded = 0;
    CHECK_EQ(hak_guard_start(RATE, SLOTS), 0);
    for (size_t i = 0; i < COUNT; i++) {
        void *block = hak_malloc(SIZE);
        guarded += (size_t)is_guarded(block, SIZE);
        hak_free(block);
    }
    hak_guard_stop();
    /* Five standard deviations are 3.7 per cent. */
    CHECK_GE(guarded, COUNT / RATE * 0.95);
    CHECK_LE(guarded, COUNT / RATE * 1.05);
}

TEST(errno_is_kept) {
    guard_all();
    errno = 77;
    void *block = hak_malloc(SIZE);
    CHECK(is_guarded(block, SIZE));
    CHECK_EQ(errno, 77);
    block = hak_realloc(block, 2 * SIZE);
    CHECK_EQ(errno, 77);
    hak_free(block);
    CHECK_EQ(errno, 77);
    hak_guard_stop();
    CHECK_EQ(errno, 77);
}

static void *free_it(void *block) {
    hak_free(block);
    return NULL;
}

static void *allocate_it(void *unused) {
    (void)unused;
    return hak_malloc(SIZE);
}

TEST(threads_that_start_later_are_guarded_and_may_free_blocks_of_others) {
    void *block;
    test_let_libc_keep_threads(2);
    guard_all();
    pthread_join(test_thread(allocate_it, NULL), &block);
    CHECK(is_guarded(block, SIZE));
    pthread_join(test_thread(free_it, block), NULL);
    CHECK_EQ(hak_validate(), 0);
    hak_guard_stop();
}

TEST(guarded_blocks_may_be_freed_after_the_end) {
    uint64_t before = stats().bytes_guarded;
    guard_all();
    void *block = hak_malloc(SIZE);
    hak_guard_stop();
    CHECK_EQ(stats().bytes_guarded, before + SIZE);
    void *other = hak_malloc(SIZE);
    CHECK(!is_guarded(other, SIZE));
    hak_free(other);
    hak_free(block);
    CHECK_EQ(stats().bytes_guarded, before);
}

TEST(a_free_slot_holds_no_memory) {
    void *blocks[SLOTS];
    guard_all();
    hak_free(hak_malloc(LARGEST));
    uint64_t before = stats().bytes_used;
    for (size_t i = 0; i < SLOTS; i++)
        memset(blocks[i] = hak_malloc(LARGEST), 1, LARGEST);
    CHECK_EQ(stats().bytes_used, before + (uint64_t)SLOTS * LARGEST);
    size_t full = test_rss();
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(blocks[i]);
    CHECK_EQ(stats().bytes_used, before);
    CHECK(test_rss() + (size_t)SLOTS * LARGEST * 9 / 10 < full);
    hak_guard_stop();
}

TEST(many_starts_do_not_use_more_and_more_memory) {
    struct hak_stats before;
    for (int i = 0; i < 2000; i++) {
        if (i == 1000)
            before = stats();
        guard_all();
        hak_free(hak_malloc(SIZE));
        hak_guard_stop();
    }
    CHECK_EQ(stats().bytes_metadata, before.bytes_metadata);
    CHECK_EQ(stats().bytes_mapped, before.bytes_mapped);
}

/* An allocation is a sample of the profile or a guarded block, and the profile counts both. */
TEST(a_profile_that_samples_every_block_leaves_none_to_the_guard) {
    struct hak_profile_options options = {.rate = 1};
    guard_all();
    CHECK_EQ(hak_profile_start(&options, sizeof options), 0);
    void *block = hak_malloc(SIZE);
    CHECK(!is_guarded(block, SIZE));
    hak_profile_stop();
    void *guarded = hak_malloc(SIZE);
    CHECK(is_guarded(guarded, SIZE));
    hak_free(block);
    hak_free(guarded);
    hak_guard_stop();
    CHECK_EQ(hak_validate(), 0);
}

TEST(without_memory_an_allocation_fails_as_usual) {
    guard_all();
    CHECK_EQ(hak_option_set("limit_hard", "1"), 0);
    void *block = hak_malloc(LARGEST);
    CHECK(block == NULL || !is_guarded(block, LARGEST) || LARGEST == hak_usable_size(block));
    CHECK_EQ(stats().bytes_guarded, 0);
    hak_free(block);
    CHECK_EQ(hak_option_set("limit_hard", "0"), 0);
    hak_guard_stop();
}

static void start_without_address_space(void *unused) {
    (void)unused;
    struct rlimit limit = {test_statm(0) + (64 << 20), RLIM_INFINITY};
    CHECK_EQ(setrlimit(RLIMIT_AS, &limit), 0);
    CHECK_EQ(hak_guard_start(1, 65536), ENOMEM);
    CHECK_EQ(hak_guard_is_running(), 0);
    void *block = hak_malloc(SIZE);
    CHECK(block != NULL && !is_guarded(block, SIZE));
    hak_free(block);
    CHECK_EQ(hak_guard_start(1, 100), 0);
    block = hak_malloc(SIZE);
    CHECK(is_guarded(block, SIZE));
    hak_free(block);
}

TEST(a_start_without_address_space_fails_and_changes_nothing) {
    struct test_child child = test_in_child(start_without_address_space, NULL);
    CHECK_EXITED(child);
}

/* Makes more mappings than the process may have. */
static void use_all_mappings(void *unused) {
    (void)unused;
    guard_all();
    char *pages = mmap(NULL, page() << 17, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    REQUIRE(pages != MAP_FAILED);
    size_t i = 0;
    while (i < (size_t)1 << 17 && mprotect(pages + i * page(), page(), PROT_NONE) == 0)
        i += 2;
    if (i >= (size_t)1 << 17)
        return; /* the kernel allows more mappings here */
    void *block = hak_malloc(SIZE);
    CHECK(block != NULL && !is_guarded(block, SIZE));
    hak_free(block);
    munmap(pages, page() << 17);
    block = hak_malloc(SIZE);
    CHECK(is_guarded(block, SIZE));
    hak_free(block);
    CHECK_EQ(hak_validate(), 0);
}

TEST(without_mappings_blocks_are_served_without_guard) {
    struct test_child child = test_in_child(use_all_mappings, NULL);
    CHECK_EXITED(child);
}
