/* lock.pml - a lock excludes threads, and no wake-up is lost.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: os/lock.h and os/lock.c: hk_lock_take(), hk_lock_slow(), lock_spin(), hk_unlock(),
 * hk_unlock_slow(), and the futex behind hk_os_wait_ms() and hk_os_wake().
 * Left out: memory orders, fork (fork.pml), and the time limit of a sleep. Without that limit, a
 * lost wake-up is a deadlock. A thread spins once.
 * Property: one thread at a time is inside, and all threads finish.
 * Size: three threads that each take the lock twice.
 * Without: WAITERS_KEPT SWAP WAKE EXPECTED
 */
#define THREADS 3
#define ROUNDS 2
#define WAITERS 8 /* HK_LOCK_WAITERS */

byte word;                /* of the lock */
byte inside;              /* threads that hold it */
bool asleep[THREADS + 1]; /* threads that the futex holds */

/* hk_lock_take() */
inline take() {
    atomic {
        if
        :: word == 0 -> word = self; done = true
        :: else -> done = false
        fi
    }
}

/* The compare and swap of hk_lock_slow() */
inline exchange() {
    atomic {
        if
        :: word == seen -> word = wanted; done = true
        :: else -> done = false
        fi
    }
}

/* hk_os_wait_ms() compares and falls asleep in one step. */
inline sleep() {
#ifdef WITHOUT_EXPECTED
    asleep[self] = true;
#else
    atomic {
        if
        :: word == wanted -> asleep[self] = true
        :: else
        fi
    }
#endif
    !asleep[self]
}

/* hk_os_wake() wakes any one of the sleepers. */
inline wake() {
    atomic {
        if
        :: asleep[1] -> asleep[1] = false
        :: asleep[2] -> asleep[2] = false
        :: asleep[3] -> asleep[3] = false
        :: !asleep[1] && !asleep[2] && !asleep[3]
        fi
    }
}

inline lock_slow() {
    do
    :: seen = word;
        if
#ifdef WITHOUT_WAITERS_KEPT
        :: seen == 0 -> wanted = self
#else
        :: seen == 0 -> wanted = self | WAITERS
#endif
        :: else -> wanted = seen | WAITERS
        fi;
        done = true;
        if
        :: seen != wanted -> exchange()
        :: else
        fi;
        if
        :: !done
        :: done && seen == 0 -> break
        :: done && seen != 0 -> sleep()
        fi
    od
}

inline unlock() {
#ifdef WITHOUT_SWAP
    seen = word;
    word = 0;
#else
    atomic { seen = word; word = 0 };
#endif
#ifndef WITHOUT_WAKE
    if
    :: seen & WAITERS -> wake()
    :: else
    fi
#endif
}

proctype thread(byte self) {
    byte seen, wanted, round;
    bool done;
    for (round : 1 .. ROUNDS) {
        take(); /* hk_lock() */
        if
        :: !done -> take() /* lock_spin() */
        :: else
        fi;
        if
        :: !done -> lock_slow()
        :: else
        fi;
        inside++;
        assert(inside == 1);
        inside--;
        unlock()
    }
}

init {
    atomic { run thread(1); run thread(2); run thread(3) }
}
