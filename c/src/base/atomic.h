/* base/atomic.h - atomic operations with their order in the name.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: type-generic macros over the compiler's atomics. There is no operation without an
 * order in its name, so an unexplained order cannot be written. The comment at each use names its
 * counterpart or, for a relaxed operation, the reason why no order is needed.
 * Owns: nothing. Threads: any. Boundary: calls nothing.
 */
#ifndef HK_BASE_ATOMIC_H
#define HK_BASE_ATOMIC_H

#include "compiler.h"

#define hk_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define hk_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define hk_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define hk_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define hk_add_relaxed(p, v) __atomic_add_fetch((p), (v), __ATOMIC_RELAXED)
#define hk_sub_relaxed(p, v) __atomic_sub_fetch((p), (v), __ATOMIC_RELAXED)
#define hk_swap_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)
#define hk_swap_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define hk_swap_release(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELEASE)
/* Counters. They are relaxed, because a reader gets a possibly stale number and reads nothing else
 * through it. */
#define hk_stat_get(p) hk_load_relaxed(p)
#define hk_stat_set(p, v) hk_store_relaxed(p, v)
#define hk_stat_add(p, v) hk_add_relaxed(p, v)
#define hk_stat_sub(p, v) hk_sub_relaxed(p, v)

/* Variables that are stored under a lock, which orders the stores. A load without the lock is a
 * hint. Either the decision is made under the lock, or a stale value does no harm. */
#define hk_peek(p) hk_load_relaxed(p)
#define hk_store_locked(p, v) hk_store_relaxed(p, v)
#define hk_add_locked(p, v) hk_store_relaxed(p, *(p) + (v))
#define hk_sub_locked(p, v) hk_store_relaxed(p, *(p) - (v))

/* On failure *expected holds the value found. */
#define hk_cas_relaxed(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)
#define hk_cas_acquire(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define hk_cas_acq_rel(p, expected, v)                                                             \
    __atomic_compare_exchange_n((p), (expected), (v), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)

/* Whether *p equals a pointer. Relaxed. Compilers do not fold an atomic load into the
 * comparison. */
HK_FAST bool hk_equals_relaxed(void *const *p, const void *value) {
#if defined(__x86_64__) && !HK_THREAD_SANITIZER
    bool equal;
    __asm__("cmpq %2, %1" : "=@ccz"(equal) : "m"(*p), "r"(value));
    return equal;
#else
    return hk_load_relaxed(p) == value;
#endif
}

/* Adds an offset to a pointer in memory. Relaxed. Compilers do not fold an atomic load into the
 * addition, nor the address of a thread-local variable into an atomic load. */
HK_FAST void *hk_offset_relaxed(void *const *p, size_t offset) {
#if defined(__x86_64__) && !HK_THREAD_SANITIZER
    __asm__("addq %1, %0" : "+r"(offset) : "m"(*p) : "cc");
    return (void *)offset;
#else
    return (char *)hk_load_relaxed(p) + offset;
#endif
}

/* Orders memory accesses of this thread for the compiler only. It pairs with hk_os_barrier, which
 * orders them for the processor. */
#define hk_fence_compiler() __atomic_signal_fence(__ATOMIC_SEQ_CST)

/* Stores before it are seen no later than stores after it, even by a process that another thread
 * forks in between. It costs nothing on x86-64. */
#define hk_fence_stores() __atomic_thread_fence(__ATOMIC_RELEASE)

/* Tells the processor that this is a spin loop. */
HK_FAST void hk_relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory");
#endif
}

/* Raises *p to at least `value`. Relaxed, because it is a statistic: nothing is read through it. */
static inline void hk_max_relaxed(uint64_t *p, uint64_t value) {
    uint64_t seen = hk_load_relaxed(p);
    while (seen < value && !hk_cas_relaxed(p, &seen, value)) {
    }
}

#endif
