/* api/new_handler.h - calling a C++ function that may throw.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: one function in assembly language, because C cannot catch. Its frame has the tables
 * that a C++ compiler emits for `try { function(); } catch (...) { }`: the personality routine of
 * C++ and a list of one call with one landing pad, which catches everything.
 * Owns: nothing. Threads: any, no lock held. Boundary: the function. The personality routine is a
 * weak reference, because C programs need no C++ runtime.
 */
#ifndef HK_API_NEW_HANDLER_H
#define HK_API_NEW_HANDLER_H

#include "../base/compiler.h"

typedef void (*hk_may_throw)(void *self, void *arg);

/* Calls the function, and returns NULL when it returns. If it throws, returns the exception, which
 * the caller must catch with __cxa_begin_catch. On architectures without code here, exceptions pass
 * through.
 *
 * The function gets our arguments in the same registers, so the first one is its own address. */
void *hk_catch_from(hk_may_throw function, void *arg);

/* The exception table, in the format of GCC's except.cc. The type list has one entry, null, which
 * matches every type. */
#define NEW_HANDLER_TABLE                                                                          \
    ".section .gcc_except_table,\"a\",@progbits\n"                                                 \
    ".balign 4\n"                                                                                  \
    ".Lhk_catch_table:\n"                                                                          \
    ".byte 0xff\n" /* landing pads count from the start of the function */                         \
    ".byte 0x03\n" /* types are four bytes each */                                                 \
    ".uleb128 .Lhk_catch_types - .Lhk_catch_calls_head\n"                                          \
    ".Lhk_catch_calls_head:\n"                                                                     \
    ".byte 0x01\n" /* the list of calls is in LEB128 */                                            \
    ".uleb128 .Lhk_catch_actions - .Lhk_catch_calls\n"                                             \
    ".Lhk_catch_calls:\n"                                                                          \
    ".uleb128 .Lhk_catch_call - hk_catch_from\n"                                                   \
    ".uleb128 .Lhk_catch_called - .Lhk_catch_call\n"                                               \
    ".uleb128 .Lhk_catch_pad - hk_catch_from\n"                                                    \
    ".uleb128 1\n" /* the first action */                                                          \
    ".Lhk_catch_actions:\n"                                                                        \
    ".sleb128 1\n" /* catches the first type */                                                    \
    ".sleb128 0\n" /* and is the last action */                                                    \
    ".balign 4\n"                                                                                  \
    ".long 0\n"                                                                                    \
    ".Lhk_catch_types:\n"

/* The address of the personality routine, or 0 in a program without C++. */
#define NEW_HANDLER_PERSONALITY                                                                    \
    ".weak __gxx_personality_v0\n"                                                                 \
    ".section .data.rel.ro,\"aw\",@progbits\n"                                                     \
    ".balign 8\n"                                                                                  \
    ".Lhk_catch_personality:\n"                                                                    \
    ".quad __gxx_personality_v0\n"

/* 0x9b is relative to its own place, four bytes, indirect. 0x1b is the same, direct. */
#define NEW_HANDLER_BEGIN                                                                          \
    ".text\n"                                                                                      \
    ".balign 16\n"                                                                                 \
    ".globl hk_catch_from\n"                                                                       \
    ".hidden hk_catch_from\n"                                                                      \
    ".type hk_catch_from, %function\n"                                                             \
    "hk_catch_from:\n"                                                                             \
    ".cfi_startproc\n"                                                                             \
    ".cfi_personality 0x9b, .Lhk_catch_personality\n"                                              \
    ".cfi_lsda 0x1b, .Lhk_catch_table\n"

#define NEW_HANDLER_END                                                                            \
    ".cfi_endproc\n"                                                                               \
    ".size hk_catch_from, . - hk_catch_from\n"

#endif
