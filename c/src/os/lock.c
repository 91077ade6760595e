/* os/lock.c - the rare paths of locks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "lock.h"

#include "check.h"
#include "os.h"

enum { LOCK_SPINS = 60 }; /* about the time of a batch under a class lock */

struct hk_lock_counts hk_lock_counts;

void hk_lock_wait(struct hk_lock *lock) {
    for (int i = 0; i < LOCK_SPINS; i++) {
        uint32_t free = 0;
        /* relaxed load: a look before the attempt; acquire: pairs with hk_unlock */
        if (hk_load_relaxed(&lock->word) == 0 && hk_cas_acquire(&lock->word, &free, 1))
            return;
        hk_relax();
    }
    /* acquire: pairs with hk_unlock. The word is left at 2, as others may sleep too. */
    while (hk_swap_acquire(&lock->word, 2) != 0) {
        hk_add_relaxed(&hk_lock_counts.sleeps, 1); /* relaxed: a statistic */
        hk_os_wait(&lock->word, 2);
    }
}

void hk_lock_slow(struct hk_lock *lock, enum hk_rank rank) {
    hk_add_relaxed(&hk_lock_counts.busy[rank], 1); /* relaxed: a statistic */
    hk_lock_wait(lock);
}

void hk_unlock_slow(struct hk_lock *lock) { hk_os_wake(&lock->word); }

#if HK_DEBUG
static HK_THREAD_LOCAL uint32_t lock_held; /* bit r: a lock of rank r is held */

void hk_lock_note_taken(enum hk_rank rank) {
    hk_assert((lock_held >> rank) == 0);
    lock_held |= 1u << rank;
}

void hk_lock_note_released(enum hk_rank rank) {
    hk_assert((lock_held >> rank) & 1);
    lock_held &= ~(1u << rank);
}
#else
void hk_lock_note_taken(enum hk_rank rank) { (void)rank; }
void hk_lock_note_released(enum hk_rank rank) { (void)rank; }
#endif
