/* os/check.h - what happens when something is wrong.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: hk_assert for our own promises (debug builds), hk_bad_pointer for the program's
 * mistakes (always), and the line of text that both print, which is built without allocating.
 * Owns: the count of errors and the choice to go on after one.
 * Threads: any, no lock held (hk_assert: any state). Boundary: hk_os_write_error, hk_os_abort.
 */
#ifndef HK_OS_CHECK_H
#define HK_OS_CHECK_H

#include "../base/compiler.h"

extern uint64_t hk_check_errors;    /* atomic: mistakes reported */
extern uint32_t hk_check_continues; /* atomic: 1 = report and go on, 0 = report and abort */

/* Text of bounded length; what does not fit is cut off. */
struct hk_text {
    char *at;
    char *end;
};
void hk_text_add(struct hk_text *text, const char *words);
void hk_text_add_bytes(struct hk_text *text, const char *words, size_t bytes);
void hk_text_add_number(struct hk_text *text, uint64_t number);
void hk_text_add_pointer(struct hk_text *text, const void *pointer);

/* Prints "hakmem: <function>(): <pointer>: <cause>" and aborts, or returns if the option
 * on_error says so. */
HK_SLOW void hk_bad_pointer(const char *function, const void *pointer, const char *cause);

HK_NORETURN HK_SLOW void hk_assert_failed(const char *condition, const char *file, int line);

#if HK_DEBUG
#define hk_assert(condition)                                                                       \
    ((condition) ? (void)0 : hk_assert_failed(#condition, __FILE__, __LINE__))
#else
#define hk_assert(condition) ((void)sizeof(condition))
#endif

#endif
