/* os/os_linux.c - the OS boundary on Linux: memory. SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "os.h"

#include <errno.h>
#include <sys/mman.h>

#include "../base/atomic.h"
#include "../base/bits.h"

struct hk_os_counts hk_os_counts;

/* The last aligned mapping: the next is tried directly below it. The first is tried so far below the
 * first mapping of all that no shared library is in the way. Relaxed: only a hint. */
static uintptr_t os_map_hint;
enum {
    OS_HINT_GAP_BYTES = 1 << 30,
    OS_HUGE_PAGE_BYTES = 2 << 20, /* the smallest; a smaller mapping cannot get one */
};

static void os_count_mapped(size_t bytes) {
    /* relaxed: statistics */
    hk_max_relaxed(&hk_os_counts.bytes_mapped_peak,
                   hk_add_relaxed(&hk_os_counts.bytes_mapped, bytes));
}

static void *os_map(void *hint, size_t bytes) {
    hk_add_relaxed(&hk_os_counts.map_calls, 1); /* relaxed: statistics */
    void *p = mmap(hint, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void os_unmap(void *start, size_t bytes) {
    if (bytes == 0)
        return;
    hk_add_relaxed(&hk_os_counts.unmap_calls, 1); /* relaxed: statistics */
    munmap(start, bytes);
}

/* Maps more than is needed and unmaps what is over on both sides. */
static void *os_map_trimmed(size_t bytes, size_t align) {
    size_t over = bytes + align - hk_os_page_bytes();
    char *p = over < bytes ? NULL : os_map(NULL, over);
    if (p == NULL)
        return NULL;
    char *start = (char *)hk_round_up((uintptr_t)p, align);
    os_unmap(p, (size_t)(start - p));
    os_unmap(start + bytes, (size_t)(p + over - (start + bytes)));
    return start;
}

/* Below the last aligned mapping, where the next one is likely to be aligned as well. */
static void *os_map_at_hint(size_t bytes, size_t align) {
    uintptr_t hint = hk_load_relaxed(&os_map_hint); /* relaxed: only a hint */
    if (hint <= bytes)
        return NULL;
    void *p = os_map((void *)((hint - bytes) & ~(align - 1)), bytes);
    if (p == NULL || ((uintptr_t)p & (align - 1)) == 0)
        return p;
    os_unmap(p, bytes);
    return NULL;
}

/* Anywhere. The first such mapping sets the hint. */
static void *os_map_anywhere(size_t bytes) {
    void *p = os_map(NULL, bytes);
    uintptr_t unset = 0;
    if ((uintptr_t)p > OS_HINT_GAP_BYTES) /* relaxed: only a hint */
        hk_cas_relaxed(&os_map_hint, &unset, (uintptr_t)p - OS_HINT_GAP_BYTES);
    return p;
}

void *hak_os_map_boundary(size_t bytes, size_t align) {
    int saved = errno;
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
    errno = saved;
    return p;
}

void *hk_os_map_guarded(size_t bytes) {
    int saved = errno;
    size_t page = hk_os_page_bytes();
    char *p = os_map_anywhere(bytes + 2 * page);
    if (p == NULL) {
        errno = saved;
        return NULL;
    }

    /* Writable memory merges with a writable neighbour, so it can be mapped when no further mapping is
     * left. A guard page that is refused then leaves usable memory. */
    char *start = p + page;
    mprotect(p, page, PROT_NONE);
    mprotect(start + bytes, page, PROT_NONE);
    if (bytes >= OS_HUGE_PAGE_BYTES)
        madvise(start, bytes, MADV_NOHUGEPAGE);
    os_count_mapped(bytes);
    errno = saved;
    return start;
}

void hk_os_unmap_guarded(void *start, size_t bytes) {
    int saved = errno;
    size_t page = hk_os_page_bytes();
    os_unmap((char *)start - page, bytes + 2 * page);
    hk_sub_relaxed(&hk_os_counts.bytes_mapped, bytes); /* relaxed: statistics */
    errno = saved;
}

void hk_os_unmap(void *start, size_t bytes) {
    int saved = errno;
    os_unmap(start, bytes);
    hk_sub_relaxed(&hk_os_counts.bytes_mapped, bytes); /* relaxed: statistics */
    errno = saved;
}

bool hk_os_resize(void *start, size_t old_bytes, size_t new_bytes) {
    int saved = errno;
    hk_add_relaxed(&hk_os_counts.remap_calls, 1); /* relaxed: statistics */
    bool done = mremap(start, old_bytes, new_bytes, 0) != MAP_FAILED;
    if (done && new_bytes >= old_bytes)
        os_count_mapped(new_bytes - old_bytes);
    else if (done)
        hk_sub_relaxed(&hk_os_counts.bytes_mapped, old_bytes - new_bytes); /* relaxed: statistics */
    errno = saved;
    return done;
}

bool hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes) {
    int saved = errno;
    hk_add_relaxed(&hk_os_counts.remap_calls, 1); /* relaxed: statistics */
    bool done =
        mremap(start, old_bytes, new_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
    if (done)
        hk_sub_relaxed(&hk_os_counts.bytes_mapped, old_bytes); /* relaxed: statistics */
    errno = saved;
    return done;
}

bool hk_os_purge(void *start, size_t bytes) {
    int saved = errno;
    hk_add_relaxed(&hk_os_counts.purge_calls, 1); /* relaxed: statistics */
    bool done = madvise(start, bytes, MADV_DONTNEED) == 0;
    if (done)
        hk_add_relaxed(&hk_os_counts.bytes_purged, bytes); /* relaxed: statistics */
    errno = saved;
    return done;
}

void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge) {
    int saved = errno;
    hk_add_relaxed(&hk_os_counts.purge_calls, 1); /* relaxed: statistics, of madvise */
    madvise(start, bytes, huge == HK_OS_HUGE_WANTED ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    errno = saved;
}
