/* os/os.h - the OS boundary.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: everything that hakmem asks of the operating system. No other file makes memory
 * system calls; tests link tests/fake_os.c in place of the files for Linux.
 * Owns: the counts of its own calls.
 * Threads: any thread, any time, no lock needed or taken. No call may be made while a lock below
 * PROCESS is held, except wait and wake, which locks are made of.
 * Boundary: libc's system call wrappers. Never allocates from hakmem; keeps errno.
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
 * NULL when there is no memory. It and hk_os_map_guarded are the only functions that map memory. */
void *hak_os_map_boundary(size_t bytes, size_t align);

/* Maps `bytes` (a multiple of the page size) of zeroed memory for metadata, with an inaccessible page on
 * each side, so that no overflow of a block reaches it. Never backed by huge pages. Where the process has
 * no mapping left for the two pages, the memory comes without them. NULL when there is no memory. */
void *hk_os_map_guarded(size_t bytes);

/* Unmaps a whole guarded mapping with its two pages. */
void hk_os_unmap_guarded(void *start, size_t bytes);

/* Unmaps whole mappings or page-aligned parts of them. False, nothing changed, where the OS refuses: a
 * hole needs one more mapping, and the process has no more. */
bool hk_os_unmap(void *start, size_t bytes);

/* Resizes a mapping where it is. 0, or an error number if that is impossible, and then nothing changed:
 * ENOMEM if there is no room, any other if the range cannot be moved either. */
int hk_os_resize(void *start, size_t old_bytes, size_t new_bytes);

/* Moves the pages of a mapping, without copying, to `to`, an unused mapping of `new_bytes` that they
 * replace. If that is impossible the old mapping is intact, and `to` is still mapped
 * (HK_OS_MOVE_REFUSED) or gone (HK_OS_MOVE_TARGET_GONE: the address may belong to another thread). */
enum hk_os_move { HK_OS_MOVE_DONE, HK_OS_MOVE_REFUSED, HK_OS_MOVE_TARGET_GONE };
enum hk_os_move hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes);

/* Mappings that this process may have (vm.max_map_count). */
size_t hk_os_mappings_max(void);

/* Gives the pages of a range back; the range stays mapped and reads as zero. False if the OS
 * refused (locked memory): the contents are then unchanged. */
bool hk_os_purge(void *start, size_t bytes);

/* Bytes of a page; constant while the process lives. */
size_t hk_os_page_bytes(void);

/* CPUs that this process may use: affinity and cgroup quota counted, at least 1. */
unsigned hk_os_cpus(void);

/* The memory limit of this process's cgroup (version 2) and those above it, in bytes; 0 if none. */
uint64_t hk_os_memory_limit(void);

/* Whether huge pages are asked for in a range, or refused, which keeps the kernel from filling holes
 * with them. A hint. */
enum hk_os_huge { HK_OS_HUGE_WANTED, HK_OS_HUGE_REFUSED };
void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge);

/* Whether the kernel backs memory of this process with huge pages: never, where that was asked for, or
 * wherever it can. */
enum hk_os_huge_mode { HK_OS_HUGE_NEVER, HK_OS_HUGE_ON_REQUEST, HK_OS_HUGE_ALWAYS };
enum hk_os_huge_mode hk_os_huge_mode(void);

/* The mode is not HK_OS_HUGE_NEVER. */
bool hk_os_huge_pages_exist(void);

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

/* Writes text to standard error. */
void hk_os_write_error(const char *text, size_t bytes);

/* Keeps a duplicate of standard error, for reports at exit: many programs close it before. */
void hk_os_keep_error(void);

/* The environment as a NULL-terminated array of "NAME=value"; NULL when it is not there yet (the
 * loader is still at work) or must not be trusted (set-uid programs). */
char *const *hk_os_environment(void);
/* True when the environment is not there yet, but will be once constructors run. */
bool hk_os_environment_is_early(void);

HK_NORETURN void hk_os_abort(void);

#endif
