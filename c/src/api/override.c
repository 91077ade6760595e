/* api/override.c - replacements for the allocation functions of libc and C++.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Compiled only where HAK_OVERRIDE is defined. All of glibc's allocation functions are here, so
 * that the linker does not pull in the member of a static libc that defines the others. mallinfo
 * and malloc_info exist only in glibc, and mallinfo2 only since glibc 2.33.
 */
#ifdef HAK_OVERRIDE

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <hakmem.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__GLIBC__)
#include <malloc.h>
#define OVERRIDE_HAS_MALLINFO2 __GLIBC_PREREQ(2, 33)
#endif

#include "../core/large.h"
#include "../debug/stats.h"
#include "front.h"
#include "new_handler.h"

/* ---- C --------------------------------------------------------------------------------------- */

HAK_API void *malloc(size_t size) { return hk_front_malloc(size); }
HAK_API void free(void *ptr) { hk_front_free(ptr); }
HAK_API void *calloc(size_t count, size_t size) { return hak_calloc(count, size); }
HAK_API void *realloc(void *ptr, size_t size) { return hak_realloc(ptr, size); }
HAK_API void *reallocarray(void *ptr, size_t count, size_t size) {
    return hak_reallocarray(ptr, count, size);
}
HAK_API void free_sized(void *ptr, size_t size) { hak_free_sized(ptr, size); }
HAK_API void free_aligned_sized(void *ptr, size_t alignment, size_t size) {
    hak_free_aligned_sized(ptr, alignment, size);
}
HAK_API void *aligned_alloc(size_t alignment, size_t size) {
    return hak_aligned_alloc(alignment, size);
}
HAK_API int posix_memalign(void **out, size_t alignment, size_t size) {
    return hak_posix_memalign(out, alignment, size);
}

/* As in glibc, an alignment that is not a power of two is rounded up to one. If none is large
 * enough, the result is 0, which is refused with EINVAL. */
HAK_API void *memalign(size_t alignment, size_t size) {
    if (!hk_is_power_of_two(alignment))
        alignment = alignment == 0 ? 1 : (size_t)2 << hk_log2(alignment);
    return hak_aligned_alloc(alignment, size);
}

HAK_API void *valloc(size_t size) { return hak_aligned_alloc(hk_large_page_bytes(), size); }
HAK_API void *pvalloc(size_t size) {
    size_t page = hk_large_page_bytes();
    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_aligned_alloc(page, hk_round_up(size, page));
}
HAK_API size_t malloc_usable_size(void *ptr) { return hak_usable_size(ptr); }

HAK_API void cfree(void *ptr); /* in no header since glibc 2.26 */
HAK_API void cfree(void *ptr) { hk_front_free(ptr); }

/* `pad` has no meaning here, because no heap has a top. */
HAK_API int malloc_trim(size_t pad) {
    (void)pad;
    return hak_trim() > 0;
}

/* glibc's tunables have no meaning here. We accept them, because programs set them and check for
 * success. */
HAK_API int mallopt(int parameter, int value) {
    (void)parameter;
    (void)value;
    return 1;
}

HAK_API void malloc_stats(void) { hak_report(HAK_REPORT_TEXT, NULL, NULL); }

#if defined(__GLIBC__)

/* ---- glibc's statistics ---------------------------------------------------------------------- */

/* Like struct mallinfo2, which glibc lacks before 2.33. */
struct override_info {
    struct hk_stats_all stats;
    uint64_t blocks_free;   /* in slabs and in caches */
    uint64_t blocks_cached; /* of these, in caches */
    uint64_t bytes_mapped;  /* in live blocks with their own mappings */
    uint64_t bytes_arena;   /* in slabs, in guarded blocks, and in other large blocks */
    uint64_t bytes_used;    /* of these, in live blocks */
};

static void override_collect(struct override_info *info) {
    hk_stats_collect(&info->stats);
    const struct hak_stats *total = &info->stats.total;

    info->blocks_free = info->blocks_cached = 0;
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hak_class_stats *row = &info->stats.classes[class];
        info->blocks_free += row->blocks_free + row->blocks_cached;
        info->blocks_cached += row->blocks_cached;
    }

    /* Freed blocks in large-block caches are still mapped, but not used. */
    info->bytes_mapped = info->stats.bytes_mapped < total->bytes_large ? info->stats.bytes_mapped
                                                                       : total->bytes_large;
    info->bytes_arena =
        total->bytes_slabs + total->bytes_guarded + total->bytes_large - info->bytes_mapped;
    info->bytes_used = total->bytes_live - info->bytes_mapped;
}

#if OVERRIDE_HAS_MALLINFO2
HAK_API struct mallinfo2 mallinfo2(void) {
    struct override_info info;
    override_collect(&info);

    struct mallinfo2 result = {0};
    result.arena = info.bytes_arena;
    result.ordblks = info.blocks_free;
    result.smblks = info.blocks_cached;
    result.hblks = info.stats.blocks_mapped;
    result.hblkhd = info.bytes_mapped;
    result.fsmblks = info.stats.total.bytes_cached;
    result.uordblks = info.bytes_used;
    result.fordblks = info.bytes_arena - info.bytes_used;
    result.keepcost = info.stats.total.bytes_dirty;

    return result;
}
#endif

static int override_int(uint64_t value) { return value < INT_MAX ? (int)value : INT_MAX; }

/* The fields are too small for today's heaps. glibc lets them wrap. Here they saturate at
 * INT_MAX. */
HAK_API struct mallinfo mallinfo(void) {
    struct override_info info;
    override_collect(&info);

    struct mallinfo result = {0};
    result.arena = override_int(info.bytes_arena);
    result.ordblks = override_int(info.blocks_free);
    result.smblks = override_int(info.blocks_cached);
    result.hblks = override_int(info.stats.blocks_mapped);
    result.hblkhd = override_int(info.bytes_mapped);
    result.fsmblks = override_int(info.stats.total.bytes_cached);
    result.uordblks = override_int(info.bytes_used);
    result.fordblks = override_int(info.bytes_arena - info.bytes_used);
    result.keepcost = override_int(info.stats.total.bytes_dirty);

    return result;
}

/* One element with the attributes count and size. */
static void override_write_total(FILE *stream, const char *type, uint64_t count, uint64_t bytes) {
    fprintf(stream, "<total type=\"%s\" count=\"%llu\" size=\"%llu\"/>\n", type,
            (unsigned long long)count, (unsigned long long)bytes);
}

static void override_write_size(FILE *stream, const char *element, const char *type,
                                uint64_t bytes) {
    fprintf(stream, "<%s type=\"%s\" size=\"%llu\"/>\n", element, type, (unsigned long long)bytes);
}

/* The free blocks of each size class. */
static void override_write_sizes(FILE *stream, const struct hk_stats_all *stats) {
    uint64_t smaller = 0;

    fputs("<sizes>\n", stream);
    for (size_t class = 1; class < HK_CLASS_COUNT; ++class) {
        const struct hak_class_stats *row = &stats->classes[class];
        unsigned long long count = row->blocks_free + row->blocks_cached;
        if (count > 0)
            fprintf(stream, "<size from=\"%llu\" to=\"%llu\" total=\"%llu\" count=\"%llu\"/>\n",
                    (unsigned long long)smaller + 1, (unsigned long long)row->block_bytes,
                    count * row->block_bytes, count);
        smaller = row->block_bytes;
    }

    fputs("</sizes>\n", stream);
}

/* The elements that the document contains twice: in the heap, and after it for all heaps
 * together. */
static void override_write_totals(FILE *stream, const struct override_info *info) {
    uint64_t cached = info->stats.total.bytes_cached;
    uint64_t unused = info->bytes_arena - info->bytes_used;
    override_write_total(stream, "fast", info->blocks_cached, cached);
    override_write_total(stream, "rest", info->blocks_free - info->blocks_cached,
                         unused > cached ? unused - cached : 0);
}

static void override_write_spaces(FILE *stream, const struct hak_stats *total) {
    override_write_size(stream, "system", "current", total->bytes_mapped);
    override_write_size(stream, "system", "max", total->bytes_mapped_peak);
    override_write_size(stream, "aspace", "total", total->bytes_mapped);
    override_write_size(stream, "aspace", "mprotect", total->bytes_mapped);
}

/* All counters of struct hak_stats, in an element of our own. */
static void override_write_stats(FILE *stream, const struct hak_stats *total) {
    static const struct {
        const char *name;
        size_t offset;
    } rows[] = {
#define STAT(field, ...) {#field, offsetof(struct hak_stats, field)},
#include "../core/stats.def"
#undef STAT
    };

    fputs("<hakmem version=\"" HAK_VERSION_STRING "\">\n", stream);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const void *value = (const char *)total + rows[i].offset;
        fprintf(stream, "<%s>%llu</%s>\n", rows[i].name,
                (unsigned long long)*(const uint64_t *)value, rows[i].name);
    }

    fputs("</hakmem>\n", stream);
}

/* Writes the elements of glibc's malloc_info, with all heaps reported as one. The stream may
 * allocate, so all numbers are collected first. */
static void override_write_info(FILE *stream) {
    struct override_info info;
    override_collect(&info);
    fputs("<malloc version=\"1\">\n<heap nr=\"0\">\n", stream);

    override_write_sizes(stream, &info.stats);
    override_write_totals(stream, &info);
    override_write_spaces(stream, &info.stats.total);

    fputs("</heap>\n", stream);
    override_write_totals(stream, &info);

    override_write_total(stream, "mmap", info.stats.blocks_mapped, info.bytes_mapped);
    override_write_spaces(stream, &info.stats.total);
    override_write_stats(stream, &info.stats.total);
    fputs("</malloc>\n", stream);
}

/* Disables cancellation, so that the document is written as a whole. */
HAK_API int malloc_info(int options, FILE *stream) {
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    int saved;
    bool held = pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &saved) == 0;
    override_write_info(stream);
    if (held)
        pthread_setcancelstate(saved, NULL);
    return ferror(stream) ? -1 : 0;
}
#endif

/* ---- C++: operator new and delete, by their mangled names (Itanium ABI) -------------------------
 *
 * The references to libstdc++ are weak, so C programs do not need it. Without it, a failing new
 * aborts. */

typedef void (*override_handler_type)(void);

extern HK_WEAK override_handler_type
override_get_new_handler(void) __asm__("_ZSt15get_new_handlerv");
extern HK_WEAK void override_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv");
extern HK_WEAK void *override_begin_catch(void *exception) __asm__("__cxa_begin_catch");
extern HK_WEAK void override_end_catch(void) __asm__("__cxa_end_catch");

static override_handler_type override_handler(void) {
    return override_get_new_handler != NULL ? override_get_new_handler() : NULL;
}

static HK_SLOW void *override_new_failed(size_t size, size_t align) {
    void *block = NULL;
    while (block == NULL) {
        override_handler_type handler = override_handler();
        if (handler == NULL) {
            if (override_throw_bad_alloc != NULL)
                override_throw_bad_alloc();
            abort();
        }

        handler();
        block = hk_front_alloc(size, align);
    }
    return block;
}

/* A call of a function of the program that may throw: the handler, or a replaced operator. The
 * others are NULL. */
struct override_call {
    override_handler_type handler;
    void *(*plain)(size_t size);
    void *(*aligned)(size_t size, size_t align);
    size_t size;
    size_t align;
    void *block; /* the result of the operator */
};

static void override_run(void *self, void *arg) {
    struct override_call *call = arg;
    (void)self;
    if (call->handler != NULL)
        call->handler();
    else if (call->plain != NULL)
        call->block = call->plain(call->size);
    else
        call->block = call->aligned(call->size, call->align);
}

/* Returns false if the function throws. Only a program with a C++ runtime has such functions. */
static bool override_try(struct override_call *call) {
    void *exception = hk_catch_from(override_run, call);
    if (exception == NULL)
        return true;
    override_begin_catch(exception);
    override_end_catch();
    return false;
}

static bool override_try_handler(override_handler_type handler) {
    struct override_call call = {.handler = handler};
    return override_try(&call);
}

/* The nothrow forms return NULL where the plain forms throw, even if the exception comes from the
 * handler. */
static HK_SLOW void *override_new_failed_nothrow(size_t size, size_t align) {
    void *block = NULL;
    override_handler_type handler;
    while (block == NULL && (handler = override_handler()) != NULL && override_try_handler(handler))
        block = hk_front_alloc(size, align);
    return block;
}

/* The program may replace some of the operators. The standard then defines the others by them: an
 * array form calls the form without brackets, a nothrow form the one that throws, and a sized
 * delete the one without a size. So we call them by their exported names, which lead to the
 * replacements, and compare these names with our own functions where ours have a shorter way.
 *
 * The operators are weak, so that a program that replaces some can link the archive. */

#define OVERRIDE_DECLARE(type, name, mangled, ...)                                                 \
    HAK_API HK_WEAK type name(__VA_ARGS__) __asm__(mangled)

#define OVERRIDE_CPP(type, name, mangled, ...)                                                     \
    OVERRIDE_DECLARE(type, name, mangled, __VA_ARGS__);                                            \
    HAK_API HK_WEAK type name(__VA_ARGS__)

/* An operator that others compare: `own` is always ours, and the exported name is an alias. */
#define OVERRIDE_PRIMARY(type, name, own, mangled, ...)                                            \
    OVERRIDE_DECLARE(type, name, mangled, __VA_ARGS__) HK_ALIAS_OF(own)

/* ---- new ---- */

HK_USED static void *override_own_new(size_t size) {
    void *block = hk_front_malloc(size);
    return hk_likely(block != NULL) ? block : override_new_failed(size, HK_MALLOC_ALIGN);
}
OVERRIDE_PRIMARY(void *, override_new, override_own_new, "_Znwm", size_t size);

/* The alignment of C++'s aligned forms is above malloc's, or the plain form would have been
 * used. */
static size_t override_align(size_t align) {
    return align > HK_MALLOC_ALIGN ? align : HK_MALLOC_ALIGN;
}

HK_USED static void *override_own_new_aligned(size_t size, size_t align) {
    void *block = hk_front_alloc(size, override_align(align));
    return hk_likely(block != NULL) ? block : override_new_failed(size, override_align(align));
}
OVERRIDE_PRIMARY(void *, override_new_aligned, override_own_new_aligned, "_ZnwmSt11align_val_t",
                 size_t size, size_t align);

HK_USED static void *override_own_new_array(size_t size) { return override_new(size); }
OVERRIDE_PRIMARY(void *, override_new_array, override_own_new_array, "_Znam", size_t size);

HK_USED static void *override_own_new_array_aligned(size_t size, size_t align) {
    return override_new_aligned(size, align);
}
OVERRIDE_PRIMARY(void *, override_new_array_aligned, override_own_new_array_aligned,
                 "_ZnamSt11align_val_t", size_t size, size_t align);

/* ---- nothrow new ---- */

/* Call a replaced operator. */

static HK_SLOW void *override_try_new(void *(*replaced)(size_t size), size_t size) {
    struct override_call call = {.plain = replaced, .size = size};
    return override_try(&call) ? call.block : NULL;
}

static HK_SLOW void *override_try_aligned(void *(*replaced)(size_t size, size_t align), size_t size,
                                          size_t align) {
    struct override_call call = {.aligned = replaced, .size = size, .align = align};
    return override_try(&call) ? call.block : NULL;
}

OVERRIDE_CPP(void *, override_new_nothrow, "_ZnwmRKSt9nothrow_t", size_t size,
             const void *nothrow) {
    (void)nothrow;
    if (hk_unlikely(override_new != override_own_new))
        return override_try_new(override_new, size);
    void *block = hk_front_malloc(size);
    return hk_likely(block != NULL) ? block : override_new_failed_nothrow(size, HK_MALLOC_ALIGN);
}

OVERRIDE_CPP(void *, override_new_array_nothrow, "_ZnamRKSt9nothrow_t", size_t size,
             const void *nothrow) {
    if (hk_unlikely(override_new_array != override_own_new_array))
        return override_try_new(override_new_array, size);
    return override_new_nothrow(size, nothrow);
}

OVERRIDE_CPP(void *, override_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t",
             size_t size, size_t align, const void *nothrow) {
    (void)nothrow;
    if (hk_unlikely(override_new_aligned != override_own_new_aligned))
        return override_try_aligned(override_new_aligned, size, align);
    void *block = hk_front_alloc(size, override_align(align));
    return hk_likely(block != NULL) ? block
                                    : override_new_failed_nothrow(size, override_align(align));
}

OVERRIDE_CPP(void *, override_new_array_aligned_nothrow, "_ZnamSt11align_val_tRKSt9nothrow_t",
             size_t size, size_t align, const void *nothrow) {
    if (hk_unlikely(override_new_array_aligned != override_own_new_array_aligned))
        return override_try_aligned(override_new_array_aligned, size, align);
    return override_new_aligned_nothrow(size, align, nothrow);
}

/* ---- delete ---- */

HK_USED static void override_own_delete(void *ptr) { hk_front_free(ptr); }
OVERRIDE_PRIMARY(void, override_delete, override_own_delete, "_ZdlPv", void *ptr);

HK_USED static void override_own_delete_array(void *ptr) { override_delete(ptr); }
OVERRIDE_PRIMARY(void, override_delete_array, override_own_delete_array, "_ZdaPv", void *ptr);

OVERRIDE_CPP(void, override_delete_sized, "_ZdlPvm", void *ptr, size_t size) {
    if (hk_likely(override_delete == override_own_delete))
        hak_free_sized(ptr, size);
    else
        override_delete(ptr);
}

OVERRIDE_CPP(void, override_delete_array_sized, "_ZdaPvm", void *ptr, size_t size) {
    if (hk_likely(override_delete_array == override_own_delete_array))
        override_delete_sized(ptr, size);
    else
        override_delete_array(ptr);
}

OVERRIDE_CPP(void, override_delete_nothrow, "_ZdlPvRKSt9nothrow_t", void *ptr,
             const void *nothrow) {
    (void)nothrow;
    override_delete(ptr);
}

OVERRIDE_CPP(void, override_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t", void *ptr,
             const void *nothrow) {
    (void)nothrow;
    override_delete_array(ptr);
}

/* ---- aligned delete ---- */

HK_USED static void override_own_delete_aligned(void *ptr, size_t align) {
    (void)align;
    hk_front_free(ptr);
}
OVERRIDE_PRIMARY(void, override_delete_aligned, override_own_delete_aligned,
                 "_ZdlPvSt11align_val_t", void *ptr, size_t align);

HK_USED static void override_own_delete_array_aligned(void *ptr, size_t align) {
    override_delete_aligned(ptr, align);
}
OVERRIDE_PRIMARY(void, override_delete_array_aligned, override_own_delete_array_aligned,
                 "_ZdaPvSt11align_val_t", void *ptr, size_t align);

OVERRIDE_CPP(void, override_delete_sized_aligned, "_ZdlPvmSt11align_val_t", void *ptr, size_t size,
             size_t align) {
    if (hk_likely(override_delete_aligned == override_own_delete_aligned))
        hak_free_aligned_sized(ptr, align, size);
    else
        override_delete_aligned(ptr, align);
}

OVERRIDE_CPP(void, override_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t", void *ptr,
             size_t size, size_t align) {
    if (hk_likely(override_delete_array_aligned == override_own_delete_array_aligned))
        override_delete_sized_aligned(ptr, size, align);
    else
        override_delete_array_aligned(ptr, align);
}

OVERRIDE_CPP(void, override_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t",
             void *ptr, size_t align, const void *nothrow) {
    (void)nothrow;
    override_delete_aligned(ptr, align);
}

OVERRIDE_CPP(void, override_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t",
             void *ptr, size_t align, const void *nothrow) {
    (void)nothrow;
    override_delete_array_aligned(ptr, align);
}

#endif
