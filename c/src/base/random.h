/* base/random.h - random numbers for sampling.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a fast generator, whose numbers an attacker can predict.
 * Owns: nothing. Threads: a state belongs to its caller. Boundary: calls nothing.
 */
#ifndef HK_BASE_RANDOM_H
#define HK_BASE_RANDOM_H

#include "compiler.h"

/* xorshift64*, by S. Vigna. The state is never 0. The high bits are better than the low ones. */
static inline uint64_t hk_random(uint64_t *state) {
    uint64_t x = *state;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *state = x;
    return x * UINT64_C(0x2545F4914F6CDD1D);
}

/* A state for a thread and a run: `place` is an address of the thread, and `now` a time. */
static inline uint64_t hk_random_seed(const void *place, uint64_t now) {
    uint64_t state = (uintptr_t)place ^ now << 16 ^ now >> 48;
    state += state == 0;
    for (int i = 0; i < 8; i++)
        hk_random(&state);
    return state;
}

#endif
