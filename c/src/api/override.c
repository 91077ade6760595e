/* api/override.c - the names of libc and of C++, in place of theirs.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Compiled only where HAK_OVERRIDE is defined. All of glibc's allocation functions are here, so that
 * no member of a static libc that defines the rest is drawn in. The header mallinfo comes from is
 * glibc's; elsewhere (musl) the functions that need it are left out.
 */
#ifdef HAK_OVERRIDE

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <hakmem.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "front.h"

/* ---- C ------------------------------------------------------------------------------------------- */

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

/* glibc: an alignment that is not a power of two is rounded up to one. */
HAK_API void *memalign(size_t alignment, size_t size) {
    if (!hk_is_power_of_two(alignment)) {
        if (alignment > SIZE_MAX / 2 + 1) {
            errno = EINVAL;
            return NULL;
        }
        alignment = alignment == 0 ? 1 : (size_t)2 << hk_log2(alignment);
    }
    return hak_aligned_alloc(alignment, size);
}

static size_t override_page_bytes(void) { return (size_t)sysconf(_SC_PAGESIZE); }

HAK_API void *valloc(size_t size) { return hak_aligned_alloc(override_page_bytes(), size); }
HAK_API void *pvalloc(size_t size) {
    size_t page = override_page_bytes();
    if (size > SIZE_MAX - page) {
        errno = ENOMEM;
        return NULL;
    }
    return hak_aligned_alloc(page, hk_round_up(size, page));
}
HAK_API size_t malloc_usable_size(void *ptr) { return hak_usable_size(ptr); }

HAK_API void cfree(void *ptr); /* in no header since glibc 2.26 */
HAK_API void cfree(void *ptr) { hk_front_free(ptr); }

/* Keeping `pad` bytes at the top of a heap means nothing here. */
HAK_API int malloc_trim(size_t pad) {
    (void)pad;
    return hak_trim() > 0;
}

/* glibc's tunables mean nothing here; accepted, as programs set them and check for success. */
HAK_API int mallopt(int parameter, int value) {
    (void)parameter;
    (void)value;
    return 1;
}

HAK_API void malloc_stats(void) { hak_report(HAK_REPORT_TEXT, NULL, NULL); }

#if defined(__GLIBC__)
HAK_API struct mallinfo2 mallinfo2(void) {
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    struct mallinfo2 info = {0};
    info.arena = stats.bytes_slabs;
    info.hblkhd = stats.bytes_large;
    info.uordblks = stats.bytes_live - stats.bytes_large;
    info.fordblks = stats.bytes_slabs - info.uordblks;
    info.fsmblks = stats.bytes_cached;
    info.keepcost = stats.bytes_dirty;
    return info;
}

static int override_int(size_t value) { return value < INT_MAX ? (int)value : INT_MAX; }

/* The fields are too small for today; glibc lets them wrap, here they stop at INT_MAX. */
HAK_API struct mallinfo mallinfo(void) {
    struct mallinfo2 wide = mallinfo2();
    struct mallinfo info = {0};
    info.arena = override_int(wide.arena);
    info.hblkhd = override_int(wide.hblkhd);
    info.uordblks = override_int(wide.uordblks);
    info.fordblks = override_int(wide.fordblks);
    info.fsmblks = override_int(wide.fsmblks);
    info.keepcost = override_int(wide.keepcost);
    return info;
}

HAK_API int malloc_info(int options, FILE *stream) {
    if (options != 0) {
        errno = EINVAL;
        return -1;
    }
    struct hak_stats stats;
    hak_stats(&stats, sizeof stats);
    int written = fprintf(stream, "<malloc version=\"hakmem-" HAK_VERSION_STRING "\">\n"
#define STAT(field, unit, words) "<" #field ">%llu</" #field ">\n"
#include "../core/stats.def"
#undef STAT
                                  "</malloc>\n"
#define STAT(field, unit, words) , (unsigned long long)stats.field
#include "../core/stats.def"
#undef STAT
    );
    return written < 0 ? -1 : 0;
}
#endif

/* ---- C++: operator new and delete, by their mangled names (Itanium ABI) --------------------------
 *
 * libstdc++ is not needed: its functions are weak here. Without them a failing new aborts. */

typedef void (*override_handler)(void);
extern HK_WEAK override_handler override_get_new_handler(void) __asm__("_ZSt15get_new_handlerv");
extern HK_WEAK void override_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv");

/* Calls the new handler; false if there is none. */
static bool override_handle_failure(void) {
    override_handler handler = override_get_new_handler != NULL ? override_get_new_handler() : NULL;
    if (handler == NULL)
        return false;
    handler();
    return true;
}

static HK_SLOW void *override_new_failed(size_t size, size_t align) {
    void *block = NULL;
    while (block == NULL) {
        if (!override_handle_failure()) {
            if (override_throw_bad_alloc != NULL)
                override_throw_bad_alloc();
            abort();
        }
        block = hk_front_alloc(size, align);
    }
    return block;
}

/* A handler that throws leaves through here, which the standard turns into NULL; C cannot catch. */
static HK_SLOW void *override_new_failed_nothrow(size_t size, size_t align) {
    void *block = NULL;
    while (block == NULL && override_handle_failure())
        block = hk_front_alloc(size, align);
    return block;
}

#define OVERRIDE_CPP(type, name, mangled, ...)                                                     \
    HAK_API type name(__VA_ARGS__) __asm__(mangled);                                               \
    HAK_API type name(__VA_ARGS__)

#define OVERRIDE_NEW(name, mangled)                                                                \
    OVERRIDE_CPP(void *, name, mangled, size_t size) {                                             \
        void *block = hk_front_malloc(size);                                                       \
        return hk_likely(block != NULL) ? block : override_new_failed(size, HK_MALLOC_ALIGN);      \
    }
OVERRIDE_NEW(override_new, "_Znwm")
OVERRIDE_NEW(override_new_array, "_Znam")

#define OVERRIDE_NEW_NOTHROW(name, mangled)                                                        \
    OVERRIDE_CPP(void *, name, mangled, size_t size, const void *nothrow) {                        \
        (void)nothrow;                                                                             \
        void *block = hk_front_malloc(size);                                                       \
        return hk_likely(block != NULL) ? block                                                    \
                                        : override_new_failed_nothrow(size, HK_MALLOC_ALIGN);      \
    }
OVERRIDE_NEW_NOTHROW(override_new_nothrow, "_ZnwmRKSt9nothrow_t")
OVERRIDE_NEW_NOTHROW(override_new_array_nothrow, "_ZnamRKSt9nothrow_t")

/* The alignment of C++'s aligned forms is above malloc's, or the plain form would have been used. */
static size_t override_align(size_t align) {
    return align > HK_MALLOC_ALIGN ? align : HK_MALLOC_ALIGN;
}

#define OVERRIDE_NEW_ALIGNED(name, mangled)                                                        \
    OVERRIDE_CPP(void *, name, mangled, size_t size, size_t align) {                               \
        void *block = hk_front_alloc(size, override_align(align));                                 \
        return hk_likely(block != NULL) ? block                                                    \
                                        : override_new_failed(size, override_align(align));        \
    }
OVERRIDE_NEW_ALIGNED(override_new_aligned, "_ZnwmSt11align_val_t")
OVERRIDE_NEW_ALIGNED(override_new_array_aligned, "_ZnamSt11align_val_t")

#define OVERRIDE_NEW_ALIGNED_NOTHROW(name, mangled)                                                \
    OVERRIDE_CPP(void *, name, mangled, size_t size, size_t align, const void *nothrow) {          \
        (void)nothrow;                                                                             \
        void *block = hk_front_alloc(size, override_align(align));                                 \
        return hk_likely(block != NULL)                                                            \
                   ? block                                                                         \
                   : override_new_failed_nothrow(size, override_align(align));                     \
    }
OVERRIDE_NEW_ALIGNED_NOTHROW(override_new_aligned_nothrow, "_ZnwmSt11align_val_tRKSt9nothrow_t")
OVERRIDE_NEW_ALIGNED_NOTHROW(override_new_array_aligned_nothrow,
                             "_ZnamSt11align_val_tRKSt9nothrow_t")

#define OVERRIDE_DELETE(name, mangled)                                                             \
    OVERRIDE_CPP(void, name, mangled, void *ptr) { hk_front_free(ptr); }
OVERRIDE_DELETE(override_delete, "_ZdlPv")
OVERRIDE_DELETE(override_delete_array, "_ZdaPv")

#define OVERRIDE_DELETE_SIZED(name, mangled)                                                       \
    OVERRIDE_CPP(void, name, mangled, void *ptr, size_t size) { hak_free_sized(ptr, size); }
OVERRIDE_DELETE_SIZED(override_delete_sized, "_ZdlPvm")
OVERRIDE_DELETE_SIZED(override_delete_array_sized, "_ZdaPvm")

/* What follows the pointer is not needed: a nothrow tag or an alignment, or both. */
#define OVERRIDE_DELETE_TAGGED(name, mangled)                                                      \
    OVERRIDE_CPP(void, name, mangled, void *ptr, const void *tag) {                                \
        (void)tag;                                                                                 \
        hk_front_free(ptr);                                                                        \
    }
OVERRIDE_DELETE_TAGGED(override_delete_nothrow, "_ZdlPvRKSt9nothrow_t")
OVERRIDE_DELETE_TAGGED(override_delete_array_nothrow, "_ZdaPvRKSt9nothrow_t")
OVERRIDE_DELETE_TAGGED(override_delete_aligned, "_ZdlPvSt11align_val_t")
OVERRIDE_DELETE_TAGGED(override_delete_array_aligned, "_ZdaPvSt11align_val_t")
OVERRIDE_DELETE_TAGGED(override_delete_aligned_nothrow, "_ZdlPvSt11align_val_tRKSt9nothrow_t")
OVERRIDE_DELETE_TAGGED(override_delete_array_aligned_nothrow, "_ZdaPvSt11align_val_tRKSt9nothrow_t")

#define OVERRIDE_DELETE_SIZED_ALIGNED(name, mangled)                                               \
    OVERRIDE_CPP(void, name, mangled, void *ptr, size_t size, size_t align) {                      \
        hak_free_aligned_sized(ptr, align, size);                                                  \
    }
OVERRIDE_DELETE_SIZED_ALIGNED(override_delete_sized_aligned, "_ZdlPvmSt11align_val_t")
OVERRIDE_DELETE_SIZED_ALIGNED(override_delete_array_sized_aligned, "_ZdaPvmSt11align_val_t")

#endif
