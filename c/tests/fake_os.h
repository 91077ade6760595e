/* fake_os.h - an OS boundary that tests command and look into.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: os/os.h over real memory, linked in place of the files for Linux. It fails when told to,
 * reports the CPUs, pages, time and environment it is given, keeps what is written to standard
 * error, and knows every mapping. A call that breaks the contract of os.h ends the program: memory
 * calls while a lock is held (other than PURGE and GROWTH, which are there for that), sizes that are not whole
 * pages, ranges that are not mapped.
 * Owns: the table of mappings. Threads: any; settings are changed while no other thread runs.
 * Boundary: libc.
 */
#ifndef FAKE_OS_H
#define FAKE_OS_H

#include <setjmp.h>

#include "os/os.h"

enum { FAKE_OS_ERRORS_BYTES = 65536 };

struct fake_os {
    /* What it reports. */
    size_t page_bytes;        /* 4096; any multiple of that */
    unsigned cpus;            /* 1 */
    uint32_t cpu;             /* 0: on which all threads run */
    bool threads_sleep;       /* what hk_os_thread_sleeps says of all threads */
    uint64_t memory_limit;    /* 0: none */
    uint64_t now_ms;          /* atomic; 1000000; sleeps end when it has passed their time */
    char *const *environment; /* NULL, as in a set-uid program */
    bool environment_is_early;
    bool tree_is_marked; /* false; a mark sets it */

    /* What goes wrong. */
    bool resize_fails;   /* there is no room */
    bool resize_refused; /* the range cannot be moved either */
    bool move_fails;
    bool move_unmaps; /* a move that fails has unmapped its target, as older kernels do */
    bool purge_fails;
    bool thread_fails;
    uint32_t barrier_fails; /* the barrier that is refused: 1 is the next one; 0: none */
    bool unmap_fails;

    /* Called before and after each call reaches the system, no mutex held; NULL: nothing. */
    void (*delay)(void);

    enum hk_os_huge_mode huge_mode; /* HK_OS_HUGE_ON_REQUEST */
    size_t mappings_max;            /* 65530 */

    /* Where the next mapping goes that is aligned to more than a page; moves up. 0: anywhere. */
    uintptr_t chunks_at;

    /* What was seen. */
    uint64_t map_calls;                /* failed ones too, as in fake_os_calls */
    uint64_t huge_wanted_bytes;        /* for which huge pages were asked */
    uint64_t huge_refused_bytes;       /* for which they were refused */
    uint32_t sleepers;                 /* atomic; threads in hk_os_wait_ms */
    char errors[FAKE_OS_ERRORS_BYTES]; /* written to standard error; ends in NUL */

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
    FAKE_OS_CALLS
};

/* From now on the calls of a kind number `first` to `first + count - 1` (the next one is 1) fail; a
 * count of 0 lets all succeed. */
void fake_os_fail(enum fake_os_call kind, uint64_t first, uint64_t count);
void fake_os_fail_maps(uint64_t first, uint64_t count);

/* Calls of a kind so far, failed ones too. */
uint64_t fake_os_calls(enum fake_os_call kind);
#define FAKE_OS_ALL UINT64_MAX

/* Bytes mapped now. */
size_t fake_os_mapped(void);

/* Whether all of a range is mapped. */
bool fake_os_is_mapped(const void *start, size_t bytes);

/* The text written to standard error since the last call; valid until the next. */
const char *fake_os_take_errors(void);

/* Whether the statement ends in hk_os_abort. No other thread may run meanwhile. */
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
