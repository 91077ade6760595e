/* single.c - random operation sequences in one thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
// env: HAKMEM_PURGE_THREAD_MB=0
// timeout: 120
// variant: HAKMEM_CHECKS=1
// variant: HAKMEM_PURGE_THREAD_MB=1 HAKMEM_PURGE_DELAY_MS=1
// variant: HAKMEM_PREWARM=all
// variant: HAKMEM_THREAD_CACHE_KB=0 HAKMEM_PURGE_DELAY_MS=0 HAKMEM_LARGE_CACHE_MB=0
// variant: HAKMEM_GUARD_RATE=3 HAKMEM_GUARD_SLOTS=1000
#include "model.h"

enum { STREAM_BYTES = 400000, SEEDS = 12 };

static void run_seed(uint64_t seed) {
    static uint8_t stream[STREAM_BYTES];
    uint64_t random = test_seed(seed);
    for (size_t i = 0; i < STREAM_BYTES; i++)
        stream[i] = (uint8_t)(test_random(&random) >> 32);
    struct hak_stats before, after;
    hak_stats(&before, sizeof before);
    model_run(stream, STREAM_BYTES);
    test_place.names = NULL;
    hak_stats(&after, sizeof after);
    model_check_live(before.bytes_live, after.bytes_live);
    CHECK_EQ(after.bytes_large, before.bytes_large);
    CHECK_EQ(hak_validate(), 0);
    CHECK_EQ(after.errors, 0);
}

TEST(the_allocator_agrees_with_the_model_for_fixed_seeds) {
    for (uint64_t seed = 1; seed <= SEEDS && !test_state.failures; seed++)
        run_seed(seed);
}

/* Prints its seed when it fails. */
TEST(the_allocator_agrees_with_the_model_for_a_new_seed) { run_seed(test_now_ns()); }

TEST(the_allocator_agrees_with_the_model_for_short_streams) {
    uint64_t random = test_seed(99);
    for (size_t round = 0; round < 3000; round++) {
        uint8_t stream[96];
        for (size_t i = 0; i < sizeof stream; i++)
            stream[i] = (uint8_t)(test_random(&random) >> 32);
        model_run(stream, test_random(&random) % sizeof stream);
    }
    CHECK_EQ(hak_validate(), 0);
}
