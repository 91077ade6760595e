/* api/own.h - allocation from private heaps, for the other files of this layer.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the last steps of an allocation from a private heap: the callback at the limit, a
 * purge if there is no memory, errno, the bytes of a thread that counts, the limit of the process.
 * Owns: nothing. Threads: any, no lock held. Boundary: own/own, own/default, purge/retry,
 * api/limit, api/count.
 */
#ifndef HK_API_OWN_H
#define HK_API_OWN_H

#include "../own/default.h"

/* An allocation from a private heap. */
struct hk_own_request {
    struct hk_own_ref ref;
    bool once; /* another thread may merge the heap */
    size_t class;
    size_t size;
    size_t align;
};

/* Carries it out. The start of the block is NULL if that is impossible, with errno, or with *gone
 * if the heap has ended. */
struct hk_block hk_own_request(const struct hk_own_request *request, bool *gone);

/* The same for a heap that must exist. One that has ended is reported. `class` is that of the size
 * and the alignment. */
struct hk_block hk_own_alloc(struct hak_heap *heap, size_t class, size_t size, size_t align);

/* Allocates a block outside of all private heaps, also for a thread with a default heap: a block
 * that is resized does not change its heap. move.c */
void *hk_own_alloc_outside(size_t size, size_t align);

/* Resizes a block of a private heap, of which `used` bytes have contents. The result is in the same
 * heap. move.c */
struct hk_own_resize {
    struct hk_span *span;
    void *block;
    size_t used;
};
void *hk_own_resize(const struct hk_own_resize *old, size_t size, size_t align);

/* Copies the contents of the block to `moved`, of `size` bytes, and frees it. Returns NULL if
 * `moved` is NULL. move.c */
void *hk_own_move(const struct hk_own_resize *old, void *moved, size_t size);

#endif
