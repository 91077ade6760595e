/* base/probe.h - static tracepoints (USDT) for bpftrace, perf, gdb and SystemTap.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: HK_PROBE2, which marks a place in the code with two numbers that a tracer can read.
 * The place is a nop. A note in the ELF file has its address, its name, and the registers that hold
 * the numbers. A tracer that attaches replaces the nop with a breakpoint. docs/observing.md lists
 * the tracepoints. Only x86-64 and aarch64 have them.
 * Owns: nothing. Threads: any. Boundary: calls nothing.
 *
 * Only slow paths may have tracepoints, because the numbers must be in registers at the nop. If the
 * linker drops a function, the note of its tracepoint has a wrong address. So a global function
 * with a tracepoint must not be inlined in all of its callers.
 */
#ifndef HK_BASE_PROBE_H
#define HK_BASE_PROBE_H

#include "compiler.h"

#if defined(__x86_64__)
#define HK_PROBE_RELOCATION "R_X86_64_NONE"
#elif defined(__aarch64__)
#define HK_PROBE_RELOCATION "R_AARCH64_NONE"
#endif

#ifdef HK_PROBE_RELOCATION

/* A note of the vendor "stapsdt" with type 3 contains:
 *
 *   3 numbers of 8 bytes   the address of the nop, the base, the address of a counter of tracers (0
 *                          for none)
 *   3 strings              provider, name, and numbers as "SIZE@REGISTER SIZE@REGISTER"
 *
 * The base is the address of the section .stapsdt.base when the file was linked. Tracers add the
 * distance by which that section was moved afterwards. All tracepoints of a file, including those
 * of other libraries, share this section, so its names are not ours. The empty relocation makes
 * linkers keep it when they drop unused sections. */
#define HK_PROBE_NOTE(name)                                                                        \
    "990: nop\n"                                                                                   \
    ".reloc 990b, " HK_PROBE_RELOCATION ", _.stapsdt.base\n"                                       \
    ".pushsection .note.stapsdt, \"\", \"note\"\n"                                                 \
    ".balign 4\n"                                                                                  \
    ".4byte 992f - 991f, 994f - 993f, 3\n"                                                         \
    "991: .asciz \"stapsdt\"\n"                                                                    \
    "992: .balign 4\n"                                                                             \
    "993: .8byte 990b, _.stapsdt.base, 0\n"                                                        \
    ".asciz \"hakmem\", \"" #name "\", \"8@%0 8@%1\"\n"                                            \
    "994: .balign 4\n"                                                                             \
    ".popsection\n"                                                                                \
    ".ifndef _.stapsdt.base\n"                                                                     \
    ".pushsection .stapsdt.base, \"aG\", \"progbits\", .stapsdt.base, comdat\n"                    \
    ".weak _.stapsdt.base\n"                                                                       \
    ".hidden _.stapsdt.base\n"                                                                     \
    "_.stapsdt.base: .space 1\n"                                                                   \
    ".size _.stapsdt.base, 1\n"                                                                    \
    ".popsection\n"                                                                                \
    ".endif"

#define HK_PROBE2(name, first, second)                                                             \
    __asm__ volatile(HK_PROBE_NOTE(name)::"r"((uint64_t)(first)), "r"((uint64_t)(second)))

#else
#define HK_PROBE2(name, first, second) ((void)(first), (void)(second))
#endif

#endif
