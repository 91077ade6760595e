/* os/os.h - the OS boundary.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: everything that hakmem asks of the operating system. No other file makes memory
 * system calls; tests link tests/fake_os.c in place of the files for Linux.
 * Owns: the counts of its own calls.
 * Threads: any thread, any time, no lock needed or taken. No call may be made while a lock below
 * PROCESS is held, except wait and wake, which locks are made of.
 * Boundary: the kernel, without libc (os/syscall_linux.h); libc's wrappers for the calls that map memory.
 * Never allocates from hakmem; keeps errno.
 */
#ifndef HK_OS_OS_H
#define HK_OS_OS_H

#include "../base/compiler.h"

/* Counts since the start; `bytes_mapped` is of now. All are read and written relaxed: statistics. */
struct hk_os_counts {
    uint64_t map_calls;
    uint64_t unmap_calls;
    uint64_t remap_calls;
    uint64_t purge_calls;
    uint64_t bytes_mapped;
    uint64_t bytes_mapped_peak;
    uint64_t bytes_purged;
};
extern struct hk_os_counts hk_os_counts; /* atomic */

/* Maps `bytes` (a multiple of the page size) of zeroed memory aligned to `align`, a power of two.
 * NULL when there is no memory. The only function that maps memory. */
void *hak_os_map_boundary(size_t bytes, size_t align);

/* Unmaps a whole mapping or a page-aligned part of one. */
void hk_os_unmap(void *start, size_t bytes);

/* Resizes a mapping where it is; false if that is impossible: nothing changed then. */
bool hk_os_resize(void *start, size_t old_bytes, size_t new_bytes);

/* Moves the pages of a mapping, without copying, to `to`, an unused mapping of `new_bytes` that they
 * replace. False if that is impossible: the old mapping is intact then, `to` perhaps not. */
bool hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes);

/* Gives the pages of a range back; the range stays mapped and reads as zero. False if the OS
 * refused (locked memory): the contents are then unchanged. */
bool hk_os_purge(void *start, size_t bytes);

/* Bytes of a page; constant while the process lives. */
size_t hk_os_page_bytes(void);

/* CPUs that this process may use: affinity and cgroup quota counted, at least 1. */
unsigned hk_os_cpus(void);

/* The memory limit of this process's cgroup and those above it, in bytes; 0 if there is none. */
uint64_t hk_os_memory_limit(void);

/* Whether huge pages are asked for in a range, or refused, which keeps the kernel from filling holes
 * with them. A hint. */
enum hk_os_huge { HK_OS_HUGE_WANTED, HK_OS_HUGE_REFUSED };
void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge);

/* A clock that only goes forward, in milliseconds; cheap, exact to about 4 ms. */
uint64_t hk_os_now_ms(void);

/* Sleeps for that long, or less if something else ends the sleep. */
void hk_os_sleep_ms(uint64_t ms);

/* Names the calling thread for debuggers; at most 15 bytes. */
void hk_os_name_thread(const char *name);

/* Sleeps while *word == expected, until woken (or for no reason). */
void hk_os_wait(uint32_t *word, uint32_t expected);
/* Wakes one thread that sleeps on the word. */
void hk_os_wake(uint32_t *word);

/* Writes text to standard error, unless that is closed or its number is in use for other data. */
void hk_os_write_error(const char *text, size_t bytes);

/* Notes which file standard error is. Called at the start, before anything is written to it. */
void hk_os_note_error(void);

/* Keeps a duplicate of standard error, for reports at exit: many programs close it before. The first
 * call counts; one thread at a time. */
void hk_os_keep_error(void);

/* The environment as a NULL-terminated array of "NAME=value", or at least its variables whose names
 * begin with HAKMEM_; NULL when it cannot be read yet (the loader is still at work) or must not be
 * trusted (set-uid programs). One thread at a time. */
char *const *hk_os_environment(void);
/* True when the environment cannot be read yet, but will be once constructors run. */
bool hk_os_environment_is_early(void);

/* Marks the process and all that it starts from now on. False if it is marked already. */
bool hk_os_mark_tree(void);

HK_NORETURN void hk_os_abort(void);

#endif
