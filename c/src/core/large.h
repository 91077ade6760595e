/* core/large.h - blocks above the largest class.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one span per block. Blocks are granules of the caller's arena up to 4 MiB, with their
 * alignment counted, else a range of their own from core/extent. They start at granules, or at
 * their alignment where that is larger. They are resized in place where neighbours are free, and
 * mappings move without a copy. An address leaves the pagemap before it leaves the block, and
 * enters after it.
 * Owns: spans of class NONE. Threads: any; a block's span belongs to the owner of the block.
 * Boundary: core/arena, core/extent, core/pagemap, core/span, hk_os_resize, hk_os_move.
 */
#ifndef HK_CORE_LARGE_H
#define HK_CORE_LARGE_H

#include "arena.h"
#include "span.h"

#define HK_LARGE_SLACK 4 /* a retired mapping may be 1/4 larger than the block that reuses it */

/* A block of `size` bytes; start NULL without memory. `owner` is noted in the span. */
struct hk_block hk_large_alloc(struct hk_arena *arena, void *owner, size_t size, size_t align);

/* Counts a span as that of a large block: one of granules, entered in the pagemap, that was
 * something else before. */
void hk_large_begin(const struct hk_span *span);

/* `span` is that of a large block. */
void hk_large_free(struct hk_span *span);

/* A freed block may be cached by its thread, with span and pages: retired, it is no block any more,
 * and a second free of it is seen; reused, it is one again, of `size` bytes, for which it must
 * suit. */
void hk_large_retire(struct hk_span *span);
void hk_large_reuse(struct hk_span *span, size_t size);
HK_FAST bool hk_large_suits(const struct hk_span *span, size_t size, size_t align) {
    if ((span->base & (align - 1)) != 0)
        return false;
    if (span->chunk != NULL)
        return (size + HK_GRANULE_BYTES - 1) >> HK_GRANULE_SHIFT == span->granules;
    return span->bytes >= size && span->bytes - size <= size / HK_LARGE_SLACK;
}
/* Whether a span is that of a live block. */
bool hk_large_is_live(const struct hk_span *span);

/* Resizes a large block to `size` bytes, more than the largest class, without copying; its new
 * start, or NULL if that is impossible: nothing changed then. */
void *hk_large_resize(struct hk_span *span, size_t size, size_t align);

/* Whether a large block may have been asked for with `size` bytes: exact to a page in an arena; a
 * mapping may have a reserve. */
bool hk_large_may_have(const struct hk_span *span, size_t size);

/* Bytes of a page, the unit of large blocks. */
size_t hk_large_page_bytes(void);

/* Bytes of live blocks and of retired ones. A statistic. */
uint64_t hk_large_live_bytes(void);

/* Those of them that have a mapping of their own. Statistics. */
void hk_large_mapped(uint64_t *count, uint64_t *bytes);

#endif
