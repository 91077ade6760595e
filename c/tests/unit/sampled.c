/* unit/sampled.c - the heap of sampled blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// link: fake_os
#include <hakmem.h>

#include "core/pagemap.h"
#include "debug/validate.h"
#include "fresh.h"
#include "heap/heaps.h"
#include "thread/thread.h"
#include "thread/threads.h"

static struct hk_heap *sampled(void) {
    struct hk_heap *heap = hk_thread_sampled_heap();
    REQUIRE(heap != NULL);
    return heap;
}

TEST_FRESH(the_class_map_does_not_know_sampled_blocks) {
    void *ordinary = hak_malloc(100);
    void *block = hk_heap_take_one(sampled(), HK_CLASS_112).start;
    REQUIRE(block != NULL);
    CHECK_EQ(hk_class_map_class(ordinary), HK_CLASS_112);
    CHECK_EQ(hk_class_map_class(block), HK_CLASS_NONE);
    CHECK_EQ(hk_pagemap_find(block)->class, HK_CLASS_112);
    CHECK_EQ(hk_pagemap_find(block)->kind, HK_SPAN_SAMPLED);
    CHECK_EQ(hk_pagemap_find(ordinary)->kind, HK_SPAN_PLAIN);
    CHECK_EQ(hk_validate(), 0);
}

TEST_FRESH(each_sampled_block_has_room_for_a_record_and_all_are_empty_at_first) {
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        void *block = hk_heap_take_one(sampled(), class).start;
        REQUIRE(block != NULL);
        struct hk_span *span = hk_pagemap_find(block);
        AT("class", class);
        for (uint32_t i = 0; i < span->blocks; i++) {
            CHECK(*hk_span_sample(span, i) == NULL);
            *hk_span_sample(span, i) = block;
        }
        CHECK_EQ((size_t)((char *)hk_span_sample(span, span->blocks) - (char *)span),
                 hk_span_metadata(span));
        hk_heap_give_one("free", class, block);
    }
    CHECK_EQ(hk_validate(), 0);
}

static void *allocates(void *arg) {
    CHECK(hak_malloc(100) != NULL);
    CHECK(!hk_thread_get()->heap->sampled);
    return arg;
}

TEST_FRESH(no_thread_chooses_the_heap_of_sampled_blocks) {
    fake_os.cpus = 2;
    struct hk_heap *heap = sampled();
    CHECK(hk_thread_sampled_heap() == heap);
    for (int i = 0; i < 4; i++)
        pthread_join(test_thread(allocates, NULL), NULL);
    allocates(NULL);
}
