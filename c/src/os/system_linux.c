/* os/system_linux.c - the OS boundary on Linux: limits, clock, environment, errors.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../base/atomic.h"
#include "check.h"

extern char **environ;

enum {
    OS_PATH_BYTES = 512,
    OS_NUMBER_BYTES = 64, /* a file with a number or two */
};

size_t hk_os_page_bytes(void) {
    static size_t page_bytes; /* relaxed: every thread computes the same value */
    size_t bytes = hk_load_relaxed(&page_bytes);
    if (hk_unlikely(bytes == 0)) {
        bytes = (size_t)sysconf(_SC_PAGESIZE);
        hk_store_relaxed(&page_bytes, bytes);
    }
    return bytes;
}

/* The beginning of a file as text; false if it cannot be read. */
static bool os_read_file(const char *path, char *text, size_t text_bytes) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t bytes = read(fd, text, text_bytes - 1);
    close(fd);
    text[bytes > 0 ? bytes : 0] = 0;
    return bytes > 0;
}

/* The whole CPUs that the cgroup's quota amounts to, rounded up; UINT_MAX without a quota. The file
 * reads "max 100000" or "<quota> <period>" (Linux, cgroup v2, cpu.max). */
static unsigned os_cgroup_cpus(void) {
    char text[OS_NUMBER_BYTES];
    if (!os_read_file("/sys/fs/cgroup/cpu.max", text, sizeof text))
        return ~0u;
    char *end = text;
    unsigned long quota = strtoul(text, &end, 10);
    unsigned long period = end == text ? 0 : strtoul(end, NULL, 10);
    if (period == 0)
        return ~0u;
    return (unsigned)((quota + period - 1) / period);
}

/* memory.max of a cgroup, given by its path below the root; 0 if there is none. */
static uint64_t os_cgroup_memory(const char *group) {
    char path[OS_PATH_BYTES], max[OS_NUMBER_BYTES];
    struct hk_text text = {path, path + sizeof path - 1};
    hk_text_add(&text, "/sys/fs/cgroup");
    hk_text_add(&text, group);
    hk_text_add(&text, "/memory.max");
    *text.at = 0;
    if (!os_read_file(path, max, sizeof max) || max[0] == 'm') /* "max": no limit */
        return 0;
    return strtoull(max, NULL, 10);
}

/* The least limit from the process's own cgroup up to the root. /proc/self/cgroup has a line
 * "0::/path" for cgroup v2. */
uint64_t hk_os_memory_limit(void) {
    char groups[OS_PATH_BYTES];
    int saved = errno;
    char *group =
        os_read_file("/proc/self/cgroup", groups, sizeof groups) ? strstr(groups, "0::/") : NULL;
    if (group == NULL) {
        groups[0] = 0;
        group = groups;
    } else {
        group += strlen("0::");
        group[strcspn(group, "\n")] = 0;
    }
    uint64_t limit = 0;
    for (;;) {
        uint64_t max = os_cgroup_memory(group);
        limit = max != 0 && (limit == 0 || max < limit) ? max : limit;
        char *last = strrchr(group, '/');
        if (last == NULL)
            break;
        *last = 0; /* on to the parent */
    }
    errno = saved;
    return limit;
}

unsigned hk_os_cpus(void) {
    int saved = errno;
    unsigned long mask[1024 / (8 * sizeof(long))]; /* the kernel's largest usual cpumask */
    long bytes = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
    unsigned cpus = 0;
    for (long i = 0; i < bytes / (long)sizeof(long); i++)
        cpus += (unsigned)__builtin_popcountl(mask[i]);
    if (cpus == 0) {
        long online = sysconf(_SC_NPROCESSORS_ONLN);
        cpus = online > 0 ? (unsigned)online : 1;
    }
    if (cpus > 1) {
        unsigned quota = os_cgroup_cpus();
        cpus = quota < cpus ? quota : cpus;
    }
    errno = saved;
    return cpus > 0 ? cpus : 1;
}

uint64_t hk_os_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The duplicate of standard error, and which file it was then: its number may be another's by now. */
static int os_kept_error = -1;   /* atomic */
static struct stat os_kept_file; /* const once os_kept_error is set */

void hk_os_keep_error(void) {
    int saved = errno;
    /* release: publishes os_kept_file; pairs with the acquire in os_error_file */
    if (fstat(STDERR_FILENO, &os_kept_file) == 0)
        hk_store_release(&os_kept_error, fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1));
    errno = saved;
}

static int os_error_file(void) {
    struct stat now;
    int kept = hk_load_acquire(&os_kept_error); /* acquire: as above */
    if (kept >= 0 && fcntl(STDERR_FILENO, F_GETFD) < 0 && fstat(kept, &now) == 0 &&
        now.st_dev == os_kept_file.st_dev && now.st_ino == os_kept_file.st_ino)
        return kept;
    return STDERR_FILENO;
}

void hk_os_write_error(const char *text, size_t bytes) {
    int saved = errno;
    int file = os_error_file();
    while (bytes > 0) {
        ssize_t n = write(file, text, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        text += n;
        bytes -= (size_t)n;
    }
    errno = saved;
}

static bool os_environment_is_trusted(void) { return getauxval(AT_SECURE) == 0; }

char *const *hk_os_environment(void) { return os_environment_is_trusted() ? environ : NULL; }

bool hk_os_environment_is_early(void) { return environ == NULL; }

void hk_os_abort(void) { abort(); }
