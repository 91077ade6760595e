/* unit/size_class.c - compares the table and its formulas with a naive search.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
// timeout: 120
#include "core/size_class.h"

#include "test.h"

/* Returns the smallest class for the size and alignment. The 8-byte class is used only if the
 * caller requests an alignment that small. */
static size_t model_class(size_t size, size_t align) {
    size_t best = HK_CLASS_NONE;
    size_t wanted = align > HK_MALLOC_ALIGN ? align : HK_MALLOC_ALIGN;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        size_t bytes = hk_classes[class].block_bytes;
        bool aligned = bytes % wanted == 0 || (class == HK_CLASS_8 && align <= 8);
        if (bytes >= size && aligned &&
            (best == HK_CLASS_NONE || bytes < hk_classes[best].block_bytes))
            best = class;
    }
    return best;
}

TEST(malloc_takes_the_smallest_class_that_holds_the_size) {
    for (size_t size = 0; size <= HK_CLASS_MAX_BYTES + 1; size++) {
        AT("size", size);
        CHECK_EQ(hk_class_of(size), model_class(size, HK_MALLOC_ALIGN));
    }
    CHECK_EQ(hk_class_of(SIZE_MAX), HK_CLASS_NONE);
    CHECK_EQ(hk_class_of(PTRDIFF_MAX), HK_CLASS_NONE);
}

TEST(a_layout_of_malloc_alignment_takes_the_smallest_class) {
    for (size_t align = 1; align <= HK_MALLOC_ALIGN; align *= 2) {
        for (size_t size = 0; size <= 1100; size++) {
            AT("size align", size, align);
            CHECK_EQ(hk_class_of_layout(size, align), model_class(size, align));
        }
    }
}

TEST(every_layout_gets_a_class_that_holds_and_aligns_it_without_waste) {
    for (size_t align = 2 * HK_MALLOC_ALIGN; align <= HK_GRANULE_BYTES; align *= 2) {
        for (size_t size = 0; size <= HK_CLASS_MAX_BYTES; size++) {
            size_t class = hk_class_of_layout(size, align);
            size_t rounded = hk_round_up(size + (size == 0), align);
            AT("size align", size, align);
            CHECK(class != HK_CLASS_NONE && class != HK_CLASS_8);
            CHECK_EQ(hk_classes[class].block_bytes % align, 0);
            CHECK_EQ(class, hk_class_of(rounded));
        }
    }
}

TEST(what_is_too_large_or_too_aligned_has_no_class) {
    for (size_t align = 1; align <= HK_GRANULE_BYTES; align *= 2) {
        CHECK_EQ(hk_class_of_layout(HK_CLASS_MAX_BYTES + 1, align), HK_CLASS_NONE);
        CHECK_EQ(hk_class_of_layout(SIZE_MAX, align), HK_CLASS_NONE);
        CHECK_EQ(hk_class_of_layout(SIZE_MAX - align + 1, align), HK_CLASS_NONE);
    }
    CHECK_EQ(hk_class_of_layout(1, 2 * HK_GRANULE_BYTES), HK_CLASS_NONE);
    CHECK_EQ(hk_class_of_layout(0, (size_t)1 << 63), HK_CLASS_NONE);
}

TEST(the_index_is_exact_at_blocks_and_its_product_differs_elsewhere) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hk_class *row = &hk_classes[class];
        for (uint32_t offset = 0; offset < row->granules * HK_GRANULE_BYTES; offset++) {
            uint32_t index = hk_class_index(row, offset);
            AT("block_bytes offset", row->block_bytes, offset);
            if (offset % row->block_bytes == 0)
                CHECK_EQ(index, offset / row->block_bytes);
            else
                CHECK(index * row->block_bytes != offset);
        }
    }
}

TEST(the_start_of_a_block_is_told_by_its_address_where_slabs_have_one_granule) {
    CHECK(!hk_class_is_start(&hk_classes[HK_CLASS_NONE], 0));
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hk_class *row = &hk_classes[class];
        uint32_t end = (uint32_t)row->blocks * row->block_bytes;
        for (uint32_t offset = 0; offset < HK_GRANULE_BYTES; offset++) {
            AT("block_bytes offset", row->block_bytes, offset);
            CHECK_EQ(hk_class_is_start(row, 7 * HK_GRANULE_BYTES + offset),
                     row->granules == 1 && offset % row->block_bytes == 0 && offset < end);
        }
    }
}

TEST(rows_are_within_the_limits_that_the_code_assumes) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hk_class *row = &hk_classes[class];
        AT("block_bytes", row->block_bytes);
        CHECK(row->blocks >= 1);
        CHECK_EQ(row->blocks, row->granules * HK_GRANULE_BYTES / row->block_bytes);
        CHECK(row->depth >= 1 && row->initial >= 1 && row->initial <= row->depth);
        CHECK_LE(row->prewarm, row->depth);
        CHECK(row->block_bytes % HK_MALLOC_ALIGN == 0 || class == HK_CLASS_8);
        CHECK(row->block_bytes < HK_GRANULE_BYTES || row->block_bytes % HK_GRANULE_BYTES != 0 ||
              row->granules * HK_GRANULE_BYTES % row->block_bytes == 0);
    }
}

TEST(classes_but_the_last_rise_by_at_most_an_eighth_above_128_bytes) {
    for (size_t class = 2; class < HK_CLASS_8; ++class) {
        uint32_t bytes = hk_classes[class].block_bytes, below = hk_classes[class - 1].block_bytes;
        AT("block_bytes", bytes);
        CHECK(bytes > below);
        /* The steps to 12, 16 and 20 KiB, and those above 52 KiB, are wider, because they are whole
         * pages. */
        if (bytes > 128 && bytes <= HK_MID_MAX)
            CHECK_LE(bytes - below, below / 8);
    }
    CHECK_EQ(hk_classes[HK_CLASS_COUNT - 2].block_bytes, HK_CLASS_MAX_BYTES);
}

TEST(prewarming_everything_costs_less_than_2_mb) {
    size_t bytes = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class)
        bytes += (size_t)hk_classes[class].block_bytes * hk_classes[class].prewarm;
    CHECK(bytes > 0 && bytes < 2 * 1000 * 1000);
}
