/* unit/slab.c - allocating and freeing blocks of a slab, compared with a model of one state per
 * block.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The memory of these slabs is never accessed, so any address will do.
 */
// link: fake_os
#include "core/slab.h"

#include "test.h"

enum { BLOCKS_MAX = 8192 };

/* Blocks that can be taken. */
static uint32_t available(const struct hk_span *slab) {
    return (uint32_t)slab->free + slab->blocks - slab->bump;
}

static struct hk_span *make_slab(size_t class) {
    struct hk_span *slab = hk_span_create(class, HK_SPAN_PLAIN);
    if (slab == NULL)
        return NULL;
    slab->base = 0x7000000000;
    slab->granules = hk_classes[class].granules;
    slab->bytes = (size_t)slab->blocks * hk_classes[class].block_bytes;
    slab->fresh = true;
    return slab;
}

static char *block_at(const struct hk_span *slab, size_t index) {
    return (char *)slab->base + index * hk_classes[slab->class].block_bytes;
}

/* The blocks that a slab allocates next: previously used blocks first, in address
 * order. */
struct model {
    bool out[BLOCKS_MAX];
    uint32_t used; /* blocks below this have been allocated before */
};

static uint32_t model_next(const struct model *model) {
    for (uint32_t i = 0; i < model->used; i++)
        if (!model->out[i])
            return i;
    return model->used;
}

static uint32_t take_some(struct hk_span *slab, struct model *model, uint32_t count) {
    static void *taken[BLOCKS_MAX + 1];
    uint32_t n = hk_slab_take(slab, taken, count);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t expected = model_next(model);
        CHECK_EQ(taken[i], block_at(slab, expected));
        model->out[expected] = true;
        model->used += expected == model->used;
    }
    return n;
}

static uint32_t count_out(const struct hk_span *slab, const struct model *model) {
    uint32_t out = 0;
    for (uint32_t i = 0; i < slab->blocks; i++)
        out += model->out[i];
    return out;
}

/* Checks a block and then frees it, like a heap. */
static enum hk_slab_result give(struct hk_span *slab, const void *block) {
    enum hk_slab_result result = hk_slab_look(slab, block);
    if (result == HK_SLAB_DONE) {
        size_t offset = (uintptr_t)block - slab->base;
        hk_slab_give(slab, (uint32_t)(offset / hk_classes[slab->class].block_bytes));
    }
    return result;
}

static void check_slab(const struct hk_span *slab, const struct model *model) {
    uint32_t out = count_out(slab, model);
    CHECK(hk_slab_valid(slab));
    CHECK_EQ(available(slab), slab->blocks - out);
    CHECK_EQ(hk_slab_is_empty(slab), out == 0);
    CHECK_EQ(hk_slab_is_exhausted(slab), out == slab->blocks);
    CHECK_EQ(slab->bump, model->used);
}

static void play(size_t class, uint64_t seed) {
    static struct model model;
    struct hk_span *slab = make_slab(class);
    REQUIRE(slab != NULL);
    memset(&model, 0, sizeof model);
    for (int round = 0; round < 60; round++) {
        uint32_t count = (uint32_t)(test_random(&seed) % (slab->blocks / 2 + 2));
        uint32_t expected = slab->blocks - count_out(slab, &model);
        expected = count < expected ? count : expected;
        AT("block_bytes round", hk_classes[class].block_bytes, round);
        CHECK_EQ(take_some(slab, &model, count), expected);
        check_slab(slab, &model);
        for (uint32_t i = 0; i < slab->blocks; i++) {
            bool gives = model.out[i] && test_random(&seed) % 2;
            enum hk_slab_result expected = HK_SLAB_DONE;
            if (!model.out[i])
                expected = i < model.used ? HK_SLAB_ALREADY_FREE : HK_SLAB_NOT_A_BLOCK;
            CHECK_EQ(hk_slab_look(slab, block_at(slab, i)), expected);
            if (gives)
                CHECK_EQ(give(slab, block_at(slab, i)), HK_SLAB_DONE);
            model.out[i] = model.out[i] && !gives;
        }
        check_slab(slab, &model);
    }
    hk_span_destroy(slab);
}

TEST(random_takes_and_gives_agree_with_the_model_in_every_class) {
    uint64_t seed = test_seed(1);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        play(class, test_random(&seed));
}

/* Whether the model has these blocks free, and marks them as allocated. */
static void model_take(struct model *model, uint32_t first, uint64_t bits) {
    for (uint32_t i = 0; bits != 0; i++, bits >>= 1) {
        if ((bits & 1) == 0)
            continue;
        CHECK(!model->out[first + i]);
        model->out[first + i] = true;
        if (first + i >= model->used)
            model->used = first + i + 1;
    }
}

static void take_run(struct hk_span *slab, struct model *model, uint32_t most) {
    struct hk_run run = hk_slab_find_run(slab, most);
    uint32_t end = run.start + run.count;
    CHECK_EQ(run.start, model_next(model));
    CHECK(run.count >= 1 && run.count <= most && end <= slab->blocks);
    CHECK(run.count == most || end == slab->blocks || model->out[end]);
    hk_slab_take_run(slab, run);
    for (uint32_t i = run.start; i < end; i++)
        model_take(model, i, 1);
}

static void take_word(struct hk_span *slab, struct model *model, uint64_t mask) {
    struct hk_slab_word word = hk_slab_find_word(slab);
    CHECK_EQ(word.first % 64, 0);
    CHECK_EQ(word.first + (unsigned)__builtin_ctzll(word.bits), model_next(model));
    word.bits &= mask;
    hk_slab_take_word(slab, &word);
    model_take(model, word.first, word.bits);
}

/* Gives back the allocated blocks of one word that `mask` selects. */
static void give_word(struct hk_span *slab, struct model *model, uint32_t first, uint64_t mask) {
    struct hk_slab_word word = {0, first};
    for (uint32_t i = 0; i < 64 && first + i < slab->blocks; i++) {
        if (!model->out[first + i] || ((mask >> i) & 1) == 0)
            continue;
        word.bits |= UINT64_C(1) << i;
        model->out[first + i] = false;
    }
    hk_slab_give_word(slab, &word);
}

TEST(runs_and_words_agree_with_the_model_in_every_class) {
    static struct model model;
    uint64_t seed = test_seed(2);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hk_span *slab = make_slab(class);
        REQUIRE(slab != NULL);
        memset(&model, 0, sizeof model);
        for (int round = 0; round < 400; round++) {
            AT("block_bytes round", hk_classes[class].block_bytes, round);
            uint64_t kind = test_random(&seed) % 3;
            if (kind == 0 && !hk_slab_is_exhausted(slab))
                take_run(slab, &model, (uint32_t)(test_random(&seed) % 200 + 1));
            else if (kind == 1 && slab->free > 0)
                take_word(slab, &model, test_random(&seed));
            else
                give_word(slab, &model, (uint32_t)(test_random(&seed) % slab->blocks) / 64 * 64,
                          test_random(&seed));
            check_slab(slab, &model);
        }
        hk_span_destroy(slab);
    }
}

TEST(the_lowest_free_block_comes_first_whatever_the_order_of_frees) {
    struct hk_span *slab = make_slab(HK_CLASS_64);
    void *all[BLOCKS_MAX];
    CHECK_EQ(hk_slab_take(slab, all, BLOCKS_MAX), slab->blocks);
    static const uint32_t freed[] = {900, 3, 64, 127, 128, 0};
    for (size_t i = 0; i < TEST_COUNT(freed); i++)
        CHECK_EQ(give(slab, block_at(slab, freed[i])), HK_SLAB_DONE);
    static const uint32_t taken[] = {0, 3, 64, 127, 128, 900};
    for (size_t i = 0; i < TEST_COUNT(taken); i++)
        CHECK_EQ(hk_slab_take_one(slab).start, block_at(slab, taken[i]));
    CHECK(hk_slab_is_exhausted(slab));
    CHECK_EQ(hk_slab_take(slab, all, 1), 0);
}

TEST(giving_anything_but_a_block_that_is_out_says_what_it_is_and_changes_nothing) {
    struct hk_span *slab = make_slab(HK_CLASS_48);
    void *taken[3];
    hk_slab_take(slab, taken, 3);
    give(slab, taken[1]);
    static const struct {
        ptrdiff_t offset;
        enum hk_slab_result result;
    } bad[] = {
        {1, HK_SLAB_INSIDE_BLOCK},        {16, HK_SLAB_INSIDE_BLOCK},
        {47, HK_SLAB_INSIDE_BLOCK},       {2 * 48 + 8, HK_SLAB_INSIDE_BLOCK},
        {48, HK_SLAB_ALREADY_FREE},       {3 * 48, HK_SLAB_NOT_A_BLOCK},
        {100 * 48, HK_SLAB_NOT_A_BLOCK},  {-48, HK_SLAB_NOT_A_BLOCK},
        {1365 * 48, HK_SLAB_NOT_A_BLOCK}, /* the tail, which contains no block */
        {65536, HK_SLAB_NOT_A_BLOCK},     {-(ptrdiff_t)0x7000000000, HK_SLAB_NOT_A_BLOCK},
    };
    for (size_t i = 0; i < TEST_COUNT(bad); i++) {
        char *pointer = (char *)slab->base + bad[i].offset;
        AT("case", i);
        CHECK_EQ(hk_slab_look(slab, pointer), bad[i].result);
        CHECK_EQ(give(slab, pointer), bad[i].result);
        CHECK(hk_slab_valid(slab));
        CHECK_EQ(slab->free, 1);
        CHECK_EQ(slab->bump, 3);
    }
}

TEST(a_block_is_known_to_be_zero_only_if_it_was_never_out_and_the_slab_was_fresh) {
    struct hk_span *slab = make_slab(HK_CLASS_1024);
    CHECK(hk_slab_take_one(slab).zero);
    struct hk_block second = hk_slab_take_one(slab);
    CHECK(second.zero);
    give(slab, second.start);
    struct hk_block again = hk_slab_take_one(slab);
    CHECK(again.start == second.start && !again.zero);
    CHECK(hk_slab_take_one(slab).zero);
    slab->fresh = false;
    CHECK(!hk_slab_take_one(slab).zero);
}

TEST(all_free_blocks_can_be_taken_as_bits_and_come_back) {
    struct hk_span *slab = make_slab(HK_CLASS_1024);
    void *taken[40];
    uint64_t bits[HK_SLAB_WORDS_MAX];
    hk_slab_take(slab, taken, 40);
    for (int i = 0; i < 40; i += 2)
        give(slab, taken[i]);
    CHECK_EQ(hk_slab_take_all(slab, bits), 20); /* unused blocks are zero, nothing to do */
    CHECK_EQ(bits[0], 0x5555555555);
    CHECK(hk_slab_valid(slab) && slab->free == 0);
    CHECK_EQ(give(slab, taken[1]), HK_SLAB_DONE); /* meanwhile, by its owner */
    hk_slab_give_all(slab, bits);
    CHECK(hk_slab_valid(slab));
    CHECK_EQ(slab->free, 21);
    CHECK_EQ(hk_slab_take_one(slab).start, taken[0]);
    CHECK_EQ(hk_slab_take_one(slab).start, taken[1]);
}

TEST(blocks_never_used_count_as_free_where_the_slab_was_not_fresh) {
    struct hk_span *slab = make_slab(HK_CLASS_1024);
    uint64_t bits[HK_SLAB_WORDS_MAX];
    slab->fresh = false;
    hk_slab_take_one(slab);
    CHECK_EQ(hk_slab_take_all(slab, bits), slab->blocks - 1u);
    CHECK(hk_slab_valid(slab) && hk_slab_is_exhausted(slab));
    hk_slab_give_all(slab, bits);
    CHECK(hk_slab_valid(slab));
    CHECK_EQ(available(slab), slab->blocks - 1u);
}

TEST(broken_counts_and_bits_are_noticed) {
    struct hk_span *slab = make_slab(HK_CLASS_64);
    void *taken[200];
    hk_slab_take(slab, taken, 200);
    for (int i = 0; i < 200; i += 2)
        give(slab, taken[i]);
    CHECK(hk_slab_valid(slab));
    slab->free++;
    CHECK(!hk_slab_valid(slab));
    slab->free--;
    slab->bits[1] ^= 2; /* one more free block */
    CHECK(!hk_slab_valid(slab));
    slab->bits[1] ^= 2;
    slab->bits[1] ^= 1; /* one less */
    CHECK(!hk_slab_valid(slab));
    slab->bits[1] ^= 1;
    slab->bits[1] ^= 1, slab->bits[10] ^= 1; /* the count is right, but block 640 was never used */
    CHECK(!hk_slab_valid(slab));
    slab->bits[1] ^= 1, slab->bits[10] ^= 1;
    slab->low = 2; /* words 0 and 1 have free blocks */
    CHECK(!hk_slab_valid(slab));
    slab->low = 0;
    uint16_t bump = slab->bump;
    slab->bump = (uint16_t)(slab->blocks + 1);
    CHECK(!hk_slab_valid(slab));
    slab->bump = bump;
    CHECK(hk_slab_valid(slab));
}

TEST(blocks_are_aligned_to_the_largest_power_of_two_that_divides_their_size) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        struct hk_span *slab = make_slab(class);
        size_t bytes = hk_classes[class].block_bytes;
        size_t align = bytes & -bytes;
        align = align < HK_GRANULE_BYTES ? align : HK_GRANULE_BYTES;
        for (struct hk_block block; !hk_slab_is_exhausted(slab);) {
            block = hk_slab_take_one(slab);
            AT("block_bytes", bytes);
            CHECK_EQ((uintptr_t)block.start % align, 0);
            CHECK((uintptr_t)block.start + bytes <= slab->base + slab->granules * HK_GRANULE_BYTES);
        }
        hk_span_destroy(slab);
    }
}
