/* own/take.c - allocation from private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include "../core/large.h"
#include "../core/meta.h"
#include "../core/pagemap.h"
#include "../heap/heap.h"
#include "../os/check.h"
#include "../os/os.h"
#include "slabs.h"

enum {
    OWN_ADVANCE_PART = 8, /* a cell gets at most 1/8 of the bytes below the limit */
    OWN_RUN_MOST = 256,   /* blocks of the longest run of a cell, */
    OWN_RUN_LEAST = 32,   /* and of the shortest one that is better than a word */
    OWN_USES = 1024,      /* allocations in a row after which a thread looks for a part to own */
    OWN_ROUND_SLABS = 16, /* slabs that a thread adds between two rounds through the parts */
};

#define SIZE_CLASS(bytes, granules, depth, prewarm)                                                \
    [HK_CLASS_##bytes] = offsetof(struct hak_heap, main.cache.cells) +                             \
                         sizeof(struct hk_own_cell) * HK_OWN_INDEX(bytes),
const uint16_t hk_own_cell_at[HK_CLASS_COUNT] = {
    [HK_CLASS_NONE] = offsetof(struct hak_heap, main.cache.cells), /* always empty */
#include "../core/size_class.def"
};
#undef SIZE_CLASS

/* ---- The limit ------------------------------------------------------------------------------- */

/* The same as hk_own_make_room. Notes the failure. */
static bool own_allows(struct hk_own_part *part, uint64_t bytes, struct hk_own_failure *failure) {
    if (hk_own_make_room(part, bytes))
        return true;
    struct hak_heap *heap = hk_peek(&part->heap);
    *failure = (struct hk_own_failure){HK_OWN_AT_LIMIT, heap->on_limit, heap->on_limit_arg};
    return false;
}

/* The number of blocks, of at most `count`, that a cell may take in advance, at least 1. The first
 * one counts at the limit already. Counts the others. */
static uint32_t own_charge(struct hak_heap *heap, uint64_t bytes, uint32_t count) {
    uint64_t used = hk_load_relaxed(&heap->used); /* relaxed: a count */
    uint64_t limit = hk_own_limit(heap);
    if (limit == 0)
        return count;

    uint64_t rest = used < limit ? limit - used : 0;
    uint64_t most = (rest + bytes) / OWN_ADVANCE_PART / bytes;
    if (most < count)
        count = most > 0 ? (uint32_t)most : 1;
    return hk_own_reserve(heap, (count - 1) * bytes) ? count : 1;
}

/* ---- Parts ----------------------------------------------------------------------------------- */

/* Makes sure that the first slab of a class has free blocks. An empty slab is used again. Returns
 * false if there is none. Under OWN. */
static bool own_has_free(struct hk_own_part *part, size_t class) {
    if (hk_likely(part->slabs[class] != NULL) && !hk_slab_is_exhausted(part->slabs[class]))
        return true;
    return hk_own_reuse(part, class);
}

/* Whether the calling thread owns a part, or may own it because nobody does or the owner has
 * ended. */
static bool own_is_mine(const struct hk_own_part *part, uint32_t self) {
    uint32_t owner = hk_peek(&part->owner);
    return owner == self || !hk_owner_exists(owner);
}

/* Makes the calling thread the owner of a part. Under OWN, after own_is_mine has acquired the
 * cells. */
static void own_claim_locked(struct hk_own_part *part, uint32_t self) {
    if (hk_peek(&part->owner) == self)
        return;
    hk_store_locked(&part->owner, self);
    part->alone = part->needed = 0;
    hk_own_settle(&part->cache);
}

/* The same, unless another thread was faster, the heap has ended, or the part has no free block of
 * `class`. With HK_OWN_NONE it needs none. */
static HK_SLOW bool own_claim_slow(const struct hk_own_ref *ref, struct hk_own_part *part,
                                   uint32_t self, size_t class) {
    hk_own_lock(part);
    bool claimed = hk_own_is_of(part, ref) && own_is_mine(part, self) &&
                   (class == HK_OWN_NONE || hk_own_cell_count(&part->cache, class) > 0 ||
                    own_has_free(part, class));
    if (claimed)
        own_claim_locked(part, self);
    hk_own_unlock(part);
    return claimed;
}

static bool own_claim(const struct hk_own_ref *ref, struct hk_own_part *part, uint32_t self) {
    return hk_peek(&part->owner) == self ||
           (own_is_mine(part, self) && own_claim_slow(ref, part, self, HK_OWN_NONE));
}

/* The part at `number`, which is added without an owner if there is none. Returns NULL if out of
 * memory, or if the heap has ended. */
static struct hk_own_part *own_part_at(const struct hk_own_ref *ref, uint32_t number) {
    struct hk_own_part *part = hk_own_part_at(ref->heap, number);
    return hk_likely(part != NULL) ? part : hk_own_add_part(ref, number, HK_OWNER_NOBODY);
}

/* The part that the calling thread used last, of those that it has found in a heap, or NULL. */
static HK_THREAD_LOCAL struct hk_own_part *own_last;

/* The part of a heap that the calling thread owns and used last, or the main part if it owns that.
 * NULL if it may have none. */
HK_FAST struct hk_own_part *own_mine(struct hak_heap *heap) {
    uint32_t self = hk_owner_self;
    struct hk_own_part *last = own_last;
    /* relaxed: only this thread stores its own token. A part has its heap as long as an owner. */
    if (last != NULL && hk_peek(&last->heap) == heap && hk_load_relaxed(&last->owner) == self)
        return last;
    /* relaxed: as above */
    return hk_load_relaxed(&heap->main.owner) == self ? &heap->main : NULL;
}

/* The part that the calling thread owns since it came to this heap before, or NULL. */
static struct hk_own_part *own_find(struct hak_heap *heap, uint32_t self) {
    struct hk_own_part *part;
    for (uint32_t i = 0; i < HK_OWN_THREADS && (part = hk_own_part_at(heap, i)) != NULL; i++) {
        if (hk_load_relaxed(&part->owner) == self) /* relaxed: as in own_mine */
            return own_last = part;
    }
    return NULL;
}

/* Whether a thread may own one of the parts beside the main part. */
static bool own_may_own(const struct hak_heap *heap, uint32_t self) {
    return hk_own_limit(heap) == 0 && self != HK_OWNER_NEVER;
}

/* Allocations until the calling thread looks for a part to own again, after it found none. */
static HK_THREAD_LOCAL uint32_t own_pause;

/* A part that the calling thread owns from now on. It is added, at the first place without a part,
 * only if there is none without an owner. Returns NULL if there is none to own. */
static HK_SLOW struct hk_own_part *own_become_owner(const struct hk_own_ref *ref, uint32_t self) {
    struct hk_own_part *part;
    uint32_t i = 0;
    for (; i < HK_OWN_THREADS && (part = hk_own_part_at(ref->heap, i)) != NULL; i++) {
        if (own_claim(ref, part, self))
            return own_last = part;
    }

    for (; i < HK_OWN_THREADS && (part = hk_own_add_part(ref, i, self)) != NULL; i++) {
        if (hk_peek(&part->owner) == self)
            return own_last = part;
    }
    own_pause = OWN_USES;
    return NULL;
}

/* Whether the calling thread has used a part many times since another thread did. Under
 * OWN_CACHE. */
static bool own_is_frequent(struct hk_own_cache *cache) {
    uint32_t self = hk_lock_self();
    if (cache->user != self)
        cache->uses = 0;
    cache->user = self;
    return ++cache->uses > OWN_USES;
}

/* The part at a number, with the lock of its cells. Returns NULL as below. */
static struct hk_own_part *own_lock_cells(const struct hk_own_ref *ref, uint32_t number,
                                          bool *locked) {
    struct hk_own_part *part = own_part_at(ref, number);
    *locked = part != NULL;
    if (part != NULL)
        hk_lock(&part->cache.lock, HK_RANK_OWN_CACHE);
    return part;
}

/* The first part with a lock. A thread that finds it in use, or that uses it often, becomes the
 * owner of a part or, if that is impossible, uses another part with a lock. So threads that use a
 * heap in turn need no parts of their own. Returns NULL if out of memory, or if the heap has
 * ended. */
static struct hk_own_part *own_enter_locked(const struct hk_own_ref *ref, uint32_t self,
                                            bool *locked) {
    bool may_own = own_may_own(ref->heap, self);
    uint32_t number = HK_OWN_THREADS + hk_lock_self() % HK_OWN_LOCKED;
    if (may_own && own_pause > 0) {
        own_pause--;
        return own_lock_cells(ref, number, locked);
    }

    struct hk_own_part *part = own_part_at(ref, HK_OWN_THREADS);
    if (part == NULL)
        return NULL;
    if (hk_lock_try(&part->cache.lock, HK_RANK_OWN_CACHE)) {
        *locked = !may_own || !own_is_frequent(&part->cache);
        if (*locked)
            return part;
        hk_unlock(&part->cache.lock, HK_RANK_OWN_CACHE);
    }

    part = may_own ? own_become_owner(ref, self) : NULL;
    return part != NULL ? part : own_lock_cells(ref, number, locked);
}

/* The part of the calling thread, whose cells nobody else uses until own_leave. Returns NULL if out
 * of memory, or if the heap has ended. *locked says whether the cells have a lock. It stays taken
 * if another thread merges the heap meanwhile. */
static struct hk_own_part *own_enter(const struct hk_own_ref *ref, bool *locked) {
    struct hak_heap *heap = ref->heap;
    hk_assert(heap != NULL); /* for static analysis: &heap->main is compared with NULL */
    struct hk_own_part *part = own_mine(heap);
    uint32_t self = hk_owner_get();
    *locked = false;
    if (part == NULL && self != HK_OWNER_NEVER)
        part = own_find(heap, self);
    if (part == NULL && self != HK_OWNER_NEVER && own_claim(ref, &heap->main, self))
        part = &heap->main;
    return part != NULL ? part : own_enter_locked(ref, self, locked);
}

static void own_leave(struct hk_own_part *part, bool locked) {
    if (locked)
        hk_unlock(&part->cache.lock, HK_RANK_OWN_CACHE);
}

/* ---- Small blocks ---------------------------------------------------------------------------- */

/* Moves the empty run of a cell to an address. Meanwhile it ends before it starts, so that a forked
 * child never sees a run from the new start to the old end. Under OWN. */
static void own_move_run(struct hk_own_cell *cell, char *to) {
    hk_store_relaxed(&cell->end, NULL); /* relaxed: under the lock */
    hk_fence_stores();
    hk_store_relaxed(&cell->next, to); /* relaxed: as above */
    hk_fence_stores();
}

/* Fills an empty cell with a run. The stores are ordered for a forked child, which takes blocks
 * that are both in the cell and in the slab out of the slab. Under OWN. */
static void own_refill_run(struct hk_own_part *part, size_t class, struct hk_run run) {
    struct hk_own_cell *cell = &part->cache.cells[class];
    struct hk_span *slab = part->slabs[class];
    char *first = hk_slab_block(slab, run.start);
    run.count = own_charge(hk_peek(&part->heap), cell->bytes, run.count);

    part->cache.words[class] = first; /* without bits */
    own_move_run(cell, first);
    hk_store_relaxed(&cell->end, first + run.count * cell->bytes); /* relaxed: under the lock */
    hk_fence_stores();
    hk_slab_take_run(slab, run);
}

/* Fills an empty cell with the free blocks of a word, or the lowest ones of them. Stores as above.
 * Under OWN. */
static void own_refill_word(struct hk_own_part *part, size_t class) {
    struct hk_own_cell *cell = &part->cache.cells[class];
    struct hk_span *slab = part->slabs[class];
    struct hk_slab_word word = hk_slab_find_word(slab);
    uint32_t count = (uint32_t)__builtin_popcountll(word.bits);
    count = own_charge(hk_peek(&part->heap), cell->bytes, count);
    uint64_t rest = word.bits;
    for (; count > 0; count--)
        rest &= rest - 1;
    word.bits &= ~rest;

    char *first = hk_own_word_at(slab, word.first);
    part->cache.words[class] = first;
    own_move_run(cell, first);
    hk_store_relaxed(&cell->end, first); /* relaxed: under the lock */
    hk_fence_stores();
    hk_store_relaxed(&cell->bits, word.bits); /* relaxed: as above */
    hk_fence_stores();
    hk_slab_take_word(slab, &word);
}

/* Fills an empty cell from the first slab, which has free blocks. Under OWN. */
static void own_refill_from(struct hk_own_part *part, size_t class) {
    struct hk_own_cache *cache = &part->cache;
    struct hk_span *slab = part->slabs[class];
    struct hk_run run = hk_slab_find_run(slab, OWN_RUN_MOST);
    bool zero = slab->fresh && run.start >= slab->bump;
    cache->zero &= ~(UINT64_C(1) << class);
    cache->zero |= (uint64_t)zero << class;
    if (run.count >= OWN_RUN_LEAST || run.count == hk_slab_free(slab))
        own_refill_run(part, class, run);
    else
        own_refill_word(part, class);
    if (hk_slab_is_exhausted(slab))
        part->slabs[class] = slab->next;
}

/* Fills an empty cell from the first slab of its class. At the limit, the blocks in the other cells
 * of the part are given back first. Under OWN. */
static bool own_refill_locked(struct hk_own_part *part, size_t class,
                              struct hk_own_failure *failure) {
    if (!own_has_free(part, class) || !own_allows(part, hk_own_classes[class].block_bytes, failure))
        return false;
    own_refill_from(part, class);
    return true;
}

/* Takes a block out of a cell. */
static struct hk_block own_take_cell(struct hk_own_cache *cache, size_t class) {
    struct hk_own_cell *cell = &cache->cells[class];
    struct hk_block block = {NULL, (cache->zero >> class & 1) != 0};
    if (cell->next == cell->end && !hk_own_cell_run(cache, class))
        return block;
    block.start = cell->next;
    hk_store_relaxed(&cell->next, cell->next + cell->bytes); /* relaxed: see hk_own_take_fast */
    return block;
}

void *hk_own_take_near(struct hak_heap *heap, size_t class) {
    struct hk_own_part *part = own_mine(heap);
    if (part == NULL || hk_count_is_on())
        return NULL;
    void *block = own_take_cell(&part->cache, class).start;
    if (block != NULL || hk_own_limit(heap) != 0 || !hk_own_enter(part))
        return block;

    if (own_has_free(part, class)) {
        own_refill_from(part, class);
        block = own_take_cell(&part->cache, class).start;
    }
    hk_own_leave();
    return block;
}

/* An allocation of a small block. */
struct own_want {
    struct hk_own_ref ref;
    size_t class;
    bool once; /* another thread may merge the heap */
    struct hk_own_failure *failure;
};

/* Makes a part available to other threads, unless the heap has ended meanwhile. */
static void own_give_up(struct hk_own_part *part, uint32_t self) {
    hk_own_lock(part);
    if (hk_peek(&part->owner) == self)
        hk_own_abandon(part);
    hk_own_unlock(part);
}

/* Where the calling thread is in its round through the parts. */
static HK_THREAD_LOCAL struct {
    uint32_t next;  /* number of the part that it looks at first */
    uint32_t slabs; /* that it still adds before the next round */
} own_round;

/* Finds free blocks in a part without an owner, and continues in that part. The thread leaves its
 * own one to others. So the memory of threads that ended is used before there are new slabs, and a
 * thread owns one part of a heap. It goes through the parts in one direction, so it does not change
 * between two parts of which each has what the other lacks. Returns false if there are none. */
static bool own_switch(const struct own_want *want, struct hk_own_part *part) {
    struct hak_heap *heap = want->ref.heap;
    uint32_t self = hk_owner_self;
    /* relaxed: as in own_mine */
    if (hk_own_limit(heap) != 0 || hk_load_relaxed(&part->owner) != self ||
        hk_own_first_part(heap) == HK_OWN_SHARED)
        return false;

    for (uint32_t i = own_round.next; i <= HK_OWN_THREADS; i++) {
        struct hk_own_part *other = i < HK_OWN_THREADS ? hk_own_part_at(heap, i) : &heap->main;
        if (other == NULL || other == part || !own_is_mine(other, self) ||
            !own_claim_slow(&want->ref, other, self, want->class))
            continue;
        own_round.next = i + 1;
        own_round.slabs = OWN_ROUND_SLABS;
        own_last = other;
        own_give_up(part, self);
        return true;
    }

    if (own_round.slabs > 0)
        own_round.slabs--;
    else
        own_round.next = 0;
    return false;
}

/* Takes a block out of a cell, which is filled if it is empty and a slab of the part has a block.
 * A merge takes the blocks out of the cells under the same lock. */
static struct hk_block own_take_locked(const struct own_want *want, struct hk_own_part *part) {
    struct hk_block block = {NULL, false};
    hk_own_lock(part);
    if (!hk_own_is_of(part, &want->ref)) {
        want->failure->fault = HK_OWN_GONE;
    } else {
        block = own_take_cell(&part->cache, want->class);
        if (block.start == NULL && own_refill_locked(part, want->class, want->failure))
            block = own_take_cell(&part->cache, want->class);
    }
    hk_own_unlock(part);
    return block;
}

/* Takes a block if a cell or a slab of the thread's part has one. */
static struct hk_block own_try(const struct own_want *want, struct hk_own_part **part) {
    struct hk_block block = {NULL, false};
    bool locked;
    *part = own_enter(&want->ref, &locked);
    if (*part == NULL) {
        want->failure->fault = HK_OWN_NO_MEMORY;
        return block;
    }

    if (!want->once)
        block = own_take_cell(&(*part)->cache, want->class);
    if (block.start == NULL)
        block = own_take_locked(want, *part);
    own_leave(*part, locked);
    return block;
}

static struct hk_block own_take(const struct own_want *want) {
    struct hk_block block;
    struct hk_own_part *part;
    struct hk_own_failure *failure = want->failure;
    *failure = (struct hk_own_failure){HK_OWN_FINE, NULL, NULL};

    do
        block = own_try(want, &part);
    while (block.start == NULL && failure->fault == HK_OWN_FINE &&
           (own_switch(want, part) || hk_own_grow(&want->ref, part, want->class)));
    if (block.start == NULL && failure->fault != HK_OWN_AT_LIMIT)
        failure->fault = hk_own_id(want->ref.heap) == want->ref.id ? HK_OWN_NO_MEMORY : HK_OWN_GONE;
    return block;
}

struct hk_block hk_own_take(struct hak_heap *heap, size_t class, struct hk_own_failure *failure) {
    struct own_want want = {{heap, hk_own_id(heap)}, class, false, failure};
    if (want.ref.id != 0)
        return own_take(&want);
    *failure = (struct hk_own_failure){HK_OWN_GONE, NULL, NULL};
    return (struct hk_block){NULL, false};
}

struct hk_block hk_own_take_once(const struct hk_own_ref *ref, size_t class,
                                 struct hk_own_failure *failure) {
    struct own_want want = {*ref, class, true, failure};
    return own_take(&want);
}

/* ---- Large blocks ---------------------------------------------------------------------------- */

/* Counts a large block before it exists. Returns false if that would exceed the limit, or if there
 * is no such heap. */
static bool own_charge_large(const struct hk_own_ref *ref, size_t bytes,
                             struct hk_own_failure *failure) {
    struct hak_heap *heap = ref->heap;
    hk_own_lock(&heap->main);
    bool charged = false;
    if (heap->id != ref->id || ref->id == 0)
        failure->fault = HK_OWN_GONE;
    else
        charged = own_allows(&heap->main, bytes, failure);
    hk_own_unlock(&heap->main);
    return charged;
}

/* Adds a block to the heap, or subtracts the bytes if there is none. A heap that was merged
 * meanwhile gives the block to the heap of the arena. */
static void own_add_large(const struct hk_own_ref *ref, struct hk_arena *arena, size_t bytes,
                          const void *block) {
    struct hak_heap *heap = ref->heap;
    struct hk_span *span = block != NULL ? hk_pagemap_find(block) : NULL;
    hk_own_lock(&heap->main);
    bool exists = heap->id == ref->id;
    if (exists)
        hk_own_unreserve(heap, bytes - (span != NULL ? span->bytes : 0));
    if (exists && span != NULL)
        hk_own_link_large(heap, span);
    if (!exists && span != NULL)
        hk_span_set_owner(span, HK_HOLDER(struct hk_heap, arena, arena));
    hk_own_unlock(&heap->main);
}

struct hk_block hk_own_take_large(const struct hk_own_ref *ref, size_t size, size_t align,
                                  struct hk_own_failure *failure) {
    struct hk_block block = {NULL, false};
    struct hk_arena *arena = hk_own_arena();
    *failure = (struct hk_own_failure){HK_OWN_NO_MEMORY, NULL, NULL};
    if (size > PTRDIFF_MAX || arena == NULL)
        return block;

    size_t bytes = hk_large_bytes(size, align);
    if (!own_charge_large(ref, bytes, failure))
        return block;
    block = hk_large_alloc(arena, hk_own_tag(&ref->heap->main), size, align);
    own_add_large(ref, arena, bytes, block.start);
    return block;
}
