/* fake_os.h - an OS layer that tests can control and inspect.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Implements os/os.h with real memory, and is linked instead of the files for Linux. Tests can make
 * calls fail, and set the reported CPUs, page size, time and environment. The fake OS captures
 * standard error and tracks every mapping. A call that violates the contract of os.h ends the
 * program. Examples are memory calls while a lock is held (except PURGE and GROWTH, which exist for
 * this purpose), sizes that are not whole pages, and ranges that are not mapped.
 * Owns: the table of mappings. Threads: any. Settings may change only while no other thread runs.
 * Boundary: libc.
 */
#ifndef FAKE_OS_H
#define FAKE_OS_H

#include <setjmp.h>

#include "os/os.h"

enum { FAKE_OS_ERRORS_BYTES = 65536 };

struct fake_os {
    /* Reported values, with their defaults. */
    size_t page_bytes; /* 4096; any multiple of that */
    unsigned cpus;     /* 1 */
    uint32_t cpu;      /* 0: the CPU of all threads */
    uint32_t nodes;    /* 0: unknown; of cpus_per_node CPUs each, in order */
    uint32_t cpus_per_node;
    bool threads_sleep;             /* the result of hk_os_thread_sleeps for all threads */
    uint64_t memory_limit;          /* 0: none */
    struct hk_os_memory memory_use; /* 0, 0: none */
    uint32_t memory_pressure;       /* 0 */
    uint64_t now_ms;          /* atomic; 1000000; a sleep ends when this passes its deadline */
    char *const *environment; /* NULL, as in a set-uid program */
    bool environment_is_early;
    bool tree_is_marked; /* false; a mark sets it */

    /* Failures. */
    bool resize_fails;   /* there is no room */
    bool resize_refused; /* the range cannot be moved either */
    bool move_fails;
    bool move_unmaps; /* a failed move unmaps its target, as on older kernels */
    bool purge_fails;
    bool thread_fails;
    uint32_t gone_late;     /* atomic; number of calls that still find a thread which is gone */
    uint32_t barrier_fails; /* number of the barrier that fails: 1 is the next one, 0 is none */
    bool unmap_fails;

    /* Called before and after each system call, without the mutex. May be NULL. */
    void (*delay)(void);

    enum hk_os_huge_mode huge_mode; /* HK_OS_HUGE_ON_REQUEST */
    size_t mappings_max;            /* 65530 */

    /* The address of the next mapping that is aligned to more than a page. Moves up.
     * 0: anywhere. */
    uintptr_t chunks_at;

    /* Observations. */
    uint64_t map_calls;                /* including failed ones, as in fake_os_calls */
    uint64_t node_reads;               /* atomic; calls of hk_os_nodes */
    uint64_t memory_reads;             /* atomic; calls of hk_os_memory_use */
    uint64_t pressure_reads;           /* atomic; calls of hk_os_memory_pressure */
    uint64_t huge_wanted_bytes;        /* with requested huge pages */
    uint64_t huge_refused_bytes;       /* with refused huge pages */
    uint32_t sleepers;                 /* atomic; threads in hk_os_wait_ms */
    char errors[FAKE_OS_ERRORS_BYTES]; /* text on standard error, ends with a NUL */

    jmp_buf aborted; /* see FAKE_OS_ABORTS */
    bool catches_abort;
};
extern struct fake_os fake_os;

/* The kinds of calls that can fail. */
enum fake_os_call {
    FAKE_OS_MAP,
    FAKE_OS_UNMAP,
    FAKE_OS_RESIZE,
    FAKE_OS_MOVE,
    FAKE_OS_PURGE,
    FAKE_OS_HUGE,
    FAKE_OS_PROTECT,
    FAKE_OS_BARRIER,
    FAKE_OS_CALLS
};

/* Makes calls `first` to `first + count - 1` of a kind fail. The next call has the number 1. A
 * count of 0 makes all calls succeed. */
void fake_os_fail(enum fake_os_call kind, uint64_t first, uint64_t count);
void fake_os_fail_maps(uint64_t first, uint64_t count);

/* Makes every `n`th call of a kind fail, from now on. 0 makes all calls succeed. */
void fake_os_fail_every(enum fake_os_call kind, uint64_t n);

/* Returns the number of calls of a kind so far, including failed ones. */
uint64_t fake_os_calls(enum fake_os_call kind);
#define FAKE_OS_ALL UINT64_MAX

/* Returns the number of mapped bytes. */
size_t fake_os_mapped(void);

/* Returns whether the whole range is mapped. */
bool fake_os_is_mapped(const void *start, size_t bytes);

/* Returns the text written to standard error since the last call. It is valid until the
 * next call. */
const char *fake_os_take_errors(void);

/* Whether the statement calls hk_os_abort. No other thread may run meanwhile. */
#define FAKE_OS_ABORTS(statement)                                                                  \
    __extension__({                                                                                \
        fake_os.catches_abort = true;                                                              \
        volatile bool fake_os_aborted = setjmp(fake_os.aborted) != 0;                              \
        if (!fake_os_aborted) {                                                                    \
            statement;                                                                             \
        }                                                                                          \
        fake_os.catches_abort = false;                                                             \
        fake_os_aborted;                                                                           \
    })

#endif
