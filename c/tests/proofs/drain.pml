/* drain.pml - a drain takes blocks from a bin that its owner uses without locks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: thread/drain.c: drain_locked(), drain_bound(), drain_take(), hk_tcache_wait().
 * thread/tcache.h: hk_tcache_enter(), hk_tcache_leave(). core/bin.h: hk_bin_pop(), hk_bin_push().
 * thread/bins.c: hk_bins_rebase_drained(), bins_take_oldest(). hk_os_barrier(),
 * hk_os_thread_sleeps().
 * Left out: more than one bin, large blocks, and processors that reorder more than x86-64 does.
 * The owner's stores wait in a buffer and reach memory in their order, at any later time. A
 * barrier in all threads empties the buffer.
 * Property: each block is with the owner, with the drain, or once in the bin.
 * Size: a bin of three blocks. The owner makes five calls: a pop, a push, a slow call that
 * flushes the bin, or a sleep. Two drains.
 * Without: FIRST_BARRIER SWAP SECOND_BARRIER TOP_AT_BOUND SECOND_LOOK WAIT
 */
#define BLOCKS 3
#define BASE 1 /* the first slot of the array; the slot below holds NULL */
#define CEIL 4
#define CALLS 5

/* Memory. Addresses from SLOT on are slots. */
#define BUSY 0
#define TOP 1
#define SLOT 2
byte memory[6];        /* SLOT + CEIL */
byte floor = BASE;     /* hk_thread.floor */
bool drained;          /* hk_tcache_drained is this thread */
bool locked;           /* THREADS */
bool sleeping;         /* the owner is in a system call */
bool done;             /* the owner makes no more calls */

/* The store buffer of the owner's processor */
byte buffered;
byte address[4];
byte value[4];

bool owned[BLOCKS + 1]; /* by the program, or flushed */
bool taken[BLOCKS + 1]; /* by the drain */

inline store(a, v) {
    atomic { buffered < 4 -> address[buffered] = a; value[buffered] = v; buffered++ }
}

/* The oldest store reaches memory. */
inline commit() {
    d_step {
        memory[address[0]] = value[0];
        address[0] = address[1]; value[0] = value[1];
        address[1] = address[2]; value[1] = value[2];
        address[2] = address[3]; value[2] = value[3];
        buffered--;
        address[buffered] = 0; value[buffered] = 0
    }
}

proctype processor() {
end:
    do
    :: atomic { buffered > 0 -> commit() }
    od
}

/* A load of the owner sees its own newest store. */
inline load(a, result) {
    d_step {
        result = memory[a];
        n = 0;
        do
        :: n < buffered ->
            if
            :: address[n] == a -> result = value[n]
            :: else
            fi;
            n++
        :: else -> break
        od;
        n = 0
    }
}

inline own(block) {
    d_step { assert(!taken[block] && !owned[block]); owned[block] = true }
}

/* hk_bin_pop() */
inline pop() {
    load(SLOT + top - 1, b);
    if
    :: b != 0 ->
        top--;
        store(TOP, top);
        own(b);
        b = 0
    :: else
    fi
}

/* hk_bin_push() of any block that the program holds */
inline push() {
    if
    :: owned[1] -> b = 1
    :: owned[2] -> b = 2
    :: owned[3] -> b = 3
    :: else
    fi;
    if
    :: b != 0 && top < CEIL ->
        owned[b] = false;
        store(SLOT + top, b);
        top++;
        store(TOP, top)
    :: else
    fi;
    b = 0
}

/* hk_tcache_enter() */
inline enter() {
    do
    :: store(BUSY, 1);
#ifdef WITHOUT_WAIT
        break
#else
        if
        :: !drained -> break
        :: drained -> /* hk_tcache_wait() */
            store(BUSY, 0);
            atomic { buffered == 0 && !locked -> skip }
        fi
#endif
    od
}

/* hk_bins_rebase() and bins_take_oldest() of all blocks */
inline flush() {
    i = floor;
    do
    :: i < top ->
        load(SLOT + i, b);
        assert(b != 0);
        own(b);
        i++
    :: else -> break
    od;
    b = 0;
    i = 0;
    floor = BASE;
    top = BASE;
    store(TOP, top)
}

proctype owner() {
    byte top = BASE + BLOCKS;
    byte call, b, n, i;
    for (call : 1 .. CALLS) {
        if
        :: pop()
        :: push()
        :: enter(); flush(); store(BUSY, 0) /* hk_tcache_leave() */
        :: atomic { buffered == 0 -> sleeping = true }; sleeping = false
        fi
    }
    atomic { buffered == 0 -> done = true }
}

/* hk_os_barrier() */
inline barrier() {
    atomic {
        do
        :: buffered > 0 -> commit()
        :: else -> break
        od
    }
}

/* Takes the block of a slot. */
inline collect(block) {
    d_step { assert(block != 0 && !taken[block] && !owned[block]); taken[block] = true }
}

/* drain_take() */
inline take() {
    top = memory[TOP];
    if
#ifdef WITHOUT_TOP_AT_BOUND
    :: top < floor + count || memory[SLOT + floor + count - 1] != 0 ->
#else
    :: top < floor + count || (top == floor + count && !whole) ||
       memory[SLOT + floor + count - 1] != 0 ->
#endif
        atomic {
            if
            :: memory[SLOT + floor + count - 1] == 0 -> memory[SLOT + floor + count - 1] = saved
            :: else
            fi
        }
    :: else ->
        collect(saved);
        i = 0;
        do
        :: i < count - 1 -> collect(memory[SLOT + floor + i]); i++
        :: else -> break
        od;
        memory[SLOT + floor + count - 2] = 0;
        floor = floor + count
    fi
}

proctype drain() {
    byte round, count, saved, top, i;
    bool whole;
    for (round : 1 .. 2) {
        atomic { !locked -> locked = true };
        drained = true;
#ifndef WITHOUT_FIRST_BARRIER
        barrier();
#endif
        if
        :: memory[BUSY] == 0 ->
            whole = sleeping;
            count = memory[TOP] - floor; /* drain_bound() */
            count = (count > 0 && !whole -> count - 1 : count);
            if
            :: count > 0 ->
#ifdef WITHOUT_SWAP
                saved = memory[SLOT + floor + count - 1];
                memory[SLOT + floor + count - 1] = 0
#else
                atomic {
                    saved = memory[SLOT + floor + count - 1];
                    memory[SLOT + floor + count - 1] = 0
                }
#endif
            :: else
            fi;
#ifndef WITHOUT_SECOND_BARRIER
            barrier();
#endif
#ifndef WITHOUT_SECOND_LOOK
            whole = whole && sleeping;
#endif
            if
            :: count > 0 -> take()
            :: else
            fi
        :: else
        fi;
        drained = false;
        locked = false
    }
}

/* The number of places of a block. */
inline look(block) {
    places = owned[block] + taken[block];
    i = floor;
    do
    :: i < memory[TOP] -> places = places + (memory[SLOT + i] == block -> 1 : 0); i++
    :: else -> break
    od;
    assert(places == 1)
}

init {
    byte i, places;
    atomic {
        memory[TOP] = BASE + BLOCKS;
        memory[SLOT + 1] = 1;
        memory[SLOT + 2] = 2;
        memory[SLOT + 3] = 3;
        run processor();
        run owner();
        run drain()
    }
    done && _nr_pr == 2;
    d_step { look(1); look(2); look(3) }
}
