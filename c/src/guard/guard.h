/* guard/guard.h - guard pages around a sample of the allocations.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a detector of memory errors, which can be started and stopped at any time. While it
 * runs, all threads are watched (thread/watch), and one allocation in many gets a slot of its own
 * (guard/slots). An access outside the block, or to it after its free, raises SIGSEGV. The report
 * (guard/print) has the stacks of the access, the allocation and the free.
 *
 * Guarded blocks are not in the class map, so every later free of them reaches this module, even
 * after the guard has been stopped. An allocation that the profiler samples is not guarded, so that
 * profiles stay exact.
 * Owns: the settings of the guard, a counter for each thread. Threads: any, no lock held. Takes
 * GUARD, and the locks of the modules below.
 * Boundary: guard/slots, guard/print, thread/watch, hk_os_unwind_from, hk_os_handle_faults.
 */
#ifndef HK_GUARD_GUARD_H
#define HK_GUARD_GUARD_H

#include "../thread/watch.h"

enum { HK_GUARD_SLOTS = 128 }; /* by default */
#define HK_GUARD_RATE_MAX (UINT64_C(1) << 32)

/* Guards about one allocation in `rate`, at most `slots` blocks at once. Returns 0, EALREADY if the
 * guard runs, EINVAL if a number is out of range, or ENOMEM. */
HK_COLD int hk_guard_start(uint64_t rate, uint32_t slots);

/* Starts the guard if the option guard_rate asks for it. */
HK_COLD void hk_guard_start_by_option(void);

/* Stops guarding new blocks. Guarded blocks stay guarded until they are freed. */
HK_COLD void hk_guard_stop(void);

struct hk_guard_counter {
    uint64_t left;   /* allocations before the next guarded one */
    uint64_t random; /* state of the generator; 0 before the first use */
    uint32_t number; /* of the watch that `left` belongs to */
    bool inside;     /* the thread is recording a stack */
};
extern HK_THREAD_LOCAL struct hk_guard_counter hk_guard_counter;

/* Counts an allocation of a watched thread. Returns true if hk_guard_alloc must be called. */
HK_FAST bool hk_guard_count(void) {
    struct hk_guard_counter *counter = &hk_guard_counter;
    if (hk_unlikely(counter->number != hk_watch_number(HK_WATCHER_GUARD)) ||
        hk_unlikely(counter->left == 0))
        return true;
    counter->left--;
    return false;
}

/* Allocates a block if the allocation is to be guarded. Otherwise, and if the block is too large or
 * there is no slot or memory, returns a block with the start NULL. `frame` is the stack frame of a
 * function that the program called. */
HK_COLD struct hk_block hk_guard_alloc(size_t size, size_t align, const void *frame);

/* The reason why `block` is not the live block of a guarded span, or NULL if it is. */
HK_COLD const char *hk_guard_cause(const struct hk_span *span, const void *block);

/* Frees a guarded block on behalf of `function`. `frame` is as for hk_guard_alloc. */
HK_COLD void hk_guard_free(const char *function, struct hk_span *span, void *block,
                           const void *frame);

#endif
