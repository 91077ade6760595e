/* os/syscall_linux.h - system calls without libc.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: the instruction that enters the kernel. libc's wrappers can be replaced by a
 * preloaded library, and a replacement that allocates would call back into the allocator while it
 * starts or holds a lock. These calls also leave errno alone and are not cancellation points.
 * Owns: nothing. Threads: any, in any state. Boundary: the kernel. Only the files for Linux include
 * it.
 */
#ifndef HK_OS_SYSCALL_LINUX_H
#define HK_OS_SYSCALL_LINUX_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../base/compiler.h"

/* <linux/futex.h> belongs to the kernel's headers, which musl does not include. */
enum {
    OS_FUTEX_WAIT_PRIVATE = 128,
    OS_FUTEX_WAKE_PRIVATE = 129,
};

/* Up to six arguments, each converted to long. Returns the result, or minus an error number. */
#define os_syscall(number, ...) os_enter_kernel((number), (const long[6]){__VA_ARGS__})

/* A pointer as an argument. Static analysis has to assume that the kernel writes to it. */
#ifdef __clang_analyzer__
long os_written(void *memory);
#define os_address(pointer) os_written((void *)(uintptr_t)(pointer))
#else
#define os_address(pointer) ((long)(uintptr_t)(pointer))
#endif

#if defined(__x86_64__)

static inline long os_enter_kernel(long number, const long arguments[6]) {
    /* Read before the registers are bound, because a sanitizer's call would overwrite them. */
    long a = arguments[0], b = arguments[1], c = arguments[2];
    long d = arguments[3], e = arguments[4], f = arguments[5];

    register long fourth __asm__("r10") = d;
    register long fifth __asm__("r8") = e;
    register long sixth __asm__("r9") = f;
    long result = number;

    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
}

#elif defined(__aarch64__)

static inline long os_enter_kernel(long number, const long arguments[6]) {
    /* Read before the registers are bound, because a sanitizer's call would overwrite them. */
    long a = arguments[0], b = arguments[1], c = arguments[2];
    long d = arguments[3], e = arguments[4], f = arguments[5];

    register long which __asm__("x8") = number;
    register long first __asm__("x0") = a;
    register long second __asm__("x1") = b;
    register long third __asm__("x2") = c;
    register long fourth __asm__("x3") = d;
    register long fifth __asm__("x4") = e;
    register long sixth __asm__("x5") = f;

    __asm__ volatile("svc 0"
                     : "+r"(first)
                     : "r"(which), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
}

#else

/* Goes through libc on architectures without code here. */
static inline long os_enter_kernel(long number, const long arguments[6]) {
    int saved = errno;
    long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4], arguments[5]);
    if (result == -1)
        result = -errno;
    errno = saved;
    return result;
}

#endif

/* Whether the program has no dynamic loader. Also true if the system does not tell. Defined in
 * start_linux.c. */
bool hk_os_is_static(void);

#endif
