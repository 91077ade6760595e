/* os/thread_linux.c - the OS boundary on Linux: waiting, threads. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <sys/prctl.h>
#include <time.h>

#include "os.h"
#include "syscall_linux.h"

void hk_os_sleep_ms(uint64_t ms) {
    struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    os_syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, os_address(&time));
}

void hk_os_name_thread(const char *name) { os_syscall(SYS_prctl, PR_SET_NAME, os_address(name)); }

void hk_os_wait(uint32_t *word, uint32_t expected) {
    os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAIT_PRIVATE, expected);
}

void hk_os_wake(uint32_t *word) {
    os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAKE_PRIVATE, 1);
}
