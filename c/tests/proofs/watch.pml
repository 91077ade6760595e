/* watch.pml - a watch reaches every thread, and never one that has ended.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: thread/watch.c: hk_watch_set(), watch_switch_locked(), hk_watch_once(),
 * hk_watch_leave(). thread/tcache.c: hk_thread_use_cache_locked(), hk_thread_disable_cache().
 * thread/threads.c: hk_threads_attach(), hk_threads_park_locked(). thread/slow.c: slow_tick().
 * Left out: threads that end without a destructor, whose existence the kernel is asked about, and
 * the bins. A thread that has read its cache before the switch completes one more fast call.
 * Property: while a watch is on, no listed thread uses its own cache, except in the middle of
 * hk_watch_set(). A disabled cache stays disabled. Nobody stores into the thread-local variables
 * of a thread that has ended.
 * Size: two threads that start, make slow calls and end. One watch that starts and ends twice,
 * and one request for a trim.
 * Without: CAS RECHECK PLACE START_CHECK
 */
#define THREADS 2

mtype = { UNINITIALIZED, OWN, WATCHED, DISABLED };

mtype cache[THREADS] = UNINITIALIZED; /* hk_cache of each thread */
bool place[THREADS];                  /* hk_thread.place is not NULL */
bool gone[THREADS];                   /* the thread-local variables no longer exist */
bool watch;                           /* hk_watch_is_on() */
bool locked;                          /* THREADS */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* watch_switch_locked() for thread i */
inline switch(i) {
    if
    :: place[i] ->
        assert(!gone[i]);
#ifdef WITHOUT_CAS
        if
        :: cache[i] == OWN -> cache[i] = WATCHED
        :: else
        fi
#else
        atomic {
            if
            :: cache[i] == OWN -> cache[i] = WATCHED
            :: else
            fi
        }
#endif
    :: else
    fi
}

inline check_watched() {
    atomic {
        assert(!place[0] || cache[0] != OWN);
        assert(!place[1] || cache[1] != OWN)
    }
}

/* hk_watch_set() */
proctype watcher() {
    byte round;
    for (round : 1 .. 2) {
        lock();
        watch = true;
        switch(0);
        switch(1);
        check_watched();
        unlock();
        check_watched();
        lock();
        watch = false;
        unlock()
    }
}

/* hk_watch_once() */
proctype trimmer() {
    lock();
    switch(0);
    switch(1);
    unlock()
}

/* hk_watch_leave() */
inline leave() {
    lock();
#ifdef WITHOUT_RECHECK
    cache[self] = OWN;
#else
    if
    :: !watch -> cache[self] = OWN
    :: else
    fi;
#endif
    unlock()
}

proctype thread(byte self) {
    byte call;
    lock(); /* hk_threads_attach() */
    place[self] = true;
#ifdef WITHOUT_START_CHECK
    cache[self] = OWN;
#else
    if
    :: watch -> cache[self] = WATCHED
    :: else -> cache[self] = OWN
    fi;
#endif
    unlock();

    for (call : 1 .. 2) {
        if
        :: cache[self] != OWN && !watch -> leave() /* slow_tick(): two loads, a guess */
        :: true
        fi
    }

    cache[self] = DISABLED; /* hk_thread_disable_cache(), without the lock */
    assert(cache[self] == DISABLED);
    lock(); /* hk_park() */
#ifndef WITHOUT_PLACE
    place[self] = false;
#endif
    unlock();
    assert(cache[self] == DISABLED);
    gone[self] = true
}

init {
    atomic { run watcher(); run trimmer(); run thread(0); run thread(1) }
}
