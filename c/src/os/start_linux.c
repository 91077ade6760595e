/* os/start_linux.c - the OS boundary on Linux: auxiliary vector, clock, environment.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Other libraries may replace getauxval, sysconf and clock_gettime with functions that allocate. We
 * therefore get the auxiliary vector from the kernel, and the clock from the kernel's shared object
 * (vDSO).
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <elf.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "../base/atomic.h"
#include "file_linux.h"
#include "os.h"

extern char **environ;

enum {
    OS_AUXV_ENTRIES = 64,
    OS_GET_AUXV = 0x41555856, /* prctl, since Linux 6.4 */
    OS_ENVIRONMENT_BYTES = 4096,
    OS_ENVIRONMENT_ENTRIES = 64,
    OS_TRUSTED = 1,
    OS_UNTRUSTED = 2,
    OS_CLOCK_MISSING = 1, /* no address of a function */
};

/* All 0 until the first use. Threads that use it first at the same time store the same values. */
static struct {
    uint64_t page_bytes; /* atomic */
    uint64_t trust;      /* atomic: OS_TRUSTED or OS_UNTRUSTED */
    uint64_t clock;      /* atomic: address of the kernel's clock_gettime, or OS_CLOCK_MISSING */
    uint64_t loader;     /* atomic: address of the dynamic loader, 0 in a static executable */
} os_start;

/* ---- The kernel's shared object -------------------------------------------------------------- */

struct os_vdso {
    uintptr_t bias;
    const Elf64_Sym *symbols;
    const char *names;
    uint32_t count;
};

/* The number of symbols, from a GNU hash table: the last chain of the last bucket ends the
 * table. */
static uint32_t os_vdso_count(const uint32_t *hash) {
    uint32_t buckets = hash[0], first = hash[1], blooms = hash[2], last = 0;
    const uint32_t *bucket = hash + 4 + 2 * (size_t)blooms;
    const uint32_t *chain = bucket + buckets;

    for (uint32_t i = 0; i < buckets; i++)
        last = bucket[i] > last ? bucket[i] : last;

    if (last < first)
        return 0;
    while ((chain[last - first] & 1) == 0)
        last++;
    return last + 1;
}

static void os_vdso_read(struct os_vdso *vdso, const Elf64_Dyn *dynamic) {
    for (; dynamic->d_tag != DT_NULL; dynamic++) {
        const void *at = (const void *)(vdso->bias + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_SYMTAB)
            vdso->symbols = at;
        else if (dynamic->d_tag == DT_STRTAB)
            vdso->names = at;
        else if (dynamic->d_tag == DT_HASH)
            vdso->count = ((const uint32_t *)at)[1];
        else if (dynamic->d_tag == DT_GNU_HASH && vdso->count == 0)
            vdso->count = os_vdso_count(at);
    }
}

/* The address of a function of the shared object at `base`, or OS_CLOCK_MISSING if there is
 * none. */
static uintptr_t os_vdso_find(uintptr_t base, const char *name) {
    const Elf64_Ehdr *header = (const void *)base;
    const Elf64_Phdr *segment = (const void *)(base + header->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    struct os_vdso vdso = {0, NULL, NULL, 0};

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segment[i].p_type == PT_LOAD && vdso.bias == 0)
            vdso.bias = base + segment[i].p_offset - segment[i].p_vaddr;
        else if (segment[i].p_type == PT_DYNAMIC)
            dynamic = (const void *)(base + segment[i].p_offset);
    }
    if (vdso.bias == 0 || dynamic == NULL)
        return OS_CLOCK_MISSING;

    os_vdso_read(&vdso, dynamic);
    for (uint32_t i = 0; vdso.symbols != NULL && vdso.names != NULL && i < vdso.count; i++) {
        const Elf64_Sym *symbol = &vdso.symbols[i];
        if (symbol->st_shndx != SHN_UNDEF && strcmp(vdso.names + symbol->st_name, name) == 0)
            return vdso.bias + symbol->st_value;
    }

    return OS_CLOCK_MISSING;
}

#if defined(__x86_64__)
static const char os_clock_name[] = "__vdso_clock_gettime";
#elif defined(__aarch64__)
static const char os_clock_name[] = "__kernel_clock_gettime";
#else
static const char os_clock_name[] = "";
#endif

/* Valgrind unmaps the object, but the kernel still reports its address. The advice MADV_NORMAL
 * changes nothing and fails for unmapped pages. mincore would tell the same, but a sandbox may kill
 * a program that calls it. */
static uintptr_t os_find_clock(uintptr_t base, size_t page_bytes) {
    if (base == 0 || os_syscall(SYS_madvise, (long)base, (long)page_bytes, MADV_NORMAL) != 0 ||
        memcmp((const void *)base, ELFMAG, SELFMAG) != 0)
        return OS_CLOCK_MISSING;
    return os_vdso_find(base, os_clock_name);
}

/* ---- The auxiliary vector -------------------------------------------------------------------- */

static size_t os_read_auxv(uint64_t (*entries)[2]) {
    const long bytes = OS_AUXV_ENTRIES * sizeof *entries;
    long got = os_syscall(SYS_prctl, OS_GET_AUXV, os_address(entries), bytes);
    if (got <= 0 || got > bytes) {
        long file = os_open(HK_OS_ROOT "/proc/self/auxv");
        got = file >= 0 ? os_syscall(SYS_read, file, os_address(entries), bytes) : 0;
        if (file >= 0)
            os_close(file);
    }
    return got > 0 ? (size_t)got / sizeof *entries : 0;
}

/* The size of a page if the vector is missing. madvise accepts only addresses that are multiples of
 * it. */
static uint64_t os_probe_page_bytes(void) {
    uint64_t bytes = 4096;
    while (bytes < 65536 && os_syscall(SYS_madvise, (long)bytes, 0, MADV_NORMAL) == -EINVAL)
        bytes *= 2;
    return bytes;
}

/* Whether the process may trust its environment if the vector is missing. Set-user-ID and the like
 * change an id, and other privileges make the process undumpable. */
static bool os_has_plain_privileges(void) {
    return os_syscall(SYS_getuid, 0) == os_syscall(SYS_geteuid, 0) &&
           os_syscall(SYS_getgid, 0) == os_syscall(SYS_getegid, 0) &&
           os_syscall(SYS_prctl, PR_GET_DUMPABLE) == 1;
}

static HK_SLOW void os_start_read(void) {
    uint64_t entries[OS_AUXV_ENTRIES][2];
    size_t count = os_read_auxv(entries);
    uint64_t page_bytes = 0, base = 0, loader = 0;
    bool trusted = count == 0 && os_has_plain_privileges();

    for (size_t i = 0; i < count && entries[i][0] != AT_NULL; i++) {
        if (entries[i][0] == AT_PAGESZ)
            page_bytes = entries[i][1];
        else if (entries[i][0] == AT_SECURE)
            trusted = entries[i][1] == 0;
        else if (entries[i][0] == AT_SYSINFO_EHDR)
            base = entries[i][1];
        else if (entries[i][0] == AT_BASE)
            loader = entries[i][1];
    }

    page_bytes = page_bytes != 0 ? page_bytes : os_probe_page_bytes();

    /* relaxed: every thread computes the same values */
    hk_store_relaxed(&os_start.clock, os_find_clock((uintptr_t)base, page_bytes));
    hk_store_relaxed(&os_start.loader, loader);
    hk_store_relaxed(&os_start.trust, (uint64_t)(trusted ? OS_TRUSTED : OS_UNTRUSTED));
    hk_store_relaxed(&os_start.page_bytes, page_bytes);
}

size_t hk_os_page_bytes(void) {
    uint64_t bytes = hk_load_relaxed(&os_start.page_bytes); /* relaxed: as in os_start_read */
    if (hk_unlikely(bytes == 0)) {
        os_start_read();
        bytes = hk_load_relaxed(&os_start.page_bytes); /* relaxed: stored by this thread */
    }
    return (size_t)bytes;
}

bool hk_os_is_static(void) {
    hk_os_page_bytes();                            /* reads the vector */
    return hk_load_relaxed(&os_start.loader) == 0; /* relaxed: as in os_start_read */
}

uint64_t hk_os_now_ms(void) {
    struct timespec now = {0, 0};
    uint64_t clock = hk_load_relaxed(&os_start.clock); /* relaxed: as in os_start_read */
    if (hk_unlikely(clock == 0)) {
        os_start_read();
        clock = hk_load_relaxed(&os_start.clock); /* relaxed: stored by this thread */
    }

    bool told = clock != OS_CLOCK_MISSING &&
                ((int (*)(clockid_t, struct timespec *))(uintptr_t)clock)(CLOCK_MONOTONIC_COARSE,
                                                                          &now) == 0;
    if (!told)
        os_syscall(SYS_clock_gettime, CLOCK_MONOTONIC_COARSE, os_address(&now));
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- The environment ------------------------------------------------------------------------- */

/* Our variables as recorded by the kernel, for use before `environ` is set. They are written once,
 * by the thread that starts the process's heap. */
static struct {
    bool read; /* the file could be read */
    size_t bytes;
    size_t count;
    char text[OS_ENVIRONMENT_BYTES];
    char *entries[OS_ENVIRONMENT_ENTRIES + 1]; /* ends in NULL */
} os_environment;

static void os_environment_add(const char *entry) {
    static const char prefix[] = "HAKMEM_";
    size_t bytes = strlen(entry) + 1;
    if (strncmp(entry, prefix, sizeof prefix - 1) != 0 ||
        bytes > sizeof os_environment.text - os_environment.bytes ||
        os_environment.count == OS_ENVIRONMENT_ENTRIES)
        return;

    char *copy = os_environment.text + os_environment.bytes;
    memcpy(copy, entry, bytes);
    os_environment.bytes += bytes;
    os_environment.entries[os_environment.count++] = copy;
}

static bool os_environment_read(void) {
    struct os_lines lines;
    if (os_environment.read || !os_lines_open(&lines, HK_OS_ROOT "/proc/self/environ", 0))
        return os_environment.read;
    for (char *entry; (entry = os_lines_next(&lines)) != NULL;)
        os_environment_add(entry);
    os_environment.read = true;
    return true;
}

static bool os_environment_is_trusted(void) {
    uint64_t trust = hk_load_relaxed(&os_start.trust); /* relaxed: as in os_start_read */
    if (trust == 0) {
        os_start_read();
        trust = hk_load_relaxed(&os_start.trust); /* relaxed: stored by this thread */
    }
    return trust == OS_TRUSTED;
}

char *const *hk_os_environment(void) {
    if (!os_environment_is_trusted())
        return NULL;
    if (environ != NULL)
        return environ;
    return os_environment_read() ? os_environment.entries : NULL;
}

bool hk_os_environment_is_early(void) {
    return environ == NULL && os_environment_is_trusted() && !os_environment_read();
}

/* The mark is one nanosecond of timer slack. Children inherit the slack across fork and exec, and
 * such a small change has no effect. Every other inherited attribute has one. */
bool hk_os_mark_tree(void) {
    enum { MARK = 1, UNIT = 1000 };
    long slack = os_syscall(SYS_prctl, PR_GET_TIMERSLACK);
    if (slack > 0 && slack % UNIT == MARK)
        return false;
    if (slack > 0)
        os_syscall(SYS_prctl, PR_SET_TIMERSLACK, slack / UNIT * UNIT + MARK);
    return true;
}
