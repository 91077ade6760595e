/* profile/contract.c - heap profiles. With the rate 1 every block is a sample, so all numbers are
 * exact.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: archive shared
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_CHECKS=fast
// flags: -rdynamic
// env: HAKMEM_PURGE_THREAD_MB=0
#include <stdbool.h>

#include "profile.h"

enum { KIB = 1 << 10, MIB = 1 << 20 };

/* Has an exported name, and is not a leaf function, so that it appears in stacks. */
__attribute__((noinline)) void *site_of_malloc(size_t size);
__attribute__((noinline)) void *site_of_malloc(size_t size) {
    void *block = hak_malloc(size);
    CHECK(block != NULL);
    return block;
}

TEST(there_is_no_profile_before_the_first_start) {
    CHECK_EQ(hak_profile_is_running(), 0);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_TEXT, profile_take, &profile_text), ENODATA);
    hak_profile_stop();
}

TEST(start_and_stop_say_whether_a_profile_runs) {
    CHECK_EQ(hak_profile_start(NULL, 0), 0);
    CHECK_EQ(hak_profile_is_running(), 1);
    CHECK_EQ(hak_profile_start(NULL, 0), EALREADY);
    hak_profile_stop();
    hak_profile_stop();
    CHECK_EQ(hak_profile_is_running(), 0);
    CHECK_EQ(hak_profile_write((enum hak_profile_format)9, profile_take, &profile_text), EINVAL);
}

TEST(a_stack_begins_with_the_caller_of_the_allocating_function) {
    profile_start(1);
    void *block = site_of_malloc(100);
    hak_profile_stop();
    const char *text = profile_write(HAK_PROFILE_COLLAPSED);
    CHECK(strstr(text, "main;") != NULL);
    CHECK(strstr(text, ";site_of_malloc 100\n") != NULL);
    hak_free(block);
    CHECK_EQ(profile_in_use(NULL), 0);
}

/* Calls each allocating function, and checks the bytes in use after each call. */
TEST(all_functions_that_allocate_are_sampled) {
    void *blocks[8] = {0};
    profile_start(1);

    CHECK((blocks[0] = hak_malloc(100)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 100);
    CHECK((blocks[1] = hak_calloc(3, 50)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 250);
    CHECK((blocks[2] = hak_aligned_alloc(256, 1000)) != NULL);
    CHECK_EQ((uintptr_t)blocks[2] % 256, 0);
    CHECK_EQ(profile_in_use(NULL), 1250);
    CHECK_EQ(hak_posix_memalign(&blocks[3], 4096, 5000), 0);
    CHECK_EQ((uintptr_t)blocks[3] % 4096, 0);
    CHECK_EQ(profile_in_use(NULL), 6250);
    CHECK((blocks[4] = hak_alloc(7, 1)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 6257);
    CHECK((blocks[5] = hak_alloc_zeroed(20000, 64)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 26257);
    CHECK((blocks[6] = hak_malloc(MIB)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 26257 + MIB);
    CHECK((blocks[7] = hak_aligned_alloc(2 * MIB, 8 * MIB)) != NULL);
    CHECK_EQ(profile_in_use(NULL), 26257 + 9 * MIB);
    CHECK_EQ(hak_validate(), 0);

    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
    hak_profile_stop();
    CHECK_EQ(profile_in_use(NULL), 0);
    CHECK_EQ(hak_validate(), 0);
}

static size_t first_nonzero(const unsigned char *block, size_t bytes) {
    size_t i = 0;
    while (i < bytes && block[i] == 0)
        i++;
    return i;
}

TEST(a_sampled_block_of_calloc_is_zero_also_when_its_memory_was_used) {
    profile_start(1);
    for (size_t size = 1; size < 2 * MIB; size = size * 3 + 1) {
        AT("size", size);
        unsigned char *block = hak_malloc(size);
        REQUIRE(block != NULL);
        memset(block, 0xA5, size);
        hak_free(block);
        block = hak_calloc(1, size);
        REQUIRE(block != NULL);
        CHECK_EQ(first_nonzero(block, size), size);
        hak_free(block);
    }
    hak_profile_stop();
}

/* Resizes a block up and down, with each combination of sampled and not sampled. */
static void resize_steps(bool layout) {
    static const size_t sizes[] = {1,   100,      120,     5000,    70 * KIB,  200 * KIB, 300 * KIB,
                                   MIB, 10 * MIB, 3 * MIB, 5 * MIB, 300 * KIB, 40,        8};
    size_t old = 24;
    unsigned char *block = layout ? hak_alloc(old, 8) : hak_malloc(old);
    REQUIRE(block != NULL);
    memset(block, 1, old);
    for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
        AT("step", i);
        unsigned char *moved =
            layout ? hak_realloc_layout(block, old, 8, sizes[i]) : hak_realloc(block, sizes[i]);
        REQUIRE(moved != NULL);
        block = moved;
        size_t kept = old < sizes[i] ? old : sizes[i];
        CHECK_EQ(block[0], 1);
        CHECK_EQ(block[kept - 1], 1);
        CHECK(hak_usable_size(block) >= sizes[i]);
        memset(block, 1, sizes[i]);
        old = sizes[i];
    }
    if (layout)
        hak_dealloc(block, old, 8);
    else
        hak_free_sized(block, old);
}

TEST(sampled_blocks_are_resized_and_freed_by_their_size) {
    uint64_t errors;
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    errors = stats.errors;
    profile_start(1);
    resize_steps(false);
    resize_steps(true);
    CHECK_EQ(profile_in_use("resize_steps"), 0);
    hak_profile_stop();
    hak_stats(&stats, sizeof stats);
    CHECK_EQ(stats.errors, errors);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_resized_block_counts_with_its_new_size) {
    profile_start(1);
    void *block = hak_realloc(hak_malloc(100), 2000);
    CHECK_EQ(profile_in_use(NULL), 2000);
    block = hak_realloc(block, MIB);
    CHECK_EQ(profile_in_use(NULL), MIB);
    block = hak_realloc(block, 6 * MIB);
    block = hak_realloc(block, 7 * MIB);
    CHECK_EQ(profile_in_use(NULL), 7 * MIB);
    hak_free(block);
    CHECK_EQ(profile_in_use(NULL), 0);
    hak_profile_stop();
}

TEST(frees_count_after_the_end_of_the_profile) {
    profile_start(1);
    void *small = hak_malloc(100);
    void *large = hak_malloc(MIB);
    hak_profile_stop();
    CHECK_EQ(profile_in_use(NULL), 100 + MIB);
    hak_free(small);
    CHECK_EQ(profile_in_use(NULL), MIB);
    hak_free(large);
    CHECK_EQ(profile_in_use(NULL), 0);
    void *unseen = hak_malloc(100);
    CHECK_EQ(profile_in_use(NULL), 0);
    hak_free(unseen);
}

static void *free_all(void *arg) {
    void **blocks = arg;
    hak_free(blocks[0]);
    hak_dealloc(blocks[1], 300, 8);
    hak_free(blocks[2]);
    return NULL;
}

TEST(another_thread_may_free_sampled_blocks) {
    void *blocks[3];
    profile_start(1);
    blocks[0] = hak_malloc(40);
    blocks[1] = hak_alloc(300, 8);
    blocks[2] = hak_malloc(MIB);
    hak_profile_stop();
    pthread_join(test_thread(free_all, blocks), NULL);
    CHECK_EQ(profile_in_use(NULL), 0);
    CHECK_EQ(hak_validate(), 0);
}

TEST(a_new_profile_begins_empty_and_blocks_of_the_last_one_may_still_be_freed) {
    profile_start(1);
    void *block = hak_malloc(100);
    hak_profile_stop();
    profile_start(1);
    CHECK_EQ(profile_in_use(NULL), 0);
    void *second = hak_malloc(50);
    hak_free(block);
    CHECK_EQ(profile_in_use(NULL), 50);
    hak_free(second);
    CHECK_EQ(profile_in_use(NULL), 0);
    hak_profile_stop();
}

TEST(a_freed_large_block_that_the_thread_caches_is_no_longer_sampled) {
    profile_start(1);
    void *block = hak_malloc(MIB);
    hak_free(block);
    hak_profile_stop();
    void *again = hak_malloc(MIB);
    CHECK_EQ(profile_in_use(NULL), 0);
    hak_free(again);
}

TEST(frame_pointers_give_a_stack_too) {
    struct hak_profile_options options = {.rate = 1, .frame_pointers = 1};
    CHECK_EQ(hak_profile_start(&options, sizeof options), 0);
    void *block = site_of_malloc(100);
    hak_profile_stop();
    CHECK_EQ(profile_in_use("site_of_malloc"), 100);
    hak_free(block);
}

static void *allocate_once(void *arg) { return hak_malloc(*(size_t *)arg); }

TEST(the_first_block_of_a_new_thread_is_sampled) {
    size_t size = 123;
    void *block;
    profile_start(1);
    pthread_join(test_thread(allocate_once, &size), &block);
    CHECK_EQ(profile_in_use("allocate_once"), 0); /* static, so without a name */
    CHECK(strstr(profile_write(HAK_PROFILE_LEAKS), "123 bytes in 1 blocks\n") != NULL);
    hak_profile_stop();
    hak_free(block);
}

TEST(the_text_of_live_blocks_has_build_ids) {
    profile_start(1);
    void *block = site_of_malloc(100);
    hak_profile_stop();
    const char *text = profile_write(HAK_PROFILE_LEAKS);
    CHECK(strstr(text, "100 bytes in 1 blocks\n    site_of_malloc ") != NULL);
    CHECK(strstr(text, "\nmodule libc.so.6 build-id ") != NULL);
    hak_free(block);
}

static void allocate_while_writing(void *arg, const char *text, size_t bytes) {
    (void)text;
    *(size_t *)arg += bytes;
    hak_free(hak_malloc(1000));
    hak_profile_stop();
    CHECK_EQ(hak_profile_start(NULL, 0), 0);
}

TEST(the_function_that_takes_the_text_may_allocate_and_start_a_profile) {
    size_t bytes = 0;
    profile_start(1);
    void *block = site_of_malloc(100);
    CHECK_EQ(hak_profile_write(HAK_PROFILE_PPROF, allocate_while_writing, &bytes), 0);
    CHECK(bytes > 100);
    hak_profile_stop();
    hak_free(block);
}

/* Starting and stopping a profile leaves nothing behind. */
TEST(many_profiles_do_not_use_more_and_more_memory) {
    struct hak_stats before, after;
    for (int i = 0; i < 2000; i++) {
        if (i == 1000)
            hak_stats(&before, sizeof before);
        profile_start(1);
        void *block = site_of_malloc(100);
        hak_profile_stop();
        hak_free(block);
    }
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_metadata, before.bytes_metadata);
    CHECK_EQ(after.bytes_used, before.bytes_used);
}

TEST(a_forked_child_continues_the_profile) {
    profile_start(1);
    void *block = hak_malloc(100);
    pid_t child = fork();
    if (child == 0) {
        hak_free(block);
        void *other = hak_malloc(30);
        _exit(profile_in_use(NULL) == 30 && other != NULL ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK_EQ(status, 0);
    CHECK_EQ(profile_in_use(NULL), 100);
    hak_profile_stop();
    hak_free(block);
}
