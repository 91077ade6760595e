/* os/lock.c - the rare paths of locks. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "lock.h"

#include "check.h"
#include "os.h"

enum {
    LOCK_SPINS = 60,     /* about the time of a batch under a class lock */
    LOCK_WAIT_MS = 1000, /* until a waiting thread checks the lock's owner again */
};

struct hk_lock_counts hk_lock_counts;

HK_THREAD_LOCAL uint32_t hk_lock_thread;

/* A thread's number consists of the generation of its process and a count. */
enum { LOCK_COUNT_BITS = 25 };

static struct {
    uint32_t threads;    /* atomic; numbers given out so far */
    uint32_t generation; /* atomic; the process of `survivor` */
    uint32_t survivor;   /* atomic; the thread that forked, which keeps its number */
    void (*repairs[HK_RANK_COUNT])(struct hk_lock *lock); /* const after the start of the process */
} locks;

uint32_t hk_lock_number_thread(void) {
    uint32_t count;
    do
        count = hk_add_relaxed(&locks.threads, 1) % (1u << LOCK_COUNT_BITS); /* relaxed: a number */
    while (count == 0);
    hk_lock_thread = (hk_os_generation() << LOCK_COUNT_BITS | count) & ~HK_LOCK_WAITERS;
    return hk_lock_thread;
}

void hk_lock_set_repair(enum hk_rank rank, void (*repair)(struct hk_lock *lock)) {
    locks.repairs[rank] = repair;
}

void hk_lock_repair(struct hk_lock *lock, enum hk_rank rank) {
    if (locks.repairs[rank] != NULL)
        locks.repairs[rank](lock);
}

/* ---- Orphaned locks -------------------------------------------------------------------------- */

/* In a forked child, all threads but the first are gone, and only the first can record its number.
 * Returns false if it has not done so yet. The child handler of fork calls this at once. */
static bool locks_know_survivor(uint32_t generation) {
    /* acquire: pairs with the release below */
    if (hk_likely(hk_load_acquire(&locks.generation) == generation))
        return true;
    if (!hk_os_is_first_thread())
        return false;
    hk_store_relaxed(&locks.survivor, hk_lock_self()); /* relaxed: the release below orders it */
    hk_store_release(&locks.generation, generation);   /* release: publishes `survivor` */
    return true;
}

void hk_lock_note_fork(void) { locks_know_survivor(hk_os_generation()); }

bool hk_lock_thread_vanished(uint32_t thread) {
    uint32_t generation = hk_os_generation();
    uint32_t mine = (generation << LOCK_COUNT_BITS & ~HK_LOCK_WAITERS) >> LOCK_COUNT_BITS;
    /* relaxed: acquired in locks_know_survivor */
    return thread >> LOCK_COUNT_BITS != mine && locks_know_survivor(generation) &&
           thread != hk_load_relaxed(&locks.survivor);
}

/* Takes a lock over from a thread that did not survive fork. */
static bool lock_take_over(struct hk_lock *lock, enum hk_rank rank, uint32_t seen) {
    if (seen == 0 || !hk_lock_thread_vanished(seen & ~HK_LOCK_WAITERS))
        return false;
    /* acquire: one thread of the child wins. The parent's writes are in the child's memory. */
    if (!hk_cas_acquire(&lock->word, &seen, hk_lock_self() | HK_LOCK_WAITERS))
        return false;
    hk_lock_repair(lock, rank);
    return true;
}

bool hk_lock_try_slow(struct hk_lock *lock, enum hk_rank rank) {
    return lock_take_over(lock, rank, hk_peek(&lock->word));
}

/* ---- Waiting --------------------------------------------------------------------------------- */

static bool lock_spin(struct hk_lock *lock) {
    for (int i = 0; i < LOCK_SPINS; i++) {
        /* relaxed: a hint before the attempt */
        if (hk_load_relaxed(&lock->word) == 0 && hk_lock_take(lock))
            return true;
        hk_relax();
    }
    return false;
}

void hk_lock_slow(struct hk_lock *lock, enum hk_rank rank) {
    hk_stat_add(&hk_lock_counts.busy[rank], 1);
    if (lock_spin(lock))
        return;

    for (;;) {
        uint32_t seen = hk_peek(&lock->word);
        if (lock_take_over(lock, rank, seen))
            return;

        uint32_t wanted = seen == 0 ? hk_lock_self() | HK_LOCK_WAITERS : seen | HK_LOCK_WAITERS;
        /* acquire: pairs with hk_unlock. We keep HK_LOCK_WAITERS set because others may sleep
         * too. */
        if (seen != wanted && !hk_cas_acquire(&lock->word, &seen, wanted))
            continue;
        if (seen == 0)
            return;

        hk_stat_add(&hk_lock_counts.sleeps, 1);
        /* We wait with a limit, because the first thread of a forked child may record its number
         * late. */
        hk_os_wait_ms(&lock->word, wanted, LOCK_WAIT_MS);
    }
}

void hk_lock_try_long(struct hk_lock *lock, enum hk_rank rank) {
    while (!hk_lock_try(lock, rank))
        hk_os_sleep_ms(1);
}

void hk_unlock_slow(struct hk_lock *lock) { hk_os_wake(&lock->word); }

/* ---- Ranks, in debug builds ------------------------------------------------------------------ */

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

void hk_lock_note_none_held(void) { hk_assert(lock_held == 0); }
#else
void hk_lock_note_none_held(void) {}
void hk_lock_note_taken(enum hk_rank rank) { (void)rank; }
void hk_lock_note_released(enum hk_rank rank) { (void)rank; }
#endif
