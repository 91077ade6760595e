/* api/new_handler.c - calling a C++ function that may throw.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#include "new_handler.h"

#if !defined(HAK_OVERRIDE)

/* Only the C++ operators call it. */

#elif defined(__x86_64__)

/* On entry to the landing pad, the exception is in rax, which is also the result register. */
__asm__(NEW_HANDLER_BEGIN
        "endbr64\n"
        "subq $8, %rsp\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".Lhk_catch_call:\n"
        "callq *%rdi\n"
        ".Lhk_catch_called:\n"
        "xorl %eax, %eax\n"
        ".Lhk_catch_return:\n"
        "addq $8, %rsp\n"
        ".cfi_adjust_cfa_offset -8\n"
        "retq\n"
        ".cfi_adjust_cfa_offset 8\n"
        ".Lhk_catch_pad:\n"
        "endbr64\n"
        "jmp .Lhk_catch_return\n" NEW_HANDLER_END NEW_HANDLER_TABLE NEW_HANDLER_PERSONALITY
        ".text\n");

#elif defined(__aarch64__)

/* On entry to the landing pad, the exception is in x0, which is also the result register. The hints
 * mark targets of indirect jumps. */
__asm__(NEW_HANDLER_BEGIN
        "hint #34\n"
        "stp x29, x30, [sp, #-16]!\n"
        ".cfi_def_cfa_offset 16\n"
        ".cfi_offset 29, -16\n"
        ".cfi_offset 30, -8\n"
        "mov x29, sp\n"
        ".Lhk_catch_call:\n"
        "blr x0\n"
        ".Lhk_catch_called:\n"
        "mov x0, #0\n"
        ".Lhk_catch_return:\n"
        ".cfi_remember_state\n"
        "ldp x29, x30, [sp], #16\n"
        ".cfi_restore 30\n"
        ".cfi_restore 29\n"
        ".cfi_def_cfa_offset 0\n"
        "ret\n"
        ".cfi_restore_state\n"
        ".Lhk_catch_pad:\n"
        "hint #36\n"
        "b .Lhk_catch_return\n" NEW_HANDLER_END NEW_HANDLER_TABLE NEW_HANDLER_PERSONALITY
        ".text\n");

#else

void *hk_catch_from(hk_may_throw function, void *arg) {
    function(NULL, arg);
    return NULL;
}

#endif
