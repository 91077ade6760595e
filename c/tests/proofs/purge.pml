/* purge.pml - the pages of free blocks are given back while threads take and free blocks.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: heap/scan.c: scan_purge_slab(), scan_purge_pages(), hk_heap_end_purge(). core/slab.c:
 * hk_slab_take(), hk_slab_take_all(), hk_slab_give_all(). heap/give.c: give_to_slab().
 * heap/slabs.c: hk_slabs_place(), hk_slabs_release(), hk_slabs_remove().
 * Left out: other slabs of the class, of which one is empty, so that this one is released as soon
 * as it is empty, too. A block is a page. Fork (fork.pml).
 * Property: no allocated block loses its contents, no block is allocated twice, no page of a
 * released slab is purged, and the count of free blocks is that of the bits.
 * Size: a slab of three blocks, of which the program holds one at the start and one was never
 * used. Two threads that take a block, write to it and free it, twice. Two purges.
 * Without: TAKING UNUSED LOCK
 */
#define BLOCKS 3

bool locked;          /* CLASS */
bool set[BLOCKS];     /* hk_span.bits: free */
byte free;            /* hk_span.free */
byte bump = 2;        /* hk_span.bump */
bool listed = true;   /* the slab is in the list of its class */
bool released;
bool purging;         /* hk_heap.purging */
bool taken[BLOCKS];   /* hk_heap.purging_bits */

bool held[BLOCKS];    /* by a thread */
byte content[BLOCKS]; /* of its page; 0 is that of an unwritten page */

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* hk_slabs_place(). Another slab of the class is empty already. */
inline place(was_exhausted) {
    if
    :: was_exhausted -> listed = true
    :: else
    fi;
    if
    :: free == bump && listed -> listed = false; released = true
    :: else
    fi
}

/* hk_slab_take() of one block, and hk_slabs_remove() once the slab is exhausted */
inline take() {
    mine = BLOCKS;
    if
    :: free > 0 ->
        mine = 0;
        do
        :: !set[mine] -> mine++; assert(mine < BLOCKS)
        :: set[mine] -> break
        od;
        set[mine] = false;
        free--
    :: free == 0 && bump < BLOCKS -> mine = bump; bump++
    :: else
    fi;
    if
    :: free == 0 && bump == BLOCKS -> listed = false
    :: else
    fi
}

/* give_to_slab() */
inline give(block) {
    assert(!released);
    assert(block < bump && !set[block]);
    exhausted = (free == 0 && bump == BLOCKS);
    set[block] = true;
    free++;
    place(exhausted)
}

proctype thread(byte self) {
    byte mine, round;
    bool exhausted;
    for (round : 1 .. 2) {
        lock();
        mine = BLOCKS;
        if
        :: listed -> take()
        :: else
        fi;
        unlock();
        if
        :: mine < BLOCKS ->
            assert(!held[mine]);
            held[mine] = true;
            content[mine] = self;
            assert(content[mine] == self);
            held[mine] = false;
            lock();
            give(mine);
            unlock()
        :: else
        fi
    }
}

/* Frees the block that the program holds from the start. */
proctype old() {
    bool exhausted;
    assert(content[0] == 9);
    lock();
    give(0);
    unlock()
}

/* hk_slab_take_all(). The slab is not fresh, so that its unused blocks are taken, too. */
inline take_all() {
    for (i : 0 .. BLOCKS - 1) {
        taken[i] = set[i];
#ifndef WITHOUT_TAKING
        set[i] = false
#endif
    }
    for (i : 0 .. BLOCKS - 1) {
        if
        :: i >= bump -> taken[i] = true
        :: else
        fi
    }
#ifndef WITHOUT_UNUSED
    bump = BLOCKS;
#endif
#ifdef WITHOUT_TAKING
    skip
#else
    free = 0
#endif
}

/* hk_slab_give_all() */
inline give_all() {
    for (i : 0 .. BLOCKS - 1) {
        if
        :: taken[i] && !set[i] -> free++
        :: else
        fi;
        set[i] = set[i] || taken[i]
    }
}

/* scan_purge_slab() */
proctype purge() {
    byte i, round;
    bool exhausted;
    for (round : 1 .. 2) {
        lock();
        if
        :: listed && free < bump -> /* scan_wants_purge(): it is not empty */
            take_all();
            purging = true;
            if
            :: free == 0 && bump == BLOCKS -> listed = false
            :: else
            fi;
            unlock();

            for (i : 0 .. BLOCKS - 1) { /* scan_purge_pages() */
                if
                :: taken[i] ->
                    assert(!released);
                    content[i] = 0
                :: else
                fi
            }

#ifndef WITHOUT_LOCK
            lock();
#endif
            exhausted = (free == 0 && bump == BLOCKS);
            assert(!released);
            give_all();
            purging = false;
            place(exhausted)
        :: else
        fi;
        unlock()
    }
}

init {
    byte i, sum;
    atomic {
        set[1] = true;
        free = 1;
        content[0] = 9;
        run thread(1);
        run thread(2);
        run old();
        run purge()
    }
    _nr_pr == 1;
    d_step {
        for (i : 0 .. BLOCKS - 1) { sum = sum + set[i] }
        assert(sum == free)
    }
}
