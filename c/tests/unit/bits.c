/* unit/bits.c - rounding and bitmaps, compared with a model of one bool per bit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include "base/bits.h"
#include "test.h"

enum { BITS = 200, WORDS = HK_WORDS(BITS) };

struct bitmap {
    uint64_t words[WORDS];
    bool model[BITS];
};

static void bitmap_fill(struct bitmap *map, uint32_t start, uint32_t count, bool value) {
    hk_bits_fill(map->words, (struct hk_run){start, count}, value);
    for (uint32_t i = start; i < start + count; i++)
        map->model[i] = value;
}

static void bitmap_random(struct bitmap *map, uint64_t *seed) {
    uint64_t density = test_random(seed) % 5;
    memset(map, 0, sizeof *map);
    for (uint32_t i = 0; i < BITS; i++)
        if (test_random(seed) % 4 < density)
            bitmap_fill(map, i, 1, true);
}

static uint32_t model_find(const struct bitmap *map, uint32_t bits, uint32_t from, bool value) {
    while (from < bits && map->model[from] != value)
        from++;
    return from < bits ? from : bits;
}

static void check_equal(const struct bitmap *map) {
    for (uint32_t i = 0; i < BITS; i++)
        CHECK_EQ(hk_bit_get(map->words, i), map->model[i]);
    for (uint32_t i = BITS; i < WORDS * HK_WORD_BITS; i++)
        CHECK_EQ(hk_bit_get(map->words, i), 0);
}

TEST(filling_a_run_changes_its_bits_and_no_other) {
    for (uint32_t start = 0; start < BITS; start++) {
        for (uint32_t count = 0; start + count <= BITS; count++) {
            struct bitmap map = {0};
            AT("start count", start, count);
            bitmap_fill(&map, start, count, true);
            check_equal(&map);
            bitmap_fill(&map, start + count / 3, count / 2, false);
            check_equal(&map);
        }
    }
}

TEST(finding_agrees_with_the_model_from_every_bit_to_every_end) {
    uint64_t seed = test_seed(1);
    for (int round = 0; round < 20; round++) {
        struct bitmap map;
        bitmap_random(&map, &seed);
        for (uint32_t bits = 0; bits <= BITS; bits++) {
            for (uint32_t from = 0; from <= bits; from++) {
                AT("bits from", bits, from);
                CHECK_EQ(hk_bits_find(map.words, bits, from, true),
                         model_find(&map, bits, from, true));
                CHECK_EQ(hk_bits_find(map.words, bits, from, false),
                         model_find(&map, bits, from, false));
            }
        }
    }
}

TEST(a_run_begins_at_the_next_equal_bit_and_ends_before_the_next_other) {
    uint64_t seed = test_seed(2);
    for (int round = 0; round < 200; round++) {
        struct bitmap map;
        bitmap_random(&map, &seed);
        for (uint32_t from = 0; from <= BITS; from++) {
            bool value = test_random(&seed) & 1;
            struct hk_run run = hk_bits_run(map.words, BITS, from, value);
            uint32_t start = model_find(&map, BITS, from, value);
            AT("from value", from, value);
            CHECK_EQ(run.start, start);
            CHECK_EQ(run.count, model_find(&map, BITS, start, !value) - start);
        }
    }
}

TEST(the_runs_of_a_word_follow_one_another) {
    uint64_t seed = test_seed(3);
    for (int round = 0; round < 2000; round++) {
        uint64_t word = test_random(&seed) | test_random(&seed);
        word = round == 0 ? UINT64_MAX : round % 4 == 1 ? ~word : word & UINT64_MAX << (round % 64);
        for (uint64_t left = word; left != 0; left = hk_word_after_run(left)) {
            struct hk_run run = hk_word_run(left);
            struct hk_run expected = hk_bits_run(&left, HK_WORD_BITS, 0, true);
            uint64_t after = left;
            hk_bits_fill(&after, expected, false);
            AT("round start", round, run.start);
            CHECK_EQ(run.start, expected.start);
            CHECK_EQ(run.count, expected.count);
            CHECK_EQ(hk_word_after_run(left), after);
        }
    }
}

TEST(rounding_up_gives_the_next_multiple) {
    for (size_t align = 1; align <= 64; align *= 2) {
        for (size_t x = 0; x < 300; x++) {
            size_t rounded = hk_round_up(x, align);
            AT("x align", x, align);
            CHECK(rounded % align == 0 && rounded >= x && rounded - x < align);
        }
    }
    CHECK_EQ(hk_round_up(SIZE_MAX - 4095, 4096), SIZE_MAX - 4095);
    CHECK_EQ(hk_round_up(SIZE_MAX - 4094, 4096), 0);
}

TEST(powers_of_two_are_told_from_other_numbers) {
    CHECK(!hk_is_power_of_two(0));
    for (unsigned shift = 0; shift < 64; shift++) {
        size_t power = (size_t)1 << shift;
        AT("shift", shift);
        CHECK(hk_is_power_of_two(power));
        CHECK(shift < 2 || !hk_is_power_of_two(power - 1));
        CHECK(shift < 1 || shift == 63 || !hk_is_power_of_two(power + 1));
        CHECK_EQ(hk_log2(power), shift);
        CHECK_EQ(hk_log2(power | (power - 1)), shift);
    }
}
