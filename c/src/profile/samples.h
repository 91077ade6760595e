/* profile/samples.h - the recorded samples.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a record for each live sampled block, and one for each distinct stack, with the sums
 * of its samples. A block leads to its sample, and the sample to its stack. A sample of an earlier
 * profile stays until its block is freed, but no longer counts.
 * Owns: the records, in metadata. Threads: any. Takes SAMPLES. Boundary: core/meta.
 */
#ifndef HK_PROFILE_SAMPLES_H
#define HK_PROFILE_SAMPLES_H

#include "../os/lock.h"
#include "sampler.h"

enum { HK_STACK_FRAMES = 64 };

/* The values of a stack. The first two are sums since the start of the profile, and the others are
 * of live blocks. */
enum hk_value {
    HK_VALUE_ALLOC_OBJECTS, /* in units of 1 / HK_SAMPLER_ONE, like the other objects */
    HK_VALUE_ALLOC_SPACE,
    HK_VALUE_INUSE_OBJECTS,
    HK_VALUE_INUSE_SPACE,
    HK_VALUES
};

struct hk_stack {
    struct hk_stack *next;      /* lock:SAMPLES; list of one hash chain */
    uint64_t values[HK_VALUES]; /* lock:SAMPLES */
    uint32_t hash;              /* const */
    uint32_t depth;             /* const; frames */
    uintptr_t frames[];         /* const; return addresses, innermost first */
};

/* An allocation to record. */
struct hk_allocation {
    size_t size;
    uint32_t number; /* of the profile */
    uint32_t depth;
    uintptr_t frames[HK_STACK_FRAMES];
};

/* Records a sample of a profile with this mean in *place. Does nothing if another profile has
 * started since, or if out of memory. */
HK_COLD void hk_samples_add(void **place, const struct hk_allocation *allocation, uint64_t mean);

/* Removes the sample in *place, because its block is freed. *place may be NULL. */
HK_COLD void hk_samples_remove(void **place);

/* Discards all stacks, and starts a profile with this number. */
HK_COLD void hk_samples_restart(uint32_t number);

/* The number of stacks, and the total number of their frames. */
struct hk_samples_size {
    size_t stacks;
    size_t frames;
};
HK_COLD struct hk_samples_size hk_samples_size(void);

/* Calls `visit` for each stack, under the SAMPLES lock, until it returns false. Returns true if it
 * never did. */
HK_COLD bool hk_samples_each(bool (*visit)(void *arg, const struct hk_stack *stack), void *arg);

#endif
