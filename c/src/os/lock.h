/* os/lock.h - locks of four bytes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a mutual exclusion lock that spins a little and then sleeps. All zero is unlocked.
 * The state machine is the third one of U. Drepper, "Futexes Are Tricky" (2011).
 * Owns: counts of waiting; in debug builds, the set of ranks that each thread holds.
 * Threads: any. Ranks: lock.def; debug builds abort when a lock is taken out of order.
 * Boundary: hk_os_wait and hk_os_wake.
 */
#ifndef HK_OS_LOCK_H
#define HK_OS_LOCK_H

#include "../base/atomic.h"

struct hk_lock {
    uint32_t word; /* atomic: 0 free, 1 held, 2 held and somebody may sleep */
};

enum hk_rank {
#define LOCK(name, protects) HK_RANK_##name,
#include "lock.def"
#undef LOCK
    HK_RANK_COUNT
};

/* All atomic. On cache lines of their own: what else lay there would suffer from others' waiting. */
struct hk_lock_counts {
    uint64_t busy[HK_RANK_COUNT]; /* times that a lock of this rank was found taken */
    uint64_t sleeps;              /* times that a thread went to sleep for a lock */
} HK_CACHE_ALIGNED;

extern struct hk_lock_counts hk_lock_counts;

void hk_lock_slow(struct hk_lock *lock, enum hk_rank rank);
void hk_lock_wait(struct hk_lock *lock);
void hk_unlock_slow(struct hk_lock *lock);

/* Debug builds only. */
void hk_lock_note_taken(enum hk_rank rank);
void hk_lock_note_released(enum hk_rank rank);

static inline bool hk_lock_take(struct hk_lock *lock) {
    uint32_t free = 0;
    /* acquire: sees what the last holder wrote; pairs with the release in hk_unlock_unranked */
    return hk_cas_acquire(&lock->word, &free, 1);
}

static inline bool hk_lock_try(struct hk_lock *lock, enum hk_rank rank) {
    bool taken = hk_lock_take(lock);
    if (HK_DEBUG && taken)
        hk_lock_note_taken(rank);
    return taken;
}

/* Without the check of ranks and the count: for fork handlers, which hold all locks at once. */
static inline void hk_lock_unranked(struct hk_lock *lock) {
    if (hk_unlikely(!hk_lock_take(lock)))
        hk_lock_wait(lock);
}

static inline void hk_unlock_unranked(struct hk_lock *lock) {
    /* release: publishes what was done under the lock; pairs with the acquire in hk_lock_take */
    if (hk_unlikely(hk_swap_release(&lock->word, 0) == 2))
        hk_unlock_slow(lock);
}

static inline void hk_lock(struct hk_lock *lock, enum hk_rank rank) {
    if (hk_unlikely(!hk_lock_take(lock)))
        hk_lock_slow(lock, rank);
    if (HK_DEBUG)
        hk_lock_note_taken(rank);
}

static inline void hk_unlock(struct hk_lock *lock, enum hk_rank rank) {
    if (HK_DEBUG)
        hk_lock_note_released(rank);
    hk_unlock_unranked(lock);
}

/* Makes a lock free that a thread of the parent may have held: in a forked child only. */
static inline void hk_lock_reset(struct hk_lock *lock) {
    hk_store_relaxed(&lock->word, 0); /* relaxed: the child has one thread */
}

#endif
