/* own/slabs.h - the slabs and large blocks of a private heap, internal to this layer.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: for each class of a part a ring of all slabs, of which those with free blocks come
 * first, and a list of the large blocks of the heap.
 * Owns: nothing. Threads: under the OWN lock of the part, or without a lock where it says so.
 * Boundary: core/slab, core/pagemap, core/arena.
 */
#ifndef HK_OWN_SLABS_H
#define HK_OWN_SLABS_H

#include "../core/arena.h"
#include "hold.h"

/* ---- Under the OWN lock ---------------------------------------------------------------------- */

/* Puts a slab at the front of the ring of its class, and takes it out. */
void hk_own_link(struct hk_own_part *part, struct hk_span *slab);
void hk_own_unlink(struct hk_own_part *part, struct hk_span *slab);

/* Add and remove a large block. Under the lock of the main part. */
void hk_own_link_large(struct hak_heap *heap, struct hk_span *span);
void hk_own_unlink_large(struct hak_heap *heap, struct hk_span *span);

/* Atomic. Bytes of the empty slabs of all heaps that do not keep theirs. */
extern uint64_t hk_own_empty_bytes;

/* Moves a slab without live blocks from its ring to the empty ones, which are used again before a
 * new slab is created. Returns the slab if there are too many of them, and NULL otherwise. */
struct hk_span *hk_own_retire(struct hk_own_part *part, struct hk_span *slab);

/* Moves an empty slab back to the ring of its class. Returns false if there is none. */
bool hk_own_reuse(struct hk_own_part *part, size_t class);

/* Adds the empty slabs to the list `spans`. Only those that were empty at the last call, if not
 * `all`. Returns the new list. */
struct hk_span *hk_own_take_empty(struct hk_own_part *part, struct hk_span *spans, bool all);

/* The next slab of a ring, or NULL at its end. */
HK_FAST struct hk_span *hk_own_next(const struct hk_own_part *part, const struct hk_span *slab) {
    return slab->next != part->slabs[hk_own_by_class[slab->class]] ? slab->next : NULL;
}

/* The tagged pointer to a part, as the owner of a span. */
HK_FAST void *hk_own_tag(struct hk_own_part *part) { return (char *)part + HK_SPAN_PRIVATE; }

/* The part of a span, or NULL if it belongs to no private heap. Without a lock, a guess. */
HK_FAST struct hk_own_part *hk_own_part_of(const struct hk_span *span) {
    uintptr_t owner = (uintptr_t)hk_span_owner(span);
    /* A guarded span has a slot as its owner, which is never tagged. */
    return (owner & HK_SPAN_PRIVATE) != 0 ? (struct hk_own_part *)(owner - HK_SPAN_PRIVATE) : NULL;
}

/* The first block of the word that contains the block at `index`. */
HK_FAST char *hk_own_word_at(const struct hk_span *slab, uint32_t index) {
    return hk_slab_block(slab, index - index % HK_WORD_BITS);
}

/* The bits of the blocks that were ever used, of the word that begins with the block at `index`. */
HK_FAST uint64_t hk_own_used(const struct hk_span *slab, uint32_t index) {
    uint32_t count = slab->bump > index ? slab->bump - index : 0;
    return count < HK_WORD_BITS ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

/* Makes a cache empty, except for its lock. Under OWN, and under OWN_CACHE if it is not that of a
 * main part. */
void hk_own_begin_cache(struct hk_own_cache *cache);

/* The number of blocks in the cell of a class. */
uint32_t hk_own_cell_count(const struct hk_own_cache *cache, size_t class);

/* Makes the first blocks of the bits of a cell its run. Returns false if there are none. Called by
 * the user of the cache. */
bool hk_own_cell_run(struct hk_own_cache *cache, size_t class);

/* Completes a move of a run that a thread of a parent process had begun. Without that, its end is
 * before its start, and an allocation would take blocks past the end. Called by the user of the
 * cache, or under OWN. */
void hk_own_settle(struct hk_own_cache *cache);

/* Whether the cache of its part holds the block at `index`, from which its address follows. The
 * loads have the order of own_view. */
HK_FAST bool hk_own_is_cached(const struct hk_own_part *part, const struct hk_span *slab,
                              const char *block, uint32_t index) {
    size_t class = hk_own_by_class[slab->class];
    const struct hk_own_cell *cell = &part->cache.cells[class];
    uint32_t bit = index % HK_WORD_BITS;
    /* acquire: pairs with the releases in hk_own_cell_run */
    uint64_t bits = hk_load_acquire(&cell->bits);
    const char *end = hk_load_acquire(&cell->end);
    const char *next = hk_load_relaxed(&cell->next); /* relaxed: acquired with the end */
    if (block < next)
        return false;
    return block < end ||
           (((bits >> bit) & 1) != 0 && block - bit * cell->bytes == part->cache.words[class]);
}

/* The bits of the blocks that the cache of the part holds of the word that contains a block. */
uint64_t hk_own_cached(const struct hk_own_part *part, const struct hk_span *slab, uint32_t index);

/* Gives the blocks in the cache of a part back to their slabs. Called by the user of the cache.
 * Returns false if there are none. */
bool hk_own_flush(struct hk_own_part *part);

/* Counts bytes at the limit of the heap of a part. Blocks in cells count, so those of the part are
 * given back first if necessary, unless another thread owns it. Under OWN, and under OWN_CACHE if
 * the part has a lock for the cells. Returns false if that would exceed the limit. */
bool hk_own_make_room(struct hk_own_part *part, uint64_t bytes);

/* Takes a part from its thread, which may still have a pointer to it. */
void hk_own_abandon(struct hk_own_part *part);

/* Whether a part belongs to a heap that has not ended. If another thread merges the heap, the part
 * keeps its slabs at least until the lock is released. */
HK_FAST bool hk_own_is_of(const struct hk_own_part *part, const struct hk_own_ref *ref) {
    return hk_peek(&part->heap) == ref->heap && hk_own_id(ref->heap) == ref->id;
}

/* ---- Without a lock -------------------------------------------------------------------------- */

/* The arena for memory that the calling thread needs, or NULL if out of memory. */
struct hk_arena *hk_own_arena(void);

/* A part by its number below HK_OWN_PARTS, or NULL. The main part is the last one. A part that the
 * heap has lost meanwhile has no slabs of it any more. */
enum { HK_OWN_PARTS = HK_OWN_SHARED + 1 };
HK_FAST struct hk_own_part *hk_own_part_at(struct hak_heap *heap, uint32_t number) {
    /* acquire: pairs with the release in hk_own_add_part */
    return number < HK_OWN_SHARED ? hk_load_acquire(&heap->shared[number]) : &heap->main;
}

/* The number from which on a heap has parts, as a hint: 0, or that of the main part. */
HK_FAST uint32_t hk_own_first_part(const struct hak_heap *heap) {
    return hk_load_relaxed(&heap->sharing) > 0 ? 0 : HK_OWN_SHARED; /* relaxed: a hint */
}

/* Counts bytes at the limit of a heap, without that. */
bool hk_own_reserve(struct hak_heap *heap, uint64_t bytes);

/* Subtracts them. */
HK_FAST void hk_own_unreserve(struct hak_heap *heap, uint64_t bytes) {
    if (hk_own_limit(heap) != 0)
        hk_sub_relaxed(&heap->used, bytes); /* relaxed: a count */
}

/* Adds a part without slabs, unless another thread was faster. Returns NULL if out of memory, or if
 * the heap has ended. */
struct hk_own_part *hk_own_add_part(const struct hk_own_ref *ref, uint32_t number, uint32_t owner);

/* Adds a slab to a part of a heap. Returns false if out of memory, or if the heap has ended. */
bool hk_own_grow(const struct hk_own_ref *ref, struct hk_own_part *part, size_t class);

/* Locks the part of a span that contains a live block. Returns NULL if there is none, because the
 * heap was merged or, if the program uses a freed pointer, destroyed. Then *is_mistake says
 * which. */
struct hk_own_part *hk_own_lock_of(const struct hk_span *span, const void *block, bool *is_mistake);

/* Releases slabs and large blocks that are linked by `next` and that no heap has any more. */
void hk_own_release(struct hk_span *span);

#endif
