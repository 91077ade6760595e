/* unit/surroundings.c - the same random work with unusual page sizes, addresses and settings.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
// timeout: 120
#include <hakmem.h>

#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"

#define TIB ((uintptr_t)1 << 40)
#define FIRST_CHUNK (32 * TIB) /* nothing else is mapped from here to 112 TiB */

enum { SLOTS = 500, STEPS = 30000 };

static struct {
    unsigned char *block;
    size_t size;
} slots[SLOTS];

static size_t random_size(uint64_t *seed) {
    size_t bits = test_random(seed) % 24; /* up to 8 MiB, mostly small */
    bits = bits > 16 && test_random(seed) % 8 ? bits - 12 : bits;
    return test_random(seed) % ((size_t)2 << bits) + 1;
}

static size_t patterned(size_t size) { return size < 4096 ? size : 4096; }

static void check_slot(size_t i) {
    CHECK_EQ(test_intact(slots[i].block, patterned(slots[i].size), i), patterned(slots[i].size));
    CHECK_GE(hak_usable_size(slots[i].block), slots[i].size);
}

/* Frees, allocates (plainly, zeroed, aligned) or resizes the block of a slot. */
static void step(size_t i, uint64_t *seed) {
    size_t size = random_size(seed), align = (size_t)16 << test_random(seed) % 14;
    uint64_t what = test_random(seed) % 4;
    if (slots[i].block != NULL)
        check_slot(i);
    if (slots[i].block != NULL && what != 0) {
        hak_free(slots[i].block);
        slots[i].block = NULL;
        return;
    }
    if (what == 0) {
        size_t kept = slots[i].block ? slots[i].size : 0;
        kept = patterned(kept < size ? kept : size);
        slots[i].block = hak_realloc(slots[i].block, size);
        CHECK_EQ(test_intact(slots[i].block, kept, i), kept);
    } else if (what == 1) {
        slots[i].block = hak_malloc(size);
    } else if (what == 2) {
        slots[i].block = hak_calloc(1, size);
        CHECK_EQ(test_zeros(slots[i].block, size), size);
    } else {
        slots[i].block = hak_aligned_alloc(align, size);
        CHECK_EQ((uintptr_t)slots[i].block % align, 0);
    }
    slots[i].size = size;
    test_fill(slots[i].block, patterned(size), i);
    if (size > patterned(size))
        slots[i].block[size - 1] = 1;
}

static void work(void (*now_and_then)(int round)) {
    uint64_t seed = test_seed(5);
    for (int i = 0; i < STEPS; i++) {
        AT("step", i);
        step(test_random(&seed) % SLOTS, &seed);
        if (i % 1000 == 0) {
            __atomic_add_fetch(&fake_os.now_ms, 300, __ATOMIC_SEQ_CST);
            if (now_and_then)
                now_and_then(i / 1000);
        }
    }
    CHECK_EQ(hk_validate(), 0);
    for (size_t i = 0; i < SLOTS; i++)
        hak_free(slots[i].block);
    struct hak_stats after;
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_live, 0);
    hak_trim();
    hak_stats(&after, sizeof after);
    CHECK_EQ(after.bytes_slabs, 0);
    CHECK_EQ(after.bytes_dirty, 0);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(pages_of_4_kib) { work(NULL); }

TEST_FRESH(pages_of_16_kib) {
    fake_os.page_bytes = 16384;
    work(NULL);
}

TEST_FRESH(pages_of_64_kib) {
    fake_os.page_bytes = 65536;
    work(NULL);
}

static void jump_far(int round) {
    fake_os.chunks_at = FIRST_CHUNK + (uintptr_t)round % 40 * 2 * TIB;
}

TEST_FRESH(memory_far_above_the_class_map) {
    jump_far(0);
    hak_free(hak_malloc(1));
    CHECK(hk_class_map_get()->limit_1 != 0);
    work(jump_far);
    CHECK(fake_os.chunks_at > FIRST_CHUNK + 2 * TIB); /* some mappings are there */
}

/* As if the program repeatedly reserved 2 TiB of address space. */
static void jump_far_down(int round) {
    fake_os.chunks_at = FIRST_CHUNK + (uintptr_t)(30 - round) * 2 * TIB;
}

TEST_FRESH(memory_far_below_what_is_reserved) {
    jump_far_down(0);
    work(jump_far_down);
    jump_far_down(31);
    static void *blocks[100000];
    size_t known = 0;
    for (size_t i = 0; i < TEST_COUNT(blocks); i++) {
        blocks[i] = hak_malloc(1000);
        known += hk_class_map_class(blocks[i]) == HK_CLASS_1008;
    }
    CHECK_EQ(known, TEST_COUNT(blocks));
    CHECK((uintptr_t)blocks[TEST_COUNT(blocks) - 1] < FIRST_CHUNK);
    for (size_t i = 0; i < TEST_COUNT(blocks); i++)
        hak_free(blocks[i]);
}

static void refuse_now_and_then(int round) {
    fake_os.purge_fails = round % 3 == 0;
    fake_os.resize_fails = round % 2 == 0;
    fake_os.move_fails = round % 5 == 0;
}

TEST_FRESH(an_os_that_refuses_now_and_then) { work(refuse_now_and_then); }

static void read_environment(char *entry) {
    static char *environment[2];
    environment[0] = entry;
    fake_os.environment = environment;
}

TEST_FRESH(checking_mode) {
    read_environment("HAKMEM_CHECKS=1");
    work(NULL);
}

TEST_FRESH(checks_with_small_caches) {
    read_environment("HAKMEM_CHECKS=fast");
    work(NULL);
}

TEST_FRESH(no_block_cached_by_a_thread) {
    read_environment("HAKMEM_THREAD_CACHE_KB=0");
    work(NULL);
}

TEST_FRESH(no_delay_before_memory_goes_back) {
    read_environment("HAKMEM_PURGE_DELAY_MS=0");
    work(NULL);
}

static void trim_now_and_then(int round) {
    (void)round;
    hak_trim();
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(a_trim_every_thousand_steps) { work(trim_now_and_then); }
