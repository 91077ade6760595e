/* publication.pml - a thread that got a pointer finds the class of the block.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Models: core/pagemap.c: pagemap_leaf_for(), hk_pagemap_enter(), hk_pagemap_remove(),
 * class_map_reach(), class_map_publish(), class_map_copy(), class_map_store(), and the lookups
 * hk_class_map_get(), hk_class_map_find() and hk_pagemap_find().
 * Left out: other granules of the class map. A reader may see any generation that was ever
 * published, because nothing orders its load with the newest store. Stores that a release orders
 * are in their order, and a missing release exchanges them.
 * Property: for a block that the program passed on, each generation that covers its granule has
 * its class, and the pagemap has its span. A lookup of any address at any time sees no span
 * without its const fields.
 * Size: one thread enters a granule with one class, removes it, and enters it with another one.
 * One thread grows the class map twice and enters a granule of the same leaf. One thread looks up
 * addresses that it was not given.
 * Without: ALL_GENERATIONS LOCKED_COPY RELEASE SPAN_RELEASE LEAF_CAS
 */
#define GENERATIONS 3
#define NONE 0

/* The class map. Generation 0 does not cover the granule. */
byte class[GENERATIONS]; /* of the granule */
byte count = 1;          /* class_maps.count */
byte newest = 0;         /* hk_class_map; any of 0 to this may be seen */
bool locked;             /* PAGEMAP */

/* The pagemap. Leaf 0 is none. */
byte root;
byte leaf_a[3];       /* the span of the granule, in each leaf */
byte leaf_b[3];       /* the span of the other granule */
byte span_class[4];   /* of spans 1 and 2 of the granule, and 3 of the other */

chan passed = [0] of { byte, byte }; /* a pointer, as its span and its class */
chan freed = [0] of { bit };

inline lock() { atomic { !locked -> locked = true } }
inline unlock() { locked = false }

/* pagemap_leaf_for(), with `fresh` as the leaf that this thread would map */
inline reserve(fresh) {
    if
    :: root == 0 ->
#ifdef WITHOUT_LEAF_CAS
        root = fresh
#else
        atomic {
            if
            :: root == 0 -> root = fresh
            :: else
            fi
        }
#endif
    :: else
    fi
}

/* class_map_store() */
inline store(value) {
    lock();
#ifdef WITHOUT_ALL_GENERATIONS
    class[count - 1] = value;
#else
    g = 0;
    do
    :: g < count -> class[g] = value; g++
    :: else -> break
    od;
#endif
    unlock()
}

/* hk_pagemap_enter() of the granule */
inline enter(span, value) {
#ifdef WITHOUT_SPAN_RELEASE
    reserve(1);
    leaf_a[root] = span;
    span_class[span] = value;
#else
    span_class[span] = value;
    reserve(1);
    leaf_a[root] = span;
#endif
    store(value)
}

/* hk_pagemap_remove() */
inline remove() {
    store(NONE);
    leaf_a[root] = 0
}

proctype owner() {
    byte g;
    enter(1, 5);
    passed ! 1, 5;
    freed ? 0;
    remove();
    enter(2, 6);
    passed ! 2, 6;
    freed ? 0
}

/* class_map_publish() of a generation that class_map_reach() has mapped */
inline publish() {
#ifdef WITHOUT_LOCKED_COPY
    class[count] = class[count - 1];
    lock();
    count++;
    newest = count - 1;
#else
    lock();
#ifdef WITHOUT_RELEASE
    newest = count;
    class[count] = class[count - 1];
#else
    class[count] = class[count - 1];
    newest = count;
#endif
    count++;
#endif
    unlock()
}

proctype grower() {
    span_class[3] = 7;
    reserve(2);
    leaf_b[root] = 3;
    publish();
    publish();
    assert(leaf_b[root] == 3)
}

/* Frees the blocks that it gets, by both ways of a lookup. */
proctype reader() {
    byte span, value, generation;
    do
    :: passed ? span, value ->
        generation = newest; /* hk_class_map_get() */
        do
        :: generation > 0 -> generation--
        :: break
        od;
        assert(generation == 0 || class[generation] == value);
        assert(root != 0);
        assert(leaf_a[root] == span);
        assert(span_class[span] == value);
        freed ! 0;
        if
        :: value == 6 -> break
        :: else
        fi
    od
}

/* hk_pagemap_find() of any address */
proctype stranger() {
    byte leaf, span;
    leaf = root;
    span = leaf_a[leaf];
    assert(span == 0 || span_class[span] != NONE)
}

init {
    atomic { run owner(); run grower(); run reader(); run stranger() }
}
