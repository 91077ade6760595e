/* api/deepbind.c - dlopen without RTLD_DEEPBIND. SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A library that is opened with RTLD_DEEPBIND looks names up in its own dependencies first, so its
 * malloc and free are libc's even if the rest of the process uses hakmem. The library then frees
 * each block that it gets from libc or the program, such as the result of strdup, with the wrong
 * allocator. Without the flag the library uses the one allocator of the process. The option
 * deepbind=keep passes the flag on.
 *
 * This is in the shared library only, where HAK_SHARED is defined, because a static executable has
 * no next dlopen. libc uses the return address to find the caller's $ORIGIN and RUNPATH. We
 * therefore enter the next dlopen by a tail call, which the compiler must not turn into an ordinary
 * call (-foptimize-sibling-calls).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <hakmem.h>

#include "../core/options.h"

#if defined(HAK_SHARED) && defined(RTLD_DEEPBIND)

enum { DEEPBIND_MASK = 0 }; /* a value of the option */

static uintptr_t deepbind_next; /* atomic: the address of the next dlopen, or 0 */

static HK_SLOW uintptr_t deepbind_find(void) {
    uintptr_t next = (uintptr_t)dlsym(RTLD_NEXT, "dlopen");
    hk_store_relaxed(&deepbind_next, next); /* relaxed: all threads find the same function */
    return next;
}

HAK_API void *dlopen(const char *file, int flags) {
    uintptr_t next = hk_load_relaxed(&deepbind_next); /* relaxed: as in deepbind_find */
    if (hk_unlikely(next == 0))
        next = deepbind_find();
    if (hk_unlikely(next == 0))
        return NULL;
    if (hk_option(HK_OPTION_deepbind) == DEEPBIND_MASK)
        flags &= ~RTLD_DEEPBIND;
    return ((void *(*)(const char *, int))next)(file, flags);
}

#endif
