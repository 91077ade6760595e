/* os/os.h - the OS boundary.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: everything that hakmem asks of the operating system. No other file makes memory
 * system calls; tests link tests/fake_os.c in place of the files for Linux.
 * Owns: the counts of its own calls.
 * Threads: any thread, any time, no lock needed or taken. No call may be made while a lock below
 * PURGE is held, except wait and wake, which locks are made of.
 * Boundary: the kernel, without libc (os/syscall_linux.h); libc's functions for threads, dlopen,
 * abort. Never allocates from hakmem; keeps errno.
 */
#ifndef HK_OS_OS_H
#define HK_OS_OS_H

#include "../base/compiler.h"

/* Counts since the start; `bytes_mapped` is of now. All are read and written relaxed: statistics.
 */
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

/* Maps `bytes` (a multiple of the page size) of zeroed memory for metadata, with an inaccessible
 * page on each side, so that no overflow of a block reaches it. Never backed by huge pages. Where
 * the process has no mapping left for the two pages, the memory comes without them. NULL when there
 * is no memory. */
void *hk_os_map_guarded(size_t bytes);

/* Unmaps a whole guarded mapping with its two pages. */
void hk_os_unmap_guarded(void *start, size_t bytes);

/* Unmaps whole mappings or page-aligned parts of them. False, nothing changed, where the OS
 * refuses: a hole needs one more mapping, and the process has no more. */
bool hk_os_unmap(void *start, size_t bytes);

/* Resizes a mapping where it is. 0, or an error number if that is impossible, and then nothing
 * changed: ENOMEM if there is no room, any other if the range cannot be moved either. */
int hk_os_resize(void *start, size_t old_bytes, size_t new_bytes);

/* Moves the pages of a mapping, without copying, to `to`, an unused mapping of `new_bytes` that
 * they replace. If that is impossible the old mapping is intact, and `to` is still mapped
 * (HK_OS_MOVE_REFUSED) or gone (HK_OS_MOVE_TARGET_GONE: the address may belong to another thread).
 */
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

/* The number of the CPU on which the calling thread runs: a hint, because the thread may move at
 * any time. Numbers may have gaps and may exceed hk_os_cpus. 0 where it is unknown. */
uint32_t hk_os_cpu(void);

/* The memory limit of this process's cgroup and those above it, in bytes; 0 if there is none. */
uint64_t hk_os_memory_limit(void);

/* Whether huge pages are asked for in a range, or refused, which keeps the kernel from filling
 * holes with them. A hint. */
enum hk_os_huge { HK_OS_HUGE_WANTED, HK_OS_HUGE_REFUSED };
void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge);

/* Whether the kernel backs memory of this process with huge pages: never, where that was asked for,
 * or wherever it can. */
enum hk_os_huge_mode { HK_OS_HUGE_NEVER, HK_OS_HUGE_ON_REQUEST, HK_OS_HUGE_ALWAYS };
enum hk_os_huge_mode hk_os_huge_mode(void);

/* The mode is not HK_OS_HUGE_NEVER. */
bool hk_os_huge_pages_exist(void);

/* A clock that only goes forward, in milliseconds; cheap, exact to about 4 ms. */
uint64_t hk_os_now_ms(void);

/* Sleeps while *word == expected, until woken (or for no reason); with a limit, for at most `ms`
 * milliseconds. */
void hk_os_wait(uint32_t *word, uint32_t expected);
void hk_os_wait_ms(uint32_t *word, uint32_t expected, uint64_t ms);
/* Wakes one thread that sleeps on the word. */
void hk_os_wake(uint32_t *word);

/* Counts the forks between the process that called it first and this one. A child of fork, or of
 * clone without CLONE_VM, has a generation of its own; a child of vfork shares memory with its
 * parent and is of the parent's. Cheap: one load. */
uint32_t hk_os_generation(void);
/* From the child handler of fork: for kernels that do not wipe the page behind hk_os_generation. */
void hk_os_note_fork(void);

/* Whether the calling thread is the first one of its process: in a forked child, the one that
 * forked. */
bool hk_os_is_first_thread(void);

/* The calling thread, as the kernel numbers it; 0 in a child of vfork, whose number its parent's
 * thread does not have. */
uint64_t hk_os_thread_id(void);
/* Whether no thread of this process has that number any more. */
bool hk_os_thread_is_gone(uint64_t id);

/* Whether the calling thread may start a thread of ours: it does not run a signal handler (as far
 * as its signal mask tells), nor in a child of vfork. `usual_mask` is the thread's signal mask in
 * normal operation. */
bool hk_os_may_start_thread(uint64_t usual_mask);
/* Lets every thread of the process pass a full memory barrier, wherever it is in its code. Stores
 * before it are seen by all loads that other threads start afterwards, and their stores before it
 * are seen by the caller. Costs some microseconds. False, nothing happened, where the kernel cannot
 * do it or a sandbox may forbid it. */
bool hk_os_barrier(void);

/* Whether a thread of this process sleeps in a system call, and not in a signal handler, as its
 * signal mask tells. True only if that is certain, provided that hk_os_handlers_block_their_signal.
 */
bool hk_os_thread_sleeps(uint64_t id, uint64_t usual_mask);
/* Whether all signal handlers of the process block their own signal while they run, as POSIX has it
 * by default. */
bool hk_os_handlers_block_their_signal(void);

/* Whether the calling thread is under a seccomp filter. */
bool hk_os_is_sandboxed(void);
/* The calling thread's signal mask; bit 0 is signal 1. */
uint64_t hk_os_signal_mask(void);

/* To be called from a constructor: finds libc's own pthread_create, which wrappers of the name in
 * other libraries do not see. */
void hk_os_find_thread_create(void);

/* Starts a detached thread for background work: all signals blocked, default scheduling policy, all
 * CPUs of the process, a small stack, no capability beyond those that following setuid needs, no
 * new privileges. libc knows the thread, so that setuid and its relatives reach it. False, nothing
 * happened, if the system refuses. */
bool hk_os_start_thread(void *(*run)(void *arg), const char *name);

/* Keeps the shared object that contains `code` loaded until the process ends, whatever dlclose
 * says. */
void hk_os_stay_loaded(const void *code);

/* Writes text to standard error, unless that is closed or its number is in use for other data. */
void hk_os_write_error(const char *text, size_t bytes);

/* Notes which file standard error is. Called at the start, before anything is written to it. */
void hk_os_note_error(void);

/* Keeps a duplicate of standard error, for reports at exit: many programs close it before. The
 * first call counts; one thread at a time. */
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
