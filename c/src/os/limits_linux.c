/* os/limits_linux.c - the OS boundary on Linux: CPUs and memory that the process may use.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The limits of a control group apply to all groups below it, so each function takes the lowest
 * limit on the path from the process's group to the root. A controller is either in the hierarchy
 * of version 2, below /sys/fs/cgroup, or in its own hierarchy of version 1, below
 * /sys/fs/cgroup/<controller>. A container often sees its own group as the root, at a path that
 * /proc does not show.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "check.h"
#include "file_linux.h"
#include "os.h"

enum {
    OS_PATH_BYTES = 512,
    OS_NUMBER_BYTES = 64,                             /* a file with a number or two */
    OS_PRESSURE_MAX = 10000,                          /* 100 % */
    OS_CPU_WORDS = HK_OS_CPUS_MAX / 8 / sizeof(long), /* of a mask */
};

/* Version 1 expresses "no limit" as the largest multiple of a page in a signed number. */
static const uint64_t os_memory_unlimited = (uint64_t)1 << 62;

/* Reads the number at *text, and moves *text past it and the space that follows. Returns 0 for
 * "max" and "-1". */
static uint64_t os_number(const char **text) {
    uint64_t number = 0;
    for (; **text >= '0' && **text <= '9' && number < UINT64_MAX / 10 - 1; ++*text)
        number = number * 10 + (uint64_t)(**text - '0');
    while (**text > ' ')
        ++*text;
    *text += **text == ' ';
    return number;
}

/* Reads the beginning of the file `name` in a folder as text, or "" if it cannot be read. */
static void os_read_text(const char *folder, const char *name, char *to) {
    char path[OS_PATH_BYTES];
    struct hk_text text = {path, path + sizeof path - 1};
    hk_text_add(&text, folder);
    hk_text_add(&text, name);
    *text.at = 0;

    long bytes = 0, file = os_open(path);
    if (file >= 0) {
        bytes = os_syscall(SYS_read, file, os_address(to), OS_NUMBER_BYTES - 1);
        os_close(file);
    }

    to[bytes > 0 ? bytes : 0] = 0;
}

/* The number at the beginning of a file, or 0 if there is none. */
static uint64_t os_read_number(const char *folder, const char *name) {
    char text[OS_NUMBER_BYTES];
    const char *at = text;
    os_read_text(folder, name, text);
    return os_number(&at);
}

/* ---- Groups ---------------------------------------------------------------------------------- */

/* The limit of one group, or 0 if there is none. */
typedef uint64_t os_group_limit(const char *folder);

static uint64_t os_memory_of_v2(const char *folder) {
    return os_read_number(folder, "/memory.max");
}

static uint64_t os_memory_of_v1(const char *folder) {
    uint64_t limit = os_read_number(folder, "/memory.limit_in_bytes");
    return limit < os_memory_unlimited ? limit : 0;
}

/* The number of CPUs that a quota amounts to, rounded up. */
static uint64_t os_quota_cpus(uint64_t quota, uint64_t period) {
    return period != 0 ? (quota + period - 1) / period : 0;
}

static uint64_t os_cpus_of_v2(const char *folder) {
    char text[OS_NUMBER_BYTES];
    const char *at = text;
    os_read_text(folder, "/cpu.max", text); /* "<quota or max> <period>" */
    uint64_t quota = os_number(&at);
    return os_quota_cpus(quota, os_number(&at));
}

static uint64_t os_cpus_of_v1(const char *folder) {
    char quota[OS_NUMBER_BYTES], period[OS_NUMBER_BYTES];
    const char *quota_at = quota, *period_at = period;
    os_read_text(folder, "/cpu.cfs_quota_us", quota);
    os_read_text(folder, "/cpu.cfs_period_us", period);
    return os_quota_cpus(os_number(&quota_at), os_number(&period_at));
}

/* Whether `list`, which consists of comma-separated names and ends in ':', contains the name.
 * Version 2 has an empty list. */
static bool os_list_has(const char *list, const char *name) {
    size_t bytes = strlen(name);
    for (;;) {
        size_t item = strcspn(list, ",:");
        if (item == bytes && memcmp(list, name, bytes) == 0)
            return true;
        if (list[item] != ',')
            return false;
        list += item + 1;
    }
}

/* Adds the path of the process's group in the hierarchy of the controller. The controller "" stands
 * for version 2. A line of the file reads "4:cpu,cpuacct:/path". Returns false if the file has no
 * line for the hierarchy. */
static bool os_add_group(struct hk_text *text, const char *controller) {
    struct os_lines lines;
    bool found = false;
    if (!os_lines_open(&lines, HK_OS_ROOT "/proc/self/cgroup", '\n'))
        return true;

    for (char *line; !found && (line = os_lines_next(&lines)) != NULL;) {
        const char *list = strchr(line, ':');
        const char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        found = path != NULL && os_list_has(list + 1, controller);
        if (found && strcmp(path, ":/") != 0)
            hk_text_add(text, path + 1);
    }

    os_lines_close(&lines);
    return found;
}

/* Calls `visit` for the folder of each group from that of the process up to the root. */
static void os_each_group(const char *controller, void (*visit)(void *arg, const char *folder),
                          void *arg) {
    char folder[OS_PATH_BYTES];
    struct hk_text text = {folder, folder + sizeof folder - 1};
    hk_text_add(&text, HK_OS_ROOT "/sys/fs/cgroup");
    hk_text_add(&text, *controller != 0 ? "/" : "");
    hk_text_add(&text, controller);

    char *root = text.at;
    if (!os_add_group(&text, controller))
        return;
    *text.at = 0;

    char *last;
    do {
        visit(arg, folder);
        last = strrchr(root, '/');
        if (last != NULL)
            *last = 0; /* on to the parent */
    } while (last != NULL);
}

static uint64_t os_lower(uint64_t a, uint64_t b) { return a == 0 || (b != 0 && b < a) ? b : a; }

struct os_least {
    os_group_limit *limit_of;
    uint64_t limit; /* the lowest so far */
};

static void os_note_least(void *arg, const char *folder) {
    struct os_least *least = arg;
    least->limit = os_lower(least->limit, least->limit_of(folder));
}

/* The lowest limit from the process's group up to the root, or 0 if there is none. */
static uint64_t os_least(const char *controller, os_group_limit *limit_of) {
    struct os_least least = {limit_of, 0};
    os_each_group(controller, os_note_least, &least);
    return least.limit;
}

uint64_t hk_os_memory_limit(void) {
    return os_lower(os_least("", os_memory_of_v2), os_least("memory", os_memory_of_v1));
}

/* ---- Use of groups --------------------------------------------------------------------------- */

/* The number in the line "name number" of the file memory.stat of a group, or 0. */
static uint64_t os_memory_stat(const char *folder, const char *name) {
    char path[OS_PATH_BYTES];
    struct hk_text text = {path, path + sizeof path - 1};
    hk_text_add(&text, folder);
    hk_text_add(&text, "/memory.stat");
    *text.at = 0;

    struct os_lines lines;
    size_t bytes = strlen(name);
    uint64_t number = 0;
    bool found = false;
    if (!os_lines_open(&lines, path, '\n'))
        return 0;

    for (const char *line; !found && (line = os_lines_next(&lines)) != NULL;) {
        found = strncmp(line, name, bytes) == 0 && line[bytes] == ' ';
        line += bytes + 1;
        number = found ? os_number(&line) : 0;
    }

    os_lines_close(&lines);
    return number;
}

struct os_fullest {
    os_group_limit *limit_of;
    const char *used;         /* file with the bytes in use */
    const char *files;        /* line of memory.stat with the files that were not used lately */
    struct hk_os_memory *use; /* of the fullest group so far */
};

static void os_note_fullest(void *arg, const char *folder) {
    struct os_fullest *fullest = arg;
    uint64_t limit = fullest->limit_of(folder);
    if (limit == 0)
        return;

    uint64_t used = os_read_number(folder, fullest->used);
    uint64_t files = os_memory_stat(folder, fullest->files);
    used = used > files ? used - files : 0;
    /* Compares the quotients. Doubles are exact enough. */
    if (fullest->use->limit == 0 ||
        (double)used * (double)fullest->use->limit > (double)fullest->use->used * (double)limit)
        *fullest->use = (struct hk_os_memory){used, limit};
}

struct hk_os_memory hk_os_memory_use(void) {
    struct hk_os_memory use = {0, 0};
    struct os_fullest v2 = {os_memory_of_v2, "/memory.current", "inactive_file", &use};
    struct os_fullest v1 = {os_memory_of_v1, "/memory.usage_in_bytes", "total_inactive_file", &use};
    os_each_group("", os_note_fullest, &v2);
    os_each_group("memory", os_note_fullest, &v1);
    return use;
}

/* ---- Pressure -------------------------------------------------------------------------------- */

/* Reads a file of the kernel's pressure stall information. Its first line reads "some avg10=0.12
 * avg60=...". */
static uint32_t os_read_pressure(const char *folder, const char *name) {
    static const char start[] = "some avg10=";
    char text[OS_NUMBER_BYTES] = "";
    os_read_text(folder, name, text);
    if (strncmp(text, start, sizeof start - 1) != 0)
        return HK_OS_PRESSURE_UNKNOWN;

    const char *at = text + sizeof start - 1;
    uint32_t hundredths = 0;
    if (*at < '0' || *at > '9')
        return HK_OS_PRESSURE_UNKNOWN;

    /* Two digits after the point, or zeroes. */
    for (; *at >= '0' && *at <= '9' && hundredths < OS_PRESSURE_MAX; at++)
        hundredths = hundredths * 10 + (uint32_t)(*at - '0');
    at += *at == '.';
    for (int digits = 0; digits < 2; digits++) {
        bool digit = *at >= '0' && *at <= '9';
        hundredths = hundredths * 10 + (digit ? (uint32_t)(*at - '0') : 0);
        at += digit;
    }
    return hundredths <= OS_PRESSURE_MAX ? hundredths : HK_OS_PRESSURE_UNKNOWN;
}

static void os_note_pressure(void *arg, const char *folder) {
    uint32_t *pressure = arg;
    if (*pressure == HK_OS_PRESSURE_UNKNOWN)
        *pressure = os_read_pressure(folder, "/memory.pressure");
}

uint32_t hk_os_memory_pressure(void) {
    uint32_t pressure = HK_OS_PRESSURE_UNKNOWN;
    os_each_group("", os_note_pressure, &pressure);
    return pressure != HK_OS_PRESSURE_UNKNOWN
               ? pressure
               : os_read_pressure(HK_OS_ROOT "/proc/pressure", "/memory");
}

/* ---- CPUs ------------------------------------------------------------------------------------ */

unsigned hk_os_cpus(void) {
    unsigned long mask[OS_CPU_WORDS];
    long bytes = os_syscall(SYS_sched_getaffinity, 0, sizeof mask, os_address(mask));
    uint64_t cpus = 0;
    for (long i = 0; i < bytes / (long)sizeof(long); i++)
        cpus += (unsigned)__builtin_popcountl(mask[i]);

    if (cpus > 1)
        cpus =
            os_lower(cpus, os_lower(os_least("", os_cpus_of_v2), os_least("cpu", os_cpus_of_v1)));
    return cpus > 0 ? (unsigned)cpus : 1;
}
