/* transfer.pml - blocks pass between CPUs, each to one thread.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: transfer/transfer.c: transfer_lock(), transfer_push(), transfer_put_rest(),
 * transfer_enlarge(), transfer_take_from(), hk_transfer_take_oldest(), transfer_detach_array(),
 * and the locks that are only tried: hk_lock_try(), hk_unlock_tried().
 * Left out: the budget of a CPU, statistics, and the memory orders, except that a missing release
 * lets a store of the critical section arrive after that of the lock. The number of the CPU is any
 * number at each call, so threads move between CPUs at any time. A steal is a take from another
 * CPU.
 * Property: a block that a thread takes is in the cache, and held by no thread. At the end, each
 * block is with one thread or in one cache. No array is used after it was freed, or beyond its
 * capacity.
 * Size: two CPUs, one class. A thread with two blocks that puts, takes and puts, a thread with one
 * block that puts and takes, and a scan that takes all blocks of one cache.
 * Without: LOCK_OF_TAKE RECHECK RELEASE LOCK_OF_SCAN
 */
#define CPUS 2
#define BLOCKS 3
#define ARRAYS 4   /* array 0 is none */
#define SLOTS 4    /* the capacity of the largest array */
#define SCAN 3     /* the thread that scans */

mtype = { CACHED, HELD };

bool locked[CPUS];
byte count[CPUS];
byte capacity[CPUS];
byte array[CPUS]; /* transfer_class.blocks */

byte slot[16];     /* ARRAYS * SLOTS: the blocks in each array */
bool live[ARRAYS]; /* allocated from core/meta */

mtype state[BLOCKS + 1] = CACHED;
byte holder[BLOCKS + 1];

inline try_lock(cpu) {
    atomic {
        if
        :: !locked[cpu] -> locked[cpu] = true; got = true
        :: else -> got = false
        fi
    }
}

/* hk_meta_alloc() and hk_meta_free() */
inline array_alloc() {
    atomic {
        fresh = 0;
        for (i : 1 .. ARRAYS - 1) {
            if
            :: !live[i] && fresh == 0 -> fresh = i; live[i] = true
            :: else
            fi
        }
        i = 0
    }
}

inline access(a, at) { assert(live[a] && at < SLOTS) }

/* The copy of an array to a larger one */
inline copy_array(cpu) {
    d_step {
        for (i : 0 .. SLOTS - 1) {
            if
            :: i < count[cpu] ->
                access(unused, i);
                slot[fresh * SLOTS + i] = slot[unused * SLOTS + i]
            :: else
            fi
        }
        i = 0
    }
}

/* The thread gets `n` blocks of a cache, from a slot on. */
inline hold_from(cpu, from, n) {
    d_step {
        i = 0;
        do
        :: i < n ->
            access(array[cpu], from + i);
            b = slot[array[cpu] * SLOTS + from + i];
            assert(b != 0);
            assert(state[b] == CACHED);
            state[b] = HELD;
            holder[b] = self;
            i++
        :: else -> break
        od;
        i = 0;
        b = 0
    }
}

/* transfer_push() of the blocks that the thread holds, under the lock */
inline push(cpu) {
    d_step {
        n = count[cpu];
        b = 1;
        do
        :: b <= BLOCKS && n < capacity[cpu] ->
            if
            :: state[b] == HELD && holder[b] == self ->
                access(array[cpu], n);
                slot[array[cpu] * SLOTS + n] = b;
                state[b] = CACHED;
                holder[b] = 0;
                n++
            :: else
            fi;
            b++
        :: else -> break
        od;
        b = 0
    };
#ifdef WITHOUT_RELEASE
    locked[cpu] = false;
    count[cpu] = n
#else
    count[cpu] = n;
    locked[cpu] = false
#endif
    ;
    n = 0
}

/* transfer_enlarge(), for a capacity that was too small when it was read under the lock */
inline enlarge(cpu) {
    array_alloc();
    if
    :: fresh != 0 ->
        unused = fresh;
        try_lock(cpu);
        if
#ifdef WITHOUT_RECHECK
        :: got ->
#else
        :: got && capacity[cpu] < wanted ->
#endif
            unused = array[cpu];
            copy_array(cpu);
            array[cpu] = fresh;
            capacity[cpu] = wanted;
            assert(count[cpu] <= capacity[cpu])
        :: else
        fi;
        if
        :: got -> locked[cpu] = false
        :: else
        fi;
        live[unused] = false;
        unused = 0;
        fresh = 0
    :: else
    fi
}

/* hk_transfer_put(). A thread that finds both locks taken goes to its heap. */
inline put(cpu) {
    try_lock(cpu);
    if
    :: got ->
        seen = capacity[cpu];
        push(cpu);
        wanted = (seen == 0 -> 1 : seen * 2);
        seen = 0;
        if
        :: wanted <= SLOTS -> /* transfer_put_rest() */
            enlarge(cpu);
            try_lock(cpu);
            if
            :: got -> push(cpu)
            :: else
            fi
        :: else
        fi;
        wanted = 0
    :: else
    fi;
    got = false
}

/* transfer_take_from() of one or two blocks */
inline take(cpu) {
    if
    :: count[cpu] > 0 ->
        try_lock(cpu);
        if
        :: got ->
            if
            :: n = 1
            :: n = 2
            fi;
            n = (n < count[cpu] -> n : count[cpu]);
            count[cpu] = count[cpu] - n;
            seen = count[cpu];
#ifdef WITHOUT_LOCK_OF_TAKE
            locked[cpu] = false;
#endif
            hold_from(cpu, seen, n);
            locked[cpu] = false;
            n = 0;
            seen = 0
        :: else
        fi
    :: else
    fi
}

/* The first CPU of the first thread is 0, because the CPUs are alike. */
proctype thread(byte self) {
    byte b, n, i, seen, wanted, fresh, unused;
    bool got;
    if
    :: true -> put(0)
    :: self == 2 -> put(1)
    fi;
    if
    :: true -> take(0)
    :: true -> take(1)
    fi;
    if
    :: self == 1 -> put(0)
    :: self == 1 -> put(1)
    :: self == 2
    fi
}

/* hk_transfer_take_oldest() of all blocks of one cache */
proctype scan() {
    byte self = SCAN;
    byte cpu, i, b, unused;
    if
    :: cpu = 0
    :: cpu = 1
    fi;
#ifndef WITHOUT_LOCK_OF_SCAN
    atomic { !locked[cpu] -> locked[cpu] = true }; /* hk_lock_try_long() */
#endif
    hold_from(cpu, 0, count[cpu]);
    count[cpu] = 0;
    unused = array[cpu]; /* transfer_detach_array() */
    capacity[cpu] = 0;
    array[cpu] = 0;
    locked[cpu] = false;
    live[unused] = false
}

/* Whether a cache contains a block. */
inline look(block) {
    places = (state[block] == HELD -> 1 : 0);
    for (i : 0 .. SLOTS - 1) {
        places = places + (i < count[0] && slot[array[0] * SLOTS + i] == block -> 1 : 0);
        places = places + (i < count[1] && slot[array[1] * SLOTS + i] == block -> 1 : 0)
    }
    assert(places == 1)
}

init {
    byte i, places;
    atomic {
        state[1] = HELD; holder[1] = 1; state[2] = HELD; holder[2] = 1;
        state[3] = HELD; holder[3] = 2;
        run thread(1);
        run thread(2);
        run scan()
    }
    _nr_pr == 1;
    d_step { look(1); look(2); look(3) }
}
