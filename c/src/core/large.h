/* core/large.h - blocks above the largest class.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one span per block. Blocks of up to 4 MiB, including their alignment, are granules of
 * the caller's arena. Larger blocks have their own range from core/extent. A block starts at a
 * granule, or at its alignment if that is larger. Blocks are resized in place where their
 * neighbours are free, and mappings move without a copy. An address leaves the pagemap before the
 * block gives it up, and enters the pagemap after the block has got it.
 * Owns: spans of class NONE. Threads: any. A block's span belongs to the owner of the block.
 * Boundary: core/arena, core/extent, core/pagemap, core/span, hk_os_resize, hk_os_move.
 */
#ifndef HK_CORE_LARGE_H
#define HK_CORE_LARGE_H

#include "arena.h"
#include "span.h"

#define HK_LARGE_SLACK 4 /* a retired mapping may be 1/4 larger than the block that reuses it */

/* The bytes of a new block of `size` bytes. */
size_t hk_large_bytes(size_t size, size_t align);

/* Allocates a block of `size` bytes. Its start is NULL if out of memory. The span records
 * `owner`. */
struct hk_block hk_large_alloc(struct hk_arena *arena, void *owner, size_t size, size_t align);

/* Counts a span as a large block. The span has granules and is in the pagemap. */
void hk_large_begin(const struct hk_span *span);

/* Frees the large block that `span` describes. */
void hk_large_free(struct hk_span *span);

/* A thread may cache a freed block with its span and pages. A retired span is no longer a live
 * block, so that a second free of it is detected. Reuse makes it a live block of `size` bytes
 * again. The span must suit that size. */
void hk_large_retire(struct hk_span *span);
void hk_large_reuse(struct hk_span *span, size_t size);
HK_FAST bool hk_large_suits(const struct hk_span *span, size_t size, size_t align) {
    if ((span->base & (align - 1)) != 0)
        return false;
    if (span->chunk != NULL)
        return (size + HK_GRANULE_BYTES - 1) >> HK_GRANULE_SHIFT == span->granules;
    return span->bytes >= size && span->bytes - size <= size / HK_LARGE_SLACK;
}
/* Whether the large block of a span is live. */
bool hk_large_is_live(const struct hk_span *span);

/* Resizes a large block to `size` bytes, more than the largest class, without copying. Returns its
 * new start. If that is impossible, returns NULL and changes nothing. */
void *hk_large_resize(struct hk_span *span, size_t size, size_t align);

/* What a resize of a block aims at. Afterwards the block has at most as many bytes as before, or
 * `bytes` and perhaps the reserve. */
struct hk_large_aim {
    size_t bytes;
    size_t reserve; /* of a mapping that grows */
};
struct hk_large_aim hk_large_aim(const struct hk_span *span, size_t size);

/* The same as hk_large_resize, with this aim. */
void *hk_large_resize_to(struct hk_span *span, const struct hk_large_aim *aim, size_t align);

/* Whether a large block may have been allocated with `size` bytes. In an arena, the answer is exact
 * to a page. A mapping may have a reserve. */
bool hk_large_may_have(const struct hk_span *span, size_t size);

/* Bytes of a page, the unit of large blocks. */
size_t hk_large_page_bytes(void);

/* Bytes of live blocks and of retired ones. A statistic. */
uint64_t hk_large_live_bytes(void);

/* The number and bytes of large blocks with their own mapping. Statistics. */
void hk_large_mapped(uint64_t *count, uint64_t *bytes);

#endif
