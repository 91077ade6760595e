/* os/check.h - assertions, and text without allocation.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: hk_assert for internal invariants, in debug builds, and lines of text that are built
 * without allocating. Mistakes of the program are reported by core/error.
 * Owns: nothing. Threads: any, in any state. Boundary: hk_os_write_error, hk_os_abort.
 */
#ifndef HK_OS_CHECK_H
#define HK_OS_CHECK_H

#include "../base/compiler.h"

/* Text of bounded length. Anything beyond it is cut off. */
struct hk_text {
    char *at;
    char *end;
};
void hk_text_add(struct hk_text *text, const char *words);
void hk_text_add_bytes(struct hk_text *text, const char *words, size_t bytes);
void hk_text_add_number(struct hk_text *text, uint64_t number);
void hk_text_add_pointer(struct hk_text *text, const void *pointer);

HK_NORETURN HK_SLOW void hk_assert_failed(const char *condition, const char *file, int line);

#if HK_DEBUG
#define hk_assert(condition)                                                                       \
    ((condition) ? (void)0 : hk_assert_failed(#condition, __FILE__, __LINE__))
#else
#define hk_assert(condition) ((void)sizeof(condition))
#endif

#endif
