/* bias.pml - the owner of a part of a private heap and other threads are never inside at once.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: own/hold.h and own/hold.c: hk_own_enter(), hk_own_leave(), hk_own_lock(),
 * hk_own_lock_slow(), hk_own_withdraw(), own_await(), hk_own_unlock(), and of own/take.c
 * own_give_up().
 * Left out: fork, a refused barrier, the count until the owner gets the bias back (here at once),
 * and the waiting for the lock. Stores of the owner to `inside` wait in a buffer until the next one,
 * until the processor writes them, or until a barrier.
 * Property: one thread at a time is inside, and all threads finish.
 * Size: an owner that enters three times and then gives the part up, and two threads that enter
 * twice.
 * Without: SECOND_LOOK BARRIER AWAIT
 */
#define ROUNDS_OWNER 3
#define ROUNDS 2

bool bias = true;  /* towards the owner */
bool locked;       /* part->lock */
bool inside;       /* of the owner's place, as other threads see it */
bool buffered;     /* a store to `inside` waits, */
bool value;        /* and its value */
byte users;        /* threads that use the part */
bool done;         /* the owner has finished */

inline flush() {
    atomic {
        if
        :: buffered -> inside = value; buffered = false
        :: else
        fi
    }
}

inline store(new) {
    flush();
    atomic { value = new; buffered = true }
}

inline use() {
    users++;
    assert(users == 1);
    users--
}

inline lock() { atomic { !locked -> locked = true } }

/* hk_own_withdraw() and own_await() */
inline withdraw() {
    bias = false;
#ifndef WITHOUT_BARRIER
    flush(); /* hk_os_barrier() */
#endif
#ifndef WITHOUT_AWAIT
    !inside
#else
    skip
#endif
}

active proctype owner() {
    byte round;
    bool entered;
    for (round : 1 .. ROUNDS_OWNER) {
        entered = false;
        if
        :: bias -> /* hk_own_enter() */
            store(true);
#ifdef WITHOUT_SECOND_LOOK
            entered = true
#else
            if
            :: bias -> entered = true
            :: else -> store(false)
            fi
#endif
        :: else
        fi;

        if
        :: entered ->
            use();
            store(false) /* hk_own_leave() */
        :: else ->
            lock(); /* hk_own_lock_slow() */
            bias = true;
            use();
            locked = false /* hk_own_unlock() */
        fi
    }

    if
    :: bias -> /* own_give_up() */
        store(true);
        if
        :: bias ->
            use();
            bias = false
        :: else
        fi;
        store(false)
    :: else
    fi;
    flush();
    done = true
}

active [2] proctype other() {
    byte round;
    for (round : 1 .. ROUNDS) {
        lock(); /* hk_own_lock() */
        if
        :: bias -> withdraw()
        :: else
        fi;
        use();
        locked = false
    }
}

/* The processor writes buffered stores at any time. */
active proctype processor() {
    do
    :: buffered -> flush()
    :: done -> break
    od
}
