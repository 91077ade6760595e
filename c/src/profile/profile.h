/* profile/profile.h - the heap profiler.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a profile that can be started and stopped at any time. While it runs, all threads are
 * watched (thread/watch), and a sample of the allocations is recorded with their stacks. Sampled
 * small blocks come from a heap of their own, and sampled large blocks are marked in their spans.
 * So every later free of them reaches this module, even after the profile has ended.
 * Owns: the settings of the profile. Threads: any, no lock held. Takes PROFILE, and the locks of
 * the modules below.
 * Boundary: profile/samples, profile/sampler, thread/watch, thread/slow, heap/heap, hk_os_unwind.
 */
#ifndef HK_PROFILE_PROFILE_H
#define HK_PROFILE_PROFILE_H

#include "../thread/slow.h"
#include "sampler.h"

enum { HK_PROFILE_MEAN = 512 << 10 }; /* default bytes between two samples */

enum hk_unwinder { HK_UNWINDER_TABLES, HK_UNWINDER_FRAME_POINTERS };

/* Starts a profile, and discards the samples of the previous one. Returns 0, EALREADY if a profile
 * is running, or ENOMEM. */
HK_COLD int hk_profile_start(uint64_t mean, enum hk_unwinder unwinder);

/* Stops the profile. Its samples are kept, and frees of sampled blocks are still counted. */
HK_COLD void hk_profile_stop(void);

/* The times of the last profile, and its mean. */
struct hk_profile_times {
    uint64_t mean;        /* 0 if no profile was ever started */
    uint64_t calendar_ns; /* time of its start */
    uint64_t duration_ms; /* so far, or until it was stopped */
};
HK_COLD struct hk_profile_times hk_profile_times(void);

/* Counts an allocation of a watched thread. Returns true if hk_profile_sample must be called. */
HK_FAST bool hk_profile_count(size_t size) {
    return hk_unlikely(hk_sampler.number != hk_watch_number(HK_WATCHER_PROFILE)) ||
           hk_unlikely(hk_sampler_count(&hk_sampler, size));
}

/* Allocates a block if the allocation is a sample. Otherwise, and if out of memory, returns a block
 * with the start NULL. `frame` is the stack frame of a function that the program called. */
HK_COLD struct hk_block hk_profile_sample(size_t class, size_t size, size_t align,
                                          const void *frame);

/* Frees a sampled block of a span, on behalf of `function`. */
HK_COLD void hk_profile_free(const char *function, struct hk_span *span, void *block);

/* Called before and after a large block is resized. This counts as a free, and as an allocation of
 * `size` bytes. */
void hk_profile_resize_begin(struct hk_span *span);
void hk_profile_resize_end(struct hk_span *span, size_t size, const void *frame);

#endif
