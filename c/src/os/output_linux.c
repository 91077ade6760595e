/* os/output_linux.c - the OS boundary on Linux: files that are written, signals, the calendar.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include "os.h"
#include "syscall_linux.h"

int hk_os_create_file(const char *path) {
    enum { MODE = 0600 };
    return (int)os_syscall(SYS_openat, AT_FDCWD, os_address(path),
                           O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, MODE);
}

bool hk_os_write_file(int file, const char *text, size_t bytes) {
    while (bytes > 0) {
        long written = os_syscall(SYS_write, file, os_address(text), (long)bytes);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            return false;
        text += written;
        bytes -= (size_t)written;
    }
    return true;
}

void hk_os_close_file(int file) { os_syscall(SYS_close, file); }

uint64_t hk_os_process_id(void) { return (uint64_t)os_syscall(SYS_getpid, 0); }

uint64_t hk_os_calendar_ns(void) {
    struct timespec now = {0, 0};
    os_syscall(SYS_clock_gettime, CLOCK_REALTIME, os_address(&now));
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

bool hk_os_handle_signal(int number, void (*handler)(int number)) {
    struct sigaction action = {0};
    action.sa_handler = handler;
    action.sa_flags = SA_RESTART;
    return sigaction(number, &action, NULL) == 0;
}
