/* api/heaps.c - private heaps. SPDX-License-Identifier: MIT OR Apache-2.0 */
#include <errno.h>
#include <hakmem.h>

#include "../base/string.h"
#include "../core/error.h"
#include "../core/pagemap.h"
#include "../purge/retry.h"
#include "copy.h"
#include "front.h"
#include "own.h"

/* ---- Blocks ---------------------------------------------------------------------------------- */

static HK_NOINLINE void *heaps_alloc(struct hak_heap *heap, size_t size, size_t align) {
    void *block;
    size_t class = hk_class_of_layout(size, align);
    if (heap == NULL)
        return hk_front_alloc(size, align);
    if (hk_own_take_fast(heap, hk_own_cell_at[class], &block))
        return block;
    if (hk_likely(class != HK_CLASS_NONE) && hk_likely(hk_own_is_heap(heap)) &&
        hk_likely((block = hk_own_take_near(heap, hk_own_by_class[class])) != NULL))
        return block;
    return hk_own_alloc(heap, class, size, align).start;
}

/* Size 0 has class 0, and its cell is empty. */
void *hak_heap_malloc(struct hak_heap *heap, size_t size) {
    void *block;
    size_t class = HK_CLASS_NONE;
    if (hk_likely(size <= HK_TINY_MAX))
        class = hk_class_of_tiny(size);
    else if (size <= HK_MID_MAX)
        class = hk_class_of_mid(size);
    if (hk_likely(heap != NULL) && hk_likely(hk_own_take_fast(heap, hk_own_cell_at[class], &block)))
        return block;
    return heaps_alloc(heap, size, HK_MALLOC_ALIGN);
}

void *hak_heap_calloc(struct hak_heap *heap, size_t count, size_t size) {
    size_t bytes;
    if (hk_unlikely(__builtin_mul_overflow(count, size, &bytes))) {
        errno = ENOMEM;
        return NULL;
    }
    if (heap == NULL)
        return hak_calloc(1, bytes);
    struct hk_block block = hk_own_alloc(heap, hk_class_of(bytes), bytes, HK_MALLOC_ALIGN);
    if (block.start != NULL && !block.zero)
        hk_libc_memset(block.start, 0, bytes);
    return block.start;
}

void *hak_heap_aligned_alloc(struct hak_heap *heap, size_t alignment, size_t size) {
    if (hk_unlikely(!hk_is_power_of_two(alignment))) {
        errno = EINVAL;
        return NULL;
    }
    return heaps_alloc(heap, size, alignment > HK_MALLOC_ALIGN ? alignment : HK_MALLOC_ALIGN);
}

void *hak_heap_realloc(struct hak_heap *heap, void *ptr, size_t size) {
    if (ptr == NULL)
        return hak_heap_malloc(heap, size);
    if (hk_unlikely(size == 0)) {
        hak_free(ptr);
        return NULL;
    }

    struct hk_span *span = hk_front_find("hak_heap_realloc", ptr);
    if (hk_unlikely(span == NULL)) {
        errno = EINVAL;
        return NULL;
    }
    if (hk_own_of(span) == heap)
        return hak_realloc(ptr, size);

    struct hk_own_resize old = {span, ptr, hak_usable_size(ptr)};
    return hk_own_move(&old, heaps_alloc(heap, size, HK_MALLOC_ALIGN), size);
}

/* ---- Heaps ----------------------------------------------------------------------------------- */

struct hak_heap *hak_heap_new(const struct hak_heap_options *options, size_t options_bytes) {
    struct hak_heap_options given = {0};
    if (options != NULL)
        hk_copy_struct(&given, sizeof given, options, options_bytes);

    struct hak_heap *heap = hk_own_new(&given);
    if (heap == NULL && hk_purge_for(sizeof *heap))
        heap = hk_own_new(&given);
    if (heap == NULL)
        errno = ENOMEM;
    return heap;
}

/* Ends a heap with one of two functions. The calling thread's default heap must not be one that has
 * ended. */
static void heaps_end(const char *function, struct hak_heap *heap,
                      bool (*end)(struct hak_heap *heap)) {
    int saved = errno;
    if (heap == NULL)
        return;
    if (hk_own_default.heap == heap)
        hk_own_set_default(NULL);
    if (!hk_own_is_heap(heap) || !end(heap))
        hk_bad_pointer(function, heap, HK_CAUSE_NO_HEAP);
    errno = saved;
}

void hak_heap_destroy(struct hak_heap *heap) {
    heaps_end("hak_heap_destroy", heap, hk_own_destroy);
}

void hak_heap_merge(struct hak_heap *heap) { heaps_end("hak_heap_merge", heap, hk_own_merge); }

struct hak_heap *hak_heap_set_default(struct hak_heap *heap) {
    if (heap != NULL && (!hk_own_is_heap(heap) || hk_own_id(heap) == 0)) {
        hk_bad_pointer("hak_heap_set_default", heap, HK_CAUSE_NO_HEAP);
        heap = NULL;
    }
    return hk_own_set_default(heap);
}

struct hak_heap *hak_heap_of(const void *ptr) {
    struct hk_span *span = ptr != NULL ? hk_front_find("hak_heap_of", ptr) : NULL;
    return span != NULL ? hk_own_of(span) : NULL;
}

/* ---- Observation ----------------------------------------------------------------------------- */

void hak_heap_stats(struct hak_heap *heap, struct hak_heap_stats *stats, size_t stats_bytes) {
    struct hak_heap_stats now;
    memset(&now, 0, sizeof now);
    if (heap != NULL && (!hk_own_is_heap(heap) || !hk_own_count(heap, &now, NULL)))
        hk_bad_pointer("hak_heap_stats", heap, HK_CAUSE_NO_HEAP);
    hk_copy_struct(stats, stats_bytes, &now, sizeof now);
}

int hak_heap_visit(struct hak_heap *heap, int (*visit)(void *arg, void *block, size_t bytes),
                   void *arg) {
    int error = 0;
    if (heap != NULL)
        error = hk_own_is_heap(heap) ? hk_own_visit(heap, visit, arg) : EINVAL;
    if (error == EINVAL)
        hk_bad_pointer("hak_heap_visit", heap, HK_CAUSE_NO_HEAP);
    return error;
}
