/* parts.pml - a free changes a slab only under the lock of the part that the slab belongs to, and
 * no part is added to a heap that has ended.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: own/give.c, own/slabs.c and own/own.c: hk_own_lock_of(), hk_own_of(), own_take_over(),
 * hk_own_grow(), own_merge_part(), own_end_part_locked(), own_new_part(), hk_own_add_part(),
 * own_take_shared().
 * Left out: the bias of the locks (bias.pml), which only makes them cheaper, the pagemap, and what
 * the heaps of malloc do with a slab after a merge.
 * Property: one thread at a time uses the slab, a thread that asks for the heap of a block gets the
 * one that it belongs to or none, a heap that has ended has no part, and all threads finish.
 * Size: an empty slab that moves from one part to another, which its heap then loses to the next
 * heap, a thread that allocates from it, two that free a block twice, one that asks for its heap,
 * and one that resizes a block and adds a part.
 * Without: LOOK_UNDER_LOCK LOOK_AGAIN LOOK_AT_ID
 */
#define A 0
#define B 1
#define NONE 2 /* a heap of malloc */

byte owner = A; /* slab->owner */
byte ring = A;  /* the part whose ring has the slab, or NONE */
bool locked[2]; /* part->lock */
byte heap[2];   /* part->heap; 0 is the heap that has the slab */
byte users;     /* threads that use the slab */
bool moved;
bool listed;        /* owns.lock */
bool exists = true; /* heap->id is that of the heap */
bool ended;         /* the parts were taken out of the heap */
bool added;         /* heap->shared has one more */

inline use() {
    users++;
    assert(users == 1);
    users--
}

inline lock(part) { atomic { !locked[part] -> locked[part] = true } }
inline unlock(part) { locked[part] = false }

/* Grows part B. */
active proctype grower() {
    lock(A); /* own_take_over() */
    ring = NONE;
    owner = B;
    unlock(A);

    lock(B); /* hk_own_grow() */
    ring = B;
    unlock(B);
    moved = true;

    lock(B); /* takes blocks from its slabs */
    if
    :: ring == B -> use()
    :: else
    fi;
    unlock(B)
}

/* Merges the heap with the parts A and B. The next heap gets them. */
active proctype merger() {
    byte part;
    moved;
    exists = false;
    atomic { !listed -> listed = true } /* own_take_shared() */
    ended = true;
    added = false;
    listed = false;

    for (part : A .. B) {
        lock(part); /* own_merge_part() */
        if
        :: ring == part ->
            use();
            ring = NONE;
            owner = NONE
        :: else
        fi;
        unlock(part);

        lock(part); /* own_end_part_locked() and own_new_part() */
        heap[part] = 1;
        unlock(part)
    }
}

/* Frees a block that is free already, which the bits of the slab show. */
active [2] proctype freer() {
    byte part;
    do
    :: part = owner; /* hk_own_lock_of() */
        if
        :: part == NONE -> break
        :: else
        fi;
        lock(part);
#ifdef WITHOUT_LOOK_UNDER_LOCK
        use();
        unlock(part);
        break
#else
        if
        :: owner == part ->
            use();
            unlock(part);
            break
        :: else -> unlock(part)
        fi
#endif
    od
}

/* Asks for the heap of a block. */
active proctype asker() {
    byte part;
    byte found;
    do
    :: part = owner; /* hk_own_of() */
        if
        :: part == NONE -> break
        :: else
        fi;
        found = heap[part];
#ifdef WITHOUT_LOOK_AGAIN
        assert(found == 0);
        break
#else
        if
        :: owner == part ->
            assert(found == 0);
            break
        :: else
        fi
#endif
    od
}

/* Needs a part for a block that it resizes during the merge. */
active proctype resizer() {
    atomic { !listed -> listed = true } /* hk_own_add_part() */
#ifdef WITHOUT_LOOK_AT_ID
    added = true;
#else
    if
    :: exists -> added = true
    :: else
    fi;
#endif
    assert(!(ended && added));
    listed = false
}
