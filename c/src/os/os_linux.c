/* os/os_linux.c - the OS boundary on Linux: memory. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <sys/mman.h>
#include <sys/prctl.h>
#include <time.h>

#include "../base/atomic.h"
#include "../base/bits.h"
#include "../base/probe.h"
#include "../base/string.h"
#include "file_linux.h"
#include "syscall_linux.h"

struct hk_os_counts hk_os_counts;

/* The address of the last aligned mapping. We try to place the next one directly below it. The
 * first one is placed so far below the very first mapping that no shared library is in the way.
 * Relaxed: only a hint. */
static uintptr_t os_map_hint;
enum {
    OS_HINT_GAP_BYTES = 1 << 30,
    OS_HUGE_PAGE_BYTES = 2 << 20, /* the smallest on any processor */
};

static void os_count_mapped(size_t bytes) {
    hk_max_relaxed(&hk_os_counts.bytes_mapped_peak, hk_stat_add(&hk_os_counts.bytes_mapped, bytes));
}

/* Raw system calls, because another library may replace libc's functions with ones that
 * allocate. */
static void *os_map(void *hint, size_t bytes) {
    hk_stat_add(&hk_os_counts.map_calls, 1);
    long p = os_syscall(SYS_mmap, os_address(hint), (long)bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p < 0 ? NULL : (void *)p;
}

static bool os_unmap(void *start, size_t bytes) {
    if (bytes == 0)
        return true;
    hk_stat_add(&hk_os_counts.unmap_calls, 1);
    return os_syscall(SYS_munmap, os_address(start), (long)bytes) == 0;
}

/* Ranges next to aligned mappings that the kernel refused to unmap. We try again later. */
enum { OS_LEFTOVERS = 16, OS_LEFTOVER_FREE = 0, OS_LEFTOVER_BUSY = 1 };
static struct os_leftover {
    uint64_t bytes; /* atomic; or OS_LEFTOVER_FREE, OS_LEFTOVER_BUSY */
    void *start;    /* owned by the thread that stored OS_LEFTOVER_BUSY */
} os_leftovers[OS_LEFTOVERS];

/* Unmaps a range that was never used, now or later. */
static void os_unmap_unused(void *start, size_t bytes) {
    if (os_unmap(start, bytes))
        return;

    for (int i = 0; i < OS_LEFTOVERS; i++) {
        uint64_t unused = OS_LEFTOVER_FREE;
        /* acquire: the last user has read `start`. It pairs with the release below. */
        if (hk_cas_acquire(&os_leftovers[i].bytes, &unused, OS_LEFTOVER_BUSY)) {
            os_leftovers[i].start = start;
            /* release: publishes `start`. It pairs with the acquire in os_retry_leftovers. */
            hk_store_release(&os_leftovers[i].bytes, bytes);
            return;
        }
    }
}

/* Tries again after another range has been unmapped. */
static void os_retry_leftovers(void) {
    for (int i = 0; i < OS_LEFTOVERS; i++) {
        uint64_t bytes =
            hk_load_relaxed(&os_leftovers[i].bytes); /* relaxed: the exchange decides */
        if (hk_likely(bytes <= OS_LEFTOVER_BUSY))
            continue;
        /* acquire: see os_unmap_unused */
        if (!hk_cas_acquire(&os_leftovers[i].bytes, &bytes, OS_LEFTOVER_BUSY))
            continue;

        bool done = os_unmap(os_leftovers[i].start, bytes);
        /* release: `start` has been read */
        hk_store_release(&os_leftovers[i].bytes, done ? OS_LEFTOVER_FREE : bytes);
    }
}

static bool os_advise(void *start, size_t bytes, int advice) {
    return os_syscall(SYS_madvise, os_address(start), (long)bytes, advice) == 0;
}

/* Maps more than needed and unmaps the excess on both sides. */
static void *os_map_trimmed(size_t bytes, size_t align) {
    size_t over = bytes + align - hk_os_page_bytes();
    char *p = over < bytes ? NULL : os_map(NULL, over);
    if (p == NULL)
        return NULL;

    char *start = (char *)hk_round_up((uintptr_t)p, align);
    os_unmap_unused(p, (size_t)(start - p));
    os_unmap_unused(start + bytes, (size_t)(p + over - (start + bytes)));
    return start;
}

/* Maps below the last aligned mapping, where the next one is likely to be aligned as well. */
static void *os_map_at_hint(size_t bytes, size_t align) {
    uintptr_t hint = hk_load_relaxed(&os_map_hint); /* relaxed: only a hint */
    if (hint <= bytes)
        return NULL;
    void *p = os_map((void *)((hint - bytes) & ~(align - 1)), bytes);
    if (p == NULL || ((uintptr_t)p & (align - 1)) == 0)
        return p;
    os_unmap_unused(p, bytes);
    return NULL;
}

bool hk_os_protect(void *start, size_t bytes, enum hk_os_access access) {
    long rights = access == HK_OS_ACCESS_ALL ? PROT_READ | PROT_WRITE : PROT_NONE;
    return os_syscall(SYS_mprotect, os_address(start), (long)bytes, rights) == 0;
}

/* ---- Settings of the kernel ------------------------------------------------------------------ */

/* The first line of a file of the kernel, or NULL if it cannot be read. */
static char *os_read_setting(struct os_lines *lines, const char *path) {
    char *line = os_lines_open(lines, path, '\n') ? os_lines_next(lines) : NULL;
    os_lines_close(lines);
    return line;
}

/* Reads the mode of the system, such as "always [madvise] never". If the file is missing, there are
 * no huge pages. */
static HK_NOINLINE enum hk_os_huge_mode os_read_huge_mode(void) {
    struct os_lines lines;
    const char *text =
        os_read_setting(&lines, HK_OS_ROOT "/sys/kernel/mm/transparent_hugepage/enabled");
    if (text == NULL)
        return HK_OS_HUGE_NEVER;
    if (strstr(text, "[always]") != NULL)
        return HK_OS_HUGE_ALWAYS;
    return strstr(text, "[madvise]") != NULL ? HK_OS_HUGE_ON_REQUEST : HK_OS_HUGE_NEVER;
}

/* Like os_read_huge_mode, but reads the file only once. The first mapping of the process reads it,
 * because a sandbox that the program enters later may forbid opening files. */
static enum hk_os_huge_mode os_system_huge_mode(void) {
    static uint32_t known;                   /* atomic: 0, or the mode + 1 */
    uint32_t mode = hk_load_relaxed(&known); /* relaxed: every thread finds the same value */
    if (hk_unlikely(mode == 0)) {
        mode = os_read_huge_mode() + 1;
        hk_store_relaxed(&known, mode); /* relaxed: as above */
    }
    return (enum hk_os_huge_mode)(mode - 1);
}

/* ---- Mapping --------------------------------------------------------------------------------- */

/* Maps memory anywhere. The first such mapping sets the hint. */
static void *os_map_anywhere(size_t bytes) {
    void *p = os_map(NULL, bytes);
    uintptr_t unset = 0;
    /* relaxed: only a hint */
    if ((uintptr_t)p > OS_HINT_GAP_BYTES &&
        hk_cas_relaxed(&os_map_hint, &unset, (uintptr_t)p - OS_HINT_GAP_BYTES))
        os_system_huge_mode();
    return p;
}

void *hak_os_map_boundary(size_t bytes, size_t align) {
    void *p = NULL;
    if (align <= hk_os_page_bytes()) {
        p = os_map_anywhere(bytes);
    } else {
        p = os_map_at_hint(bytes, align);
        if (p == NULL)
            p = os_map_trimmed(bytes, align);

        if (p != NULL)
            hk_store_relaxed(&os_map_hint, (uintptr_t)p); /* relaxed: only a hint */
    }

    if (p != NULL)
        os_count_mapped(bytes);
    return p;
}

void *hk_os_map_guarded(size_t bytes) {
    size_t page = hk_os_page_bytes();
    char *p = os_map_anywhere(bytes + 2 * page);
    if (p == NULL)
        return NULL;

    /* Writable memory merges with a writable neighbour, so it can be mapped even when no further
     * mapping is left. Without a guard page the memory is still usable. */
    char *start = p + page;
    os_syscall(SYS_mprotect, os_address(p), (long)page, PROT_NONE);
    os_syscall(SYS_mprotect, os_address(start + bytes), (long)page, PROT_NONE);

    if (bytes >= OS_HUGE_PAGE_BYTES)
        os_advise(start, bytes, MADV_NOHUGEPAGE);
    os_count_mapped(bytes);
    return start;
}

void hk_os_unmap_guarded(void *start, size_t bytes) {
    size_t page = hk_os_page_bytes();
    os_unmap((char *)start - page, bytes + 2 * page);
    hk_stat_sub(&hk_os_counts.bytes_mapped, bytes);
}

bool hk_os_unmap(void *start, size_t bytes) {
    bool done = os_unmap(start, bytes);
    if (done) {
        hk_stat_sub(&hk_os_counts.bytes_mapped, bytes);
        os_retry_leftovers();
    }
    return done;
}

int hk_os_resize(void *start, size_t old_bytes, size_t new_bytes) {
    hk_stat_add(&hk_os_counts.remap_calls, 1);
    long result = os_syscall(SYS_mremap, os_address(start), (long)old_bytes, (long)new_bytes, 0);
    int error = result < 0 ? (int)-result : 0;
    if (error == 0 && new_bytes >= old_bytes)
        os_count_mapped(new_bytes - old_bytes);
    else if (error == 0)
        hk_stat_sub(&hk_os_counts.bytes_mapped, old_bytes - new_bytes);
    return error;
}

/* ---- Moving ---------------------------------------------------------------------------------- */

/* Whether a word is mapped and holds `value`. A futex reads memory without a fault, and times out
 * at once if the value is there. */
static bool os_word_is(const uint32_t *word, uint32_t value) {
    struct timespec no_time = {0, 0};
    long result;
    do
        result = os_syscall(SYS_futex, os_address(word), OS_FUTEX_WAIT_PRIVATE, value,
                            os_address(&no_time));
    while (result == 0 || result == -EINTR);
    return result == -ETIMEDOUT;
}

/* The kernel may unmap the target first and then fail. A cookie in the target shows whether it is
 * still there. A mapping that another thread made at the address in between does not contain the
 * cookie. */
enum hk_os_move hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes) {
    static uint64_t moves; /* atomic */
    uint32_t cookie[2];

    /* relaxed: any other number will do */
    uint64_t number = hk_add_relaxed(&moves, 1) * UINT64_C(0x9e3779b97f4a7c15) + (uintptr_t)start;
    memcpy(cookie, &number, sizeof cookie);
    memcpy(to, cookie, sizeof cookie);

    hk_stat_add(&hk_os_counts.remap_calls, 1);
    enum hk_os_move result = HK_OS_MOVE_DONE;
    if (os_syscall(SYS_mremap, os_address(start), (long)old_bytes, (long)new_bytes,
                   MREMAP_MAYMOVE | MREMAP_FIXED, os_address(to)) < 0) {
        const uint32_t *words = to;
        bool there = os_word_is(words, cookie[0]) && os_word_is(words + 1, cookie[1]);
        result = there ? HK_OS_MOVE_REFUSED : HK_OS_MOVE_TARGET_GONE;
    }

    if (result == HK_OS_MOVE_DONE)
        hk_stat_sub(&hk_os_counts.bytes_mapped, old_bytes);
    if (result == HK_OS_MOVE_TARGET_GONE)
        hk_stat_sub(&hk_os_counts.bytes_mapped, new_bytes);
    return result;
}

/* ---- Pages ----------------------------------------------------------------------------------- */

/* Not inlined, because a tracepoint of a function without callers would have a false address. */
HK_NOINLINE bool hk_os_purge(void *start, size_t bytes) {
    hk_stat_add(&hk_os_counts.purge_calls, 1);
    bool done = os_advise(start, bytes, MADV_DONTNEED);
    if (done) {
        hk_stat_add(&hk_os_counts.bytes_purged, bytes);
        HK_PROBE2(purge, (uintptr_t)start, bytes);
    }
    return done;
}

void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge) {
    hk_add_relaxed(&hk_os_counts.purge_calls, 1); /* relaxed: statistics. This calls madvise too. */
    os_advise(start, bytes, huge == HK_OS_HUGE_WANTED ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

size_t hk_os_mappings_max(void) {
    enum { USUAL = 65530 };
    static size_t mappings_max; /* relaxed: every thread computes the same value */
    size_t most = hk_load_relaxed(&mappings_max);
    if (most != 0)
        return most;

    struct os_lines lines;
    const char *digit = os_read_setting(&lines, HK_OS_ROOT "/proc/sys/vm/max_map_count");
    for (; digit != NULL && *digit >= '0' && *digit <= '9'; digit++)
        most = most * 10 + (size_t)(*digit - '0');

    most = most != 0 ? most : USUAL;
    hk_store_relaxed(&mappings_max, most);
    return most;
}

/* The process's own setting may change at any time, so we ask for it each time. */
enum hk_os_huge_mode hk_os_huge_mode(void) {
    enum { EXCEPT_ON_REQUEST = 2 }; /* a flag of PR_GET_THP_DISABLE */
    enum hk_os_huge_mode mode = os_system_huge_mode();
    if (mode == HK_OS_HUGE_NEVER)
        return mode;

    long disabled = os_syscall(SYS_prctl, PR_GET_THP_DISABLE);
    if (disabled <= 0)
        return mode;
    return disabled & EXCEPT_ON_REQUEST ? HK_OS_HUGE_ON_REQUEST : HK_OS_HUGE_NEVER;
}

bool hk_os_huge_pages_exist(void) { return hk_os_huge_mode() != HK_OS_HUGE_NEVER; }
