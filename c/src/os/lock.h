/* os/lock.h - four-byte locks that survive fork.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a mutual exclusion lock that spins a little and then sleeps, as in U. Drepper,
 * "Futexes Are Tricky" (2011). The word holds the number of the owning thread, which makes the lock
 * robust. Fork takes no lock, so a forked child may find a lock that a thread of its parent held in
 * the middle of an update. The next thread that wants such an orphaned lock takes it over and
 * repairs the structure behind it first. POSIX robust mutexes (EOWNERDEAD) are the model.
 * Owns: the numbers of threads, the counts of waits, and in debug builds the ranks that each thread
 * holds.
 * Threads: any. Ranks: lock.def. Debug builds abort when a lock is taken out of order.
 * Boundary: hk_os_wait, hk_os_wake, hk_os_generation, and the repair functions of the modules
 * above.
 */
#ifndef HK_OS_LOCK_H
#define HK_OS_LOCK_H

#include "../base/atomic.h"

struct hk_lock {
    uint32_t
        word; /* atomic: 0 free, else the owner's number, with HK_LOCK_WAITERS if one may sleep */
};

#define HK_LOCK_WAITERS (UINT32_C(1) << 31)

enum hk_rank {
#define LOCK(name, protects) HK_RANK_##name,
#include "lock.def"
#undef LOCK
    HK_RANK_COUNT
};

/* All fields are atomic. They have cache lines of their own, because waiting threads write to
 * them. */
struct hk_lock_counts {
    uint64_t busy[HK_RANK_COUNT]; /* attempts that found a lock of this rank taken */
    uint64_t sleeps;              /* sleeps of threads that waited for a lock */
} HK_CACHE_ALIGNED;

extern struct hk_lock_counts hk_lock_counts;

/* The calling thread's number, or 0 until it takes its first lock. The thread of a forked child
 * keeps it. */
extern HK_THREAD_LOCAL uint32_t hk_lock_thread;

uint32_t hk_lock_number_thread(void);
void hk_lock_slow(struct hk_lock *lock, enum hk_rank rank);
bool hk_lock_try_slow(struct hk_lock *lock, enum hk_rank rank);
void hk_unlock_slow(struct hk_lock *lock);

/* Debug builds only. */
void hk_lock_note_taken(enum hk_rank rank);
void hk_lock_note_released(enum hk_rank rank);
void hk_lock_note_none_held(void); /* asserts it */

/* Sets the function that repairs the structure behind an orphaned lock of a rank. It runs with the
 * lock held, in a forked child, before the new holder continues. A rank without such a function
 * needs no repair. */
void hk_lock_set_repair(enum hk_rank rank, void (*repair)(struct hk_lock *lock));

/* Calls that function, for a lock that the caller holds. */
void hk_lock_repair(struct hk_lock *lock, enum hk_rank rank);

/* Whether the thread with that number belonged to a parent process and does not exist in this
 * one. */
bool hk_lock_thread_vanished(uint32_t thread);

/* Called by the first thread of a forked child. Records that this thread still exists, although its
 * number is from the parent. Orphaned locks are taken over only after that. */
void hk_lock_note_fork(void);

static inline uint32_t hk_lock_self(void) {
    uint32_t self = hk_lock_thread;
    return hk_likely(self != 0) ? self : hk_lock_number_thread();
}

static inline bool hk_lock_take(struct hk_lock *lock) {
    uint32_t free = 0;
    /* acquire: sees the writes of the last holder. It pairs with the release in hk_unlock. */
    return hk_cas_acquire(&lock->word, &free, hk_lock_self());
}

static inline bool hk_lock_try(struct hk_lock *lock, enum hk_rank rank) {
    bool taken = hk_lock_take(lock) || hk_lock_try_slow(lock, rank);
    if (HK_DEBUG && taken)
        hk_lock_note_taken(rank);
    return taken;
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
    /* release: publishes the writes under the lock. It pairs with the acquire in hk_lock_take. */
    if (hk_unlikely(hk_swap_release(&lock->word, 0) & HK_LOCK_WAITERS))
        hk_unlock_slow(lock);
}

/* Unlocks a lock for which no thread ever waits, because all threads only try it. A plain store,
 * unlike a locked instruction, does not wait for pending stores of the program. */
static inline void hk_unlock_tried(struct hk_lock *lock, enum hk_rank rank) {
    if (HK_DEBUG)
        hk_lock_note_released(rank);
    hk_store_release(&lock->word, 0); /* release: as in hk_unlock */
}

/* Takes such a lock, with pauses between the attempts. */
void hk_lock_try_long(struct hk_lock *lock, enum hk_rank rank);

#endif
