/* os/file_linux.h - reading the kernel's text files.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: a line reader with its own buffer, for files of /proc and /sys.
 * Owns: nothing. Threads: a reader belongs to its caller. Boundary: os/syscall_linux.h.
 */
#ifndef HK_OS_FILE_LINUX_H
#define HK_OS_FILE_LINUX_H

#include <fcntl.h>

#include "../base/string.h"
#include "syscall_linux.h"

/* Tests compile the files for Linux against a folder that looks like the root directory. */
#ifndef HK_OS_ROOT
#define HK_OS_ROOT ""
#endif

enum { OS_LINE_BYTES = 1024 };

struct os_lines {
    long file;      /* its descriptor, negative if not open or at its end */
    size_t at;      /* start of the next line in `text` */
    size_t end;     /* end of the bytes read */
    char separator; /* ends each line */
    bool cut_off;   /* the rest of the last line must still be skipped */
    char text[OS_LINE_BYTES];
};

static inline long os_open(const char *path) {
    return os_syscall(SYS_openat, AT_FDCWD, os_address(path), O_RDONLY | O_CLOEXEC);
}

static inline void os_close(long file) { os_syscall(SYS_close, file); }

static inline bool os_lines_open(struct os_lines *lines, const char *path, char separator) {
    lines->file = os_open(path);
    lines->at = lines->end = 0;
    lines->text[0] = 0;
    lines->separator = separator;
    lines->cut_off = false;
    return lines->file >= 0;
}

static inline void os_lines_close(struct os_lines *lines) {
    if (lines->file >= 0)
        os_close(lines->file);
    lines->file = -1;
}

/* Reads more into the buffer. Returns false at the end of the file, or if there is no room. */
static inline bool os_lines_fill(struct os_lines *lines) {
    memmove(lines->text, lines->text + lines->at, lines->end - lines->at);
    lines->end -= lines->at;
    lines->at = 0;

    size_t room = sizeof lines->text - 1 - lines->end;
    if (lines->file < 0 || room == 0)
        return false;

    long bytes =
        os_syscall(SYS_read, lines->file, os_address(lines->text + lines->end), (long)room);
    if (bytes <= 0) {
        os_lines_close(lines);
        return false;
    }
    lines->end += (size_t)bytes;
    return true;
}

/* The next line, without its separator. A line longer than the buffer is cut off. The text is valid
 * until the next call. After the last line the file is closed, and the result is NULL. */
static inline char *os_lines_next(struct os_lines *lines) {
    for (;;) {
        char *line = lines->text + lines->at;
        char *end = memchr(line, lines->separator, lines->end - lines->at);
        if (end == NULL && os_lines_fill(lines))
            continue;

        line = lines->text + lines->at;
        if (end == NULL && lines->at == lines->end)
            return NULL;

        bool rest_of_line = lines->cut_off;
        lines->cut_off = end == NULL && lines->file >= 0;
        lines->at = end != NULL ? (size_t)(end + 1 - lines->text) : lines->end;
        *(end != NULL ? end : lines->text + lines->end) = 0;
        if (!rest_of_line)
            return line;
    }
}

#endif
