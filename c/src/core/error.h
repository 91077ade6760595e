/* core/error.h - the program's mistakes.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a report of one line, with the public function, the pointer and the cause. Then the
 * process ends or continues, according to the option on_error.
 * Owns: the count of errors. Threads: any, no lock held. Boundary: os/check, hk_os_write_error.
 */
#ifndef HK_CORE_ERROR_H
#define HK_CORE_ERROR_H

#include "../base/compiler.h"

extern uint64_t hk_errors; /* atomic: reported so far */

/* The wording of the causes. */
#define HK_CAUSE_ALIEN "not a block of this allocator, or already free"
#define HK_CAUSE_INSIDE "inside a block, not its start"
#define HK_CAUSE_FREE "already free (double free)"
#define HK_CAUSE_NO_HEAP "not a heap, or already destroyed or merged"
#define HK_CAUSE_LAYOUT "size or alignment differ from the allocation's"

/* Mistakes that are found while locks are held. They are collected in this structure and reported
 * after the locks have been released, because a report may run handlers of the program that
 * allocate or fork. */
enum { HK_MISTAKES_MAX = 8 }; /* more are only counted; the first usually ends the process */
struct hk_mistakes {
    uint32_t count;
    const void *pointers[HK_MISTAKES_MAX];
    const char *causes[HK_MISTAKES_MAX];
};
void hk_mistakes_add(struct hk_mistakes *mistakes, const void *pointer, const char *cause);
/* No lock held. */
void hk_mistakes_report(const char *function, const struct hk_mistakes *mistakes);

/* Prints "hakmem: <function>(): <pointer>: <cause>" and aborts, or returns. */
HK_SLOW void hk_bad_pointer(const char *function, const void *pointer, const char *cause);

/* The same, but calls `print_more` after the line. */
HK_SLOW void hk_bad_pointer_with(const char *function, const void *pointer, const char *cause,
                                 void (*print_more)(const void *pointer));

#endif
