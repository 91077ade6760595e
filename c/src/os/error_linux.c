/* os/error_linux.c - the OS boundary on Linux: standard error, abort.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Descriptor 2 is standard error by convention only. If a program closes it, the next file that it
 * opens gets the number, and our messages would end up in its data. To tell the two apart,
 * os_error_is compares it with the file that had the number at the start.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "../base/atomic.h"
#include "os.h"
#include "syscall_linux.h"

enum {
    OS_ERROR_UNKNOWN, /* before the start */
    OS_ERROR_CLOSED,
    OS_ERROR_OPEN,
    OS_DESCRIPTORS_SEEN = 64,
};

static struct {
    uint32_t start;   /* atomic: descriptor 2 at the start; published after `file` */
    int kept;         /* atomic: a duplicate of it plus 1, or 0 */
    struct stat file; /* const once `start` is OS_ERROR_OPEN */
} os_error;

static bool os_stat(int descriptor, struct stat *file) {
    return os_syscall(SYS_fstat, descriptor, os_address(file)) == 0;
}

static bool os_is_same_file(int descriptor, const struct stat *file) {
    struct stat other;
    return os_stat(descriptor, &other) && other.st_dev == file->st_dev &&
           other.st_ino == file->st_ino;
}

void hk_os_note_error(void) {
    struct stat file;
    if (hk_load_acquire(&os_error.start) != OS_ERROR_UNKNOWN) /* acquire: as in os_error_is */
        return;
    bool open = os_stat(STDERR_FILENO, &file);
    if (open)
        os_error.file = file;
    /* release: publishes `file`. It pairs with the acquire in os_error_is. */
    hk_store_release(&os_error.start, (uint32_t)(open ? OS_ERROR_OPEN : OS_ERROR_CLOSED));
}

void hk_os_keep_error(void) {
    /* acquire: as in os_error_is. relaxed: one thread stores at a time. */
    if (hk_load_acquire(&os_error.start) != OS_ERROR_OPEN || hk_load_relaxed(&os_error.kept) != 0)
        return;
    long kept = os_syscall(SYS_fcntl, STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (kept >= 0)
        hk_store_relaxed(&os_error.kept, (int)kept + 1); /* relaxed: a number, checked at use */
}

/* Whether a second descriptor refers to the file, as after dup2. */
static bool os_is_duplicated(const struct stat *file) {
    for (int descriptor = 0; descriptor < OS_DESCRIPTORS_SEEN; descriptor++) {
        if (descriptor != STDERR_FILENO && os_is_same_file(descriptor, file))
            return true;
    }
    return false;
}

/* Whether messages may be written to descriptor 2. They may if it refers to the same file as at the
 * start, and never if it was closed then. Another file counts as a redirection by the program if it
 * is a terminal, a device or a pipe, if it is open for appending, or if a second descriptor refers
 * to it. Otherwise it is a data file that got the number by chance. */
static bool os_error_is(void) {
    struct stat now;

    /* acquire: sees `file`. It pairs with the release in hk_os_note_error. */
    uint32_t start = hk_load_acquire(&os_error.start);
    if (start == OS_ERROR_CLOSED || !os_stat(STDERR_FILENO, &now))
        return false;

    if (start == OS_ERROR_UNKNOWN ||
        (now.st_dev == os_error.file.st_dev && now.st_ino == os_error.file.st_ino))
        return true;
    if (S_ISCHR(now.st_mode) || S_ISFIFO(now.st_mode))
        return true;

    long flags = os_syscall(SYS_fcntl, STDERR_FILENO, F_GETFL);
    return (flags >= 0 && (flags & O_APPEND) != 0) || os_is_duplicated(&now);
}

/* The descriptor for messages, or -1 if there is none. */
static int os_error_file(void) {
    if (os_error_is())
        return STDERR_FILENO;
    int kept = hk_load_relaxed(&os_error.kept) - 1; /* relaxed: a number, checked here */
    return kept >= 0 && os_is_same_file(kept, &os_error.file) ? kept : -1;
}

void hk_os_write_error(const char *text, size_t bytes) {
    int file = os_error_file();
    while (file >= 0 && bytes > 0) {
        long written = os_syscall(SYS_write, file, os_address(text), (long)bytes);
        if (written == -EINTR)
            continue;
        if (written <= 0)
            break;
        text += written;
        bytes -= (size_t)written;
    }
}

/* The scavenger blocks all signals. glibc's abort unblocks SIGABRT, so that the program's handler
 * runs. That of musl would end the process without it. */
void hk_os_abort(void) {
    enum { SIGNALS_BYTES = 8 }; /* of the kernel's signal set */
    const uint64_t mask = UINT64_C(1) << (SIGABRT - 1);
    os_syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, os_address(&mask), 0, SIGNALS_BYTES);
    abort();
}
