/* base/compiler.h - names for the compiler's extensions of C11.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: attribute and annotation macros, and the build's debug constant. Only this file and
 * the public header may use GNU attributes directly.
 * Owns: nothing. Threads: any. Boundary: calls nothing.
 */
#ifndef HK_BASE_COMPILER_H
#define HK_BASE_COMPILER_H

/* This comes before any other header, because the headers of a 32-bit libc may be missing. */
#if __SIZEOF_POINTER__ < 8
#error "hakmem supports 64-bit targets only: this target has 32-bit pointers"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 1 in builds that check all internal invariants (hk_assert, lock ranks). */
#ifndef HK_DEBUG
#define HK_DEBUG 0
#endif

/* 1 under ThreadSanitizer, which must see each thread start. */
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define HK_THREAD_SANITIZER 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define HK_THREAD_SANITIZER 1
#endif
#ifndef HK_THREAD_SANITIZER
#define HK_THREAD_SANITIZER 0
#endif

/* 1 under any sanitizer that follows accesses to memory. */
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define HK_SANITIZER 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define HK_SANITIZER 1
#endif
#ifndef HK_SANITIZER
#define HK_SANITIZER HK_THREAD_SANITIZER
#endif

#define HK_FAST static inline __attribute__((always_inline)) /* on the path of every call */
#define HK_COLD __attribute__((cold)) /* for people; apart from the code that each program runs */
#define HK_SLOW __attribute__((noinline, cold)) /* entered once per batch or less */
#define HK_NOINLINE __attribute__((noinline))
#define HK_CONSTRUCTOR __attribute__((constructor))
#define HK_DESTRUCTOR __attribute__((destructor))
#define HK_WEAK __attribute__((weak))
#define HK_ALIAS_OF(name) __attribute__((alias(#name)))
#define HK_SYMBOL(name) __asm__(#name) /* the name in the object file */
#define HK_UNALIGNED __attribute__((aligned(1), may_alias))
#define HK_VECTOR_16 __attribute__((vector_size(16), aligned(1), may_alias))
#define HK_USED __attribute__((used)) /* referred to by its name only */
#define HK_NORETURN _Noreturn
#define HK_FRAME() __builtin_frame_address(0) /* its second word is the return address */
#define HK_CACHE_LINE 64
#define HK_CACHE_ALIGNED __attribute__((aligned(HK_CACHE_LINE)))

#define hk_likely(x) __builtin_expect(!!(x), 1)
#define hk_unlikely(x) __builtin_expect(!!(x), 0)
#define hk_prefetch_for_write(p) __builtin_prefetch(p, 1)

/* hakmem uses only a few bytes of static TLS, so that dlopen can open a library that contains it.
 * The build chooses the TLS model (-ftls-model). */
#define HK_THREAD_LOCAL _Thread_local

/* The structure that contains `*pointer` as its member. */
#define HK_HOLDER(type, member, pointer)                                                           \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#endif
