/* profile/sampler.h - the choice of samples.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a Poisson process over the allocated bytes of a thread. The distances between samples
 * are exponentially distributed, so an allocation of `size` bytes is sampled with the probability
 * 1 - exp(-size / mean), regardless of earlier allocations. The weight of a sample is the inverse
 * of this probability.
 * Owns: a state for each thread. Threads: each uses only its own state. Boundary: the clock.
 */
#ifndef HK_PROFILE_SAMPLER_H
#define HK_PROFILE_SAMPLER_H

#include "../base/compiler.h"

struct hk_sampler {
    uint64_t left;   /* bytes before the next sample */
    uint64_t random; /* state of the generator; 0 before the first use */
    uint32_t number; /* of the profile that `left` belongs to */
    bool inside;     /* the thread is taking a sample */
};

extern HK_THREAD_LOCAL struct hk_sampler hk_sampler;

/* Draws the distance to the next sample. With a mean of at most 1, it is 0. */
HK_COLD void hk_sampler_draw(struct hk_sampler *sampler, uint64_t mean);

/* Counts an allocation. Returns true if it is a sample. */
HK_FAST bool hk_sampler_count(struct hk_sampler *sampler, size_t size) {
    if (hk_unlikely(size >= sampler->left))
        return true;
    sampler->left -= size;
    return false;
}

enum { HK_SAMPLER_ONE = 1 << 16 }; /* weights have 16 fractional bits */

/* The number of allocations that a sample stands for, in units of 1 / HK_SAMPLER_ONE, and their
 * bytes. */
struct hk_weight {
    uint64_t objects;
    uint64_t bytes;
};
HK_COLD struct hk_weight hk_sampler_weight(size_t size, uint64_t mean);

#endif
