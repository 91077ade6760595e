/* counters.h - the counts of the calling thread. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef TEST_COUNTERS_H
#define TEST_COUNTERS_H

#include <hakmem.h>

#include "test.h"

static struct hak_thread_counters counters(void) {
    struct hak_thread_counters now;
    hak_thread_counters(&now, sizeof now);
    return now;
}

/* The counts of the calling thread since `before`. */
static struct hak_thread_counters since(struct hak_thread_counters before) {
    struct hak_thread_counters now = counters();
    return (struct hak_thread_counters){
        now.bytes_allocated - before.bytes_allocated, now.bytes_freed - before.bytes_freed,
        now.blocks_allocated - before.blocks_allocated, now.blocks_freed - before.blocks_freed};
}

#define CHECK_COUNTED(before, allocated, freed, blocks_in, blocks_out)                             \
    do {                                                                                           \
        struct hak_thread_counters counted = since(before);                                        \
        CHECK_EQ(counted.bytes_allocated, allocated);                                              \
        CHECK_EQ(counted.bytes_freed, freed);                                                      \
        CHECK_EQ(counted.blocks_allocated, blocks_in);                                             \
        CHECK_EQ(counted.blocks_freed, blocks_out);                                                \
    } while (0)

#endif
