/* fork.pml - a forked child takes over the lock of a class and a purge that had begun.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: os/lock.c: lock_take_over(), hk_lock_thread_vanished(), locks_know_survivor().
 * heap/repair.c: hk_heap_repair_class(), repair_slab(), repair_end_of_purge(),
 * hk_heap_repair_purge(). heap/scan.c: scan_purge_slab(), hk_heap_end_purge(). core/slab.c:
 * hk_slab_take_all(), hk_slab_give_all(). heap/heap.c: hk_heap_take(). heap/give.c:
 * give_to_slab().
 * Left out: the arena and the list of slabs, which repairs rebuild from the pagemap. The kernel
 * copies stores in their order, so a vanished thread has executed the first so many of its steps.
 * Property: in the child, one thread at a time is under the lock, and the first one has repaired
 * the slab. The surviving thread keeps a lock that it holds. No block is allocated twice or free
 * while a thread of the child holds it.
 * Size: a slab of two words of two blocks each. A thread that purges twice and a thread that
 * takes and frees stop at any step, or the forking thread holds the lock. Then two threads of the
 * child take and free blocks, and one of them repairs the purge at any time.
 * Without: CAS SURVIVOR_ORDER END_OF_PURGE REPAIR
 */
#define BLOCKS 4
#define WORD(block) ((block) / 2)

#define PURGER 1   /* the threads of the parent */
#define WORKER 2
#define SURVIVOR 3 /* the thread that forks; it keeps its number */
#define CHILD 4    /* a thread that the child starts, numbered in its generation */

byte word;             /* the lock of the class: 0, or its holder */
bool set[BLOCKS];      /* hk_span.bits: free */
byte free;             /* hk_span.free */
bool purging;          /* hk_heap.purging */
bool taken[BLOCKS];    /* hk_heap.purging_bits */

bool forked;           /* no thread of the parent takes another step */
byte known_survivor;   /* locks.survivor */
bool knows_survivor;   /* locks.generation is that of the child */
byte inside;           /* threads of the child under the lock */
byte held[BLOCKS];     /* the thread of the child that holds the block */

/* ---- The parent ---- */

/* A word changes with one store. hk_slab_take_all() */
inline parent_take_all() {
    for (i : 0 .. 1) {
        atomic { taken[2 * i] = set[2 * i]; taken[2 * i + 1] = set[2 * i + 1] };
        atomic { set[2 * i] = false; set[2 * i + 1] = false }
    }
    free = 0
}

/* hk_slab_give_all() */
inline parent_give_all() {
    for (i : 0 .. 1) {
        free = free + (taken[2 * i] && !set[2 * i] -> 1 : 0) +
               (taken[2 * i + 1] && !set[2 * i + 1] -> 1 : 0);
        atomic {
            set[2 * i] = set[2 * i] || taken[2 * i];
            set[2 * i + 1] = set[2 * i + 1] || taken[2 * i + 1]
        }
    }
}

inline parent_lock(self) { atomic { word == 0 -> word = self } }

/* scan_purge_slab() */
proctype purger() {
    byte i, round;
    {
        for (round : 1 .. 2) {
            parent_lock(PURGER);
            parent_take_all();
            purging = true;
            word = 0;
            parent_lock(PURGER);
            parent_give_all();
            purging = false;
            word = 0
        }
    } unless { forked }
}

/* Takes a block and frees it. */
proctype worker() {
    byte mine = BLOCKS;
    {
        parent_lock(WORKER);
        if
        :: set[0] -> set[0] = false; mine = 0; free--
        :: !set[0] && set[2] -> set[2] = false; mine = 2; free--
        :: !set[0] && !set[2]
        fi;
        word = 0;
        if
        :: mine < BLOCKS ->
            parent_lock(WORKER);
            set[mine] = true;
            free++;
            word = 0
        :: else
        fi
    } unless { forked }
}

/* ---- The child ---- */

/* locks_know_survivor() in the first thread */
inline note_survivor() {
#ifdef WITHOUT_SURVIVOR_ORDER
    knows_survivor = true;
    known_survivor = SURVIVOR
#else
    known_survivor = SURVIVOR;
    knows_survivor = true
#endif
}

/* The end of hk_heap_end_purge() */
inline end_purge() {
    d_step {
        for (i : 0 .. BLOCKS - 1) { set[i] = set[i] || taken[i] }
        free = set[0] + set[1] + set[2] + set[3]
    };
    purging = false
}

/* hk_heap_repair_class(), by the thread that took the lock over */
inline repair() {
#ifdef WITHOUT_REPAIR
    skip
#else
#ifndef WITHOUT_END_OF_PURGE
    if /* repair_end_of_purge() */
    :: purging && ((set[0] && taken[0]) || (set[1] && taken[1]) || (set[2] && taken[2]) ||
                   (set[3] && taken[3])) ->
        end_purge()
    :: else
    fi;
#endif
    free = set[0] + set[1] + set[2] + set[3] /* repair_slab() */
#endif
}

inline enter() { inside++; assert(inside == 1) }
inline unlock() { atomic { inside--; word = 0 } }

/* Takes the lock, or takes it over: hk_lock_slow(), lock_take_over() */
inline lock() {
    do
    :: atomic { word == 0 -> word = self; break }
    :: word != 0 ->
        seen = word;
        if
        :: seen != 0 && seen != CHILD && knows_survivor && seen != known_survivor ->
#ifdef WITHOUT_CAS
            word = self;
            orphaned = true;
#else
            atomic {
                if
                :: word == seen -> word = self; orphaned = true
                :: else -> orphaned = false
                fi
            };
#endif
            if
            :: orphaned ->
                enter();
                repair();
                break
            :: else
            fi
        :: else
        fi
    od;
    if
    :: !orphaned -> enter()
    :: else
    fi;
    orphaned = false;
    seen = 0
}

/* hk_heap_take() of the lowest block */
inline take() {
    lock();
    assert(free == set[0] + set[1] + set[2] + set[3]);
    mine = 0;
    do
    :: mine < BLOCKS && !set[mine] -> mine++
    :: else -> break
    od;
    if
    :: mine < BLOCKS ->
        set[mine] = false;
        free--;
        assert(held[mine] == 0);
        held[mine] = self
    :: else
    fi;
    unlock()
}

/* give_to_slab() */
inline give(block) {
    lock();
    assert(!set[block]);
    held[block] = 0;
    set[block] = true;
    free++;
    unlock()
}

/* hk_heap_repair_purge() */
inline repair_purge() {
    if
    :: purging ->
        lock();
        if
        :: purging -> end_purge()
        :: else
        fi;
        unlock()
    :: else
    fi
}

/* The forking thread. It holds block 3 from the start, and may hold the lock, if a signal handler
 * forks in the middle of hk_heap_take(). */
proctype survivor() {
    byte mine = BLOCKS, seen, i;
    byte self = SURVIVOR;
    bool orphaned, holds;
    if
    :: atomic { word == 0 -> word = SURVIVOR; holds = true; forked = true }
    :: forked = true
    fi;
    run child();
    if
    :: holds -> enter()
    :: else
    fi;
    note_survivor();
    if
    :: holds -> unlock()
    :: else
    fi;
    take();
    repair_purge();
    give(3)
}

/* A thread that the child starts */
proctype child() {
    byte mine = BLOCKS, seen, i;
    byte self = CHILD;
    bool orphaned;
    take();
    if
    :: mine < BLOCKS -> give(mine)
    :: else
    fi;
    take();
    assert(mine == BLOCKS || !set[mine])
}

/* No block that a thread of the child holds is ever free. */
proctype monitor() {
end:
    atomic {
        (held[0] && set[0]) || (held[1] && set[1]) || (held[2] && set[2]) || (held[3] && set[3]) ->
        assert(false)
    }
}

init {
    atomic {
        set[0] = true;
        set[1] = true;
        set[2] = true;
        free = 3;
        held[3] = SURVIVOR;
        run purger();
        run worker();
        run survivor();
        run monitor()
    }
}
