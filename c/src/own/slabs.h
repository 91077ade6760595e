/* own/slabs.h - the slabs and large blocks of a private heap, internal to this layer.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: for each class a ring of all slabs, of which those with free blocks come first, and a
 * list of the large blocks.
 * Owns: nothing. Threads: under the OWN lock of the heap, or without a lock where it says so.
 * Boundary: core/slab, core/pagemap, core/arena.
 */
#ifndef HK_OWN_SLABS_H
#define HK_OWN_SLABS_H

#include "../core/arena.h"
#include "hold.h"

/* ---- Under the OWN lock ---------------------------------------------------------------------- */

/* Puts a slab at the front of the ring of its class, and takes it out. */
void hk_own_link(struct hak_heap *heap, struct hk_span *slab);
void hk_own_unlink(struct hak_heap *heap, struct hk_span *slab);

void hk_own_link_large(struct hak_heap *heap, struct hk_span *span);
void hk_own_unlink_large(struct hak_heap *heap, struct hk_span *span);

/* Atomic. Bytes of the empty slabs of all heaps that do not keep theirs. */
extern uint64_t hk_own_empty_bytes;

/* Moves a slab without live blocks from its ring to the empty ones, which are used again before a
 * new slab is created. Returns the slab if there are too many of them, and NULL otherwise. */
struct hk_span *hk_own_retire(struct hak_heap *heap, struct hk_span *slab);

/* Moves an empty slab back to the ring of its class. Returns false if there is none. */
bool hk_own_reuse(struct hak_heap *heap, size_t class);

/* Adds the empty slabs to the list `spans`. Only those that were empty at the last call, if not
 * `all`. Returns the new list. */
struct hk_span *hk_own_take_empty(struct hak_heap *heap, struct hk_span *spans, bool all);

/* The next slab of a ring, or NULL at its end. */
HK_FAST struct hk_span *hk_own_next(const struct hak_heap *heap, const struct hk_span *slab) {
    return slab->next != heap->slabs[hk_own_by_class[slab->class]] ? slab->next : NULL;
}

/* The tagged pointer to a heap, as the owner of a span. */
HK_FAST void *hk_own_tag(struct hak_heap *heap) { return (char *)heap + HK_SPAN_PRIVATE; }

/* The first block of the word that contains the block at `index`. */
HK_FAST char *hk_own_word_at(const struct hk_span *slab, uint32_t index) {
    return hk_slab_block(slab, index - index % HK_WORD_BITS);
}

/* The bits of the blocks that were ever used, of the word that begins with the block at `index`. */
HK_FAST uint64_t hk_own_used(const struct hk_span *slab, uint32_t index) {
    uint32_t count = slab->bump > index ? slab->bump - index : 0;
    return count < HK_WORD_BITS ? (UINT64_C(1) << count) - 1 : UINT64_MAX;
}

/* Makes a cache empty. No other thread uses it. */
void hk_own_begin_cache(struct hk_own_cache *cache);

/* The number of blocks in the cell of a class. */
uint32_t hk_own_cell_count(const struct hk_own_cache *cache, size_t class);

/* Makes the first blocks of the bits of a cell its run. Returns false if there are none. Called by
 * the user of the cache. */
bool hk_own_cell_run(struct hk_own_cache *cache, size_t class);

/* Whether a cache holds the block at `index`, from which its address follows. */
bool hk_own_is_cached(struct hak_heap *heap, const struct hk_span *slab, const char *block,
                      uint32_t index);

/* The bits of the blocks that caches hold of the word that contains a block. */
uint64_t hk_own_cached(struct hak_heap *heap, const struct hk_span *slab, uint32_t index);

/* Gives the blocks in a cache back to their slabs. Called by its user. Returns false if there are
 * none. */
bool hk_own_flush(struct hak_heap *heap, struct hk_own_cache *cache);

/* A cache by its number below HK_OWN_CACHES, or NULL. */
enum { HK_OWN_CACHES = HK_OWN_SHARED + 1 };
HK_FAST struct hk_own_cache *hk_own_cache_at(struct hak_heap *heap, uint32_t number) {
    return number < HK_OWN_SHARED ? hk_peek(&heap->shared[number]) : &heap->cache;
}

/* ---- Without a lock -------------------------------------------------------------------------- */

/* The arena for memory that the calling thread needs, or NULL if out of memory. */
struct hk_arena *hk_own_arena(void);

/* Adds a slab. Returns false if out of memory, or if the heap has ended. */
bool hk_own_grow(const struct hk_own_ref *ref, size_t class);

/* Locks the heap of a span that contains a live block. Returns NULL if there is none, because the
 * heap was merged or, if the program uses a freed pointer, destroyed. Then *is_mistake says
 * which. */
struct hak_heap *hk_own_lock_of(const struct hk_span *span, const void *block, bool *is_mistake);

/* Releases slabs and large blocks that are linked by `next` and that no heap has any more. */
void hk_own_release(struct hk_span *span);

#endif
