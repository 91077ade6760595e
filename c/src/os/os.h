/* os/os.h - the OS boundary.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What it is: all requests of hakmem to the operating system. No other file makes memory system
 * calls. Tests link tests/fake_os.c in place of the files for Linux.
 * Owns: the counts of its own calls.
 * Threads: any thread at any time. The functions need and take no lock. They must not be called
 * while a lock below PURGE is held, except wait and wake, on which the locks are built.
 * Boundary: the kernel, without libc (os/syscall_linux.h), and libc's functions for threads,
 * dlopen, abort. Never allocates from hakmem, and preserves errno.
 */
#ifndef HK_OS_OS_H
#define HK_OS_OS_H

#include "../base/compiler.h"

/* Counts since the start, except `bytes_mapped`, which is current. All are read and written
 * relaxed, as statistics. */
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
 * Returns NULL if out of memory. This function and hk_os_map_guarded are the only ones that map
 * memory. */
void *hak_os_map_boundary(size_t bytes, size_t align);

/* Maps `bytes` (a multiple of the page size) of zeroed memory for metadata, with an inaccessible
 * page on each side, so that no overflow of a block reaches it. Never backed by huge pages. If the
 * process has no mappings left for the two pages, the memory comes without them. Returns NULL if
 * out of memory. */
void *hk_os_map_guarded(size_t bytes);

/* Unmaps a whole guarded mapping with its two pages. */
void hk_os_unmap_guarded(void *start, size_t bytes);

/* Unmaps whole mappings or page-aligned parts of them. Returns false and changes nothing if the OS
 * refuses, because a hole needs one more mapping and the process may have none left. */
bool hk_os_unmap(void *start, size_t bytes);

/* Resizes a mapping in place. Returns 0 on success. Otherwise changes nothing and returns an error
 * number: ENOMEM if there is no room, any other if the range cannot be moved either. */
int hk_os_resize(void *start, size_t old_bytes, size_t new_bytes);

/* Moves the pages of a mapping without copying. They replace `to`, an unused mapping of
 * `new_bytes`. On failure the old mapping is intact, and `to` is either still mapped
 * (HK_OS_MOVE_REFUSED) or gone (HK_OS_MOVE_TARGET_GONE), in which case its address may already
 * belong to another thread. */
enum hk_os_move { HK_OS_MOVE_DONE, HK_OS_MOVE_REFUSED, HK_OS_MOVE_TARGET_GONE };
enum hk_os_move hk_os_move(void *start, size_t old_bytes, void *to, size_t new_bytes);

/* The number of mappings that this process may have (vm.max_map_count). */
size_t hk_os_mappings_max(void);

/* Gives the pages of a range back. The range stays mapped and reads as zero. If the OS refuses, as
 * for locked memory, returns false and leaves the contents unchanged. */
bool hk_os_purge(void *start, size_t bytes);

/* The size of a page, which is constant while the process runs. */
size_t hk_os_page_bytes(void);

/* The number of CPUs that this process may use by its affinity and its cgroup quota, at least 1. */
unsigned hk_os_cpus(void);

/* The number of the CPU on which the calling thread runs. It is a hint, because the thread may move
 * at any time. Numbers may have gaps and may exceed hk_os_cpus. The result is 0 if the number is
 * unknown. */
uint32_t hk_os_cpu(void);

/* Calls `visit` for each range of CPUs of each NUMA node, from `first` to `last`. The nodes are
 * numbered from 0, without those that have no CPU. If there is only one, if the kernel does not
 * say, or if the thread is under a seccomp filter, which may forbid to read files, nothing is
 * visited. CPUs that are offline belong to no node. */
void hk_os_nodes(void (*visit)(void *arg, uint32_t node, uint32_t first, uint32_t last), void *arg);
#define HK_OS_CPUS_MAX 8192u /* the maximum of any kernel */

/* The memory limit of this process's cgroup and those above it, in bytes, or 0 if there is none. */
uint64_t hk_os_memory_limit(void);

/* The use and the limit of the fullest of these cgroups, in bytes. The use does not include files
 * that the kernel would drop first. The limit is 0 if there is none. */
struct hk_os_memory {
    uint64_t used;
    uint64_t limit;
};
struct hk_os_memory hk_os_memory_use(void);

/* The share of the last ten seconds in which threads waited for memory, in hundredths of a per
 * cent: of this process's cgroup or, where that is unknown, of the whole system. */
uint32_t hk_os_memory_pressure(void);
#define HK_OS_PRESSURE_UNKNOWN UINT32_MAX

/* Requests huge pages for a range, or refuses them, which keeps the kernel from filling holes with
 * them. It is a hint. */
enum hk_os_huge { HK_OS_HUGE_WANTED, HK_OS_HUGE_REFUSED };
void hk_os_set_huge(void *start, size_t bytes, enum hk_os_huge huge);

/* Whether the kernel backs memory of this process with huge pages: never, in ranges that request
 * them, or wherever it can. */
enum hk_os_huge_mode { HK_OS_HUGE_NEVER, HK_OS_HUGE_ON_REQUEST, HK_OS_HUGE_ALWAYS };
enum hk_os_huge_mode hk_os_huge_mode(void);

/* Whether the mode is other than HK_OS_HUGE_NEVER. */
bool hk_os_huge_pages_exist(void);

/* A monotonic clock in milliseconds. It is cheap, and exact to about 4 ms. */
uint64_t hk_os_now_ms(void);

/* Sleeps while *word == expected. Returns after a wake, sometimes without one, and hk_os_wait_ms
 * after at most `ms` milliseconds. */
void hk_os_wait(uint32_t *word, uint32_t expected);
void hk_os_wait_ms(uint32_t *word, uint32_t expected, uint64_t ms);
/* Wakes one thread that sleeps on the word. */
void hk_os_wake(uint32_t *word);

/* Sleeps for about `ms` milliseconds, on a word that nobody wakes. */
static inline void hk_os_sleep_ms(uint64_t ms) {
    static uint32_t never; /* const: 0 */
    hk_os_wait_ms(&never, 0, ms);
}

/* The number of forks between the first process that called this and the current one. A child of
 * fork, or of clone without CLONE_VM, has its own generation. A child of vfork shares memory with
 * its parent and has the parent's generation. The cost is one load. */
uint32_t hk_os_generation(void);
/* Called by the child handler of fork, for kernels that do not wipe the page behind
 * hk_os_generation. */
void hk_os_note_fork(void);

/* Whether the calling thread is the first thread of its process. In a forked child that is the
 * thread that forked. */
bool hk_os_is_first_thread(void);

/* The kernel's number of the calling thread. Returns 0 in a child of vfork, which shares our memory
 * but is none of our threads. */
uint64_t hk_os_thread_id(void);
/* Whether no thread of this process has that number any more. */
bool hk_os_thread_is_gone(uint64_t id);

/* Whether the calling thread may start a thread of hakmem. It must not be in a child of vfork, or
 * in a signal handler, as far as its signal mask shows. `usual_mask` is the thread's signal mask in
 * normal operation. */
bool hk_os_may_start_thread(uint64_t usual_mask);
/* Whether libc knows that this is a process of its own. It does not in a child of the clone system
 * call, where another thread's lock in pthread_create may be held forever. */
bool hk_os_is_known_to_libc(void);
/* Makes every thread of the process execute a full memory barrier, wherever it is in its code. All
 * loads that other threads start afterwards see the caller's stores before the call, and the caller
 * sees their stores before it. It takes a few microseconds. If the kernel does not support it or a
 * sandbox may forbid it, returns false and does nothing. */
bool hk_os_barrier(void);

/* Whether a thread of this process sleeps in a system call, and its signal mask shows that it is
 * not in a signal handler. Returns true only if that is certain, provided that
 * hk_os_handlers_block_their_signal holds. */
bool hk_os_thread_sleeps(uint64_t id, uint64_t usual_mask);
/* Whether all signal handlers of the process block their own signal while they run, which is the
 * POSIX default. */
bool hk_os_handlers_block_their_signal(void);

/* Whether the calling thread is under a seccomp filter. */
bool hk_os_is_sandboxed(void);
/* The calling thread's signal mask. Bit 0 is signal 1. */
uint64_t hk_os_signal_mask(void);

/* Called from a constructor. Finds libc's own pthread_create, so that we bypass wrappers of it in
 * other libraries. */
void hk_os_find_thread_create(void);

/* A thread of hakmem. */
struct hk_os_thread {
    void *(*run)(void *unused);
    const char *name;
};

/* Starts a detached thread for background work, described by a constant. The thread has all signals
 * blocked, the default scheduling policy, all CPUs of the process, a small stack, no new
 * privileges, and only the capabilities that setuid needs to take effect in it. libc knows the
 * thread, so that setuid and its relatives reach it. If the system refuses, returns false and does
 * nothing. */
bool hk_os_start_thread(const struct hk_os_thread *thread);

/* Keeps the shared object that contains `code` loaded until the process ends, even after
 * dlclose. */
void hk_os_stay_loaded(const void *code);

/* Writes text to standard error, unless it is closed or its descriptor is in use for other data. */
void hk_os_write_error(const char *text, size_t bytes);

/* Notes which file standard error is. Called at the start, before anything is written to it. */
void hk_os_note_error(void);

/* Keeps a duplicate of standard error for reports at exit, because many programs close it earlier.
 * Only the first call has an effect. One thread at a time may call it. */
void hk_os_keep_error(void);

/* The environment as a NULL-terminated array of "NAME=value", or at least the variables with names
 * that begin with HAKMEM_. NULL while it cannot be read because the loader still runs, and in
 * set-uid programs, which must not trust it. One thread at a time may call it. */
char *const *hk_os_environment(void);
/* Whether the environment cannot be read yet, but can be once constructors run. */
bool hk_os_environment_is_early(void);

/* Marks the process and all processes that it starts from now on. Returns false if it is already
 * marked. */
bool hk_os_mark_tree(void);

/* ---- For profiles ---------------------------------------------------------------------------- */

/* Finds the unwinder of the C++ and Rust runtimes, and opens its library if necessary. The loader
 * and the unwinder may allocate, so no lock is held. Without it, stacks are empty. */
void hk_os_unwind_start(void);

/* Gets the return addresses of the calling thread, innermost first, beginning in this function.
 * Returns their number, at most `most`. The unwinder may allocate, so no lock is held. If its own
 * allocations call this function, they get no addresses. */
uint32_t hk_os_unwind(uintptr_t *frames, uint32_t most);

/* The same, beginning with the return address of the frame at `first`, and without the frames of
 * hakmem inside it. There is always at least this address. */
uint32_t hk_os_unwind_from(const void *first, uintptr_t *frames, uint32_t most);

/* The same by frame pointers. It stops at the first frame pointer that cannot be one. Takes no lock
 * and allocates nothing. */
uint32_t hk_os_unwind_frame_pointers(const void *first, uintptr_t *frames, uint32_t most);

/* The stack of a thread that a signal interrupted at `code`, by frame pointers. `frame` may be
 * anything. For signal handlers. */
uint32_t hk_os_unwind_interrupted(uintptr_t code, const void *frame, uintptr_t *frames,
                                  uint32_t most);

/* An executable segment of the program or of a shared object. The name is valid during the
 * visit. */
struct hk_os_module {
    const char *name; /* its path */
    uintptr_t base;   /* the address that the file calls 0 */
    uintptr_t start;
    uintptr_t end;
    uint64_t offset; /* of `start` in the file */
    uint8_t build_id_bytes;
    uint8_t build_id[32];
};

/* Calls `visit` for each executable segment. The loader's lock is held meanwhile. */
void hk_os_modules(void (*visit)(void *arg, const struct hk_os_module *module), void *arg);

/* The same for the segments that contain one of the addresses. They are read from the kernel,
 * without any lock and without an allocation, so that a signal handler may call this. */
void hk_os_find_modules(const uintptr_t *addresses, size_t count,
                        void (*visit)(void *arg, const struct hk_os_module *module), void *arg);

/* The name of the exported function that contains an address, or NULL. It is valid while the
 * function is loaded. */
const char *hk_os_symbol(uintptr_t address);

/* Creates or empties a file that only its owner may read. Returns its descriptor, or a negative
 * number. */
int hk_os_create_file(const char *path);
bool hk_os_write_file(int file, const char *text, size_t bytes);
void hk_os_close_file(int file);

/* The kernel's number of this process. */
uint64_t hk_os_process_id(void);

/* Nanoseconds since 1970. */
uint64_t hk_os_calendar_ns(void);

/* Installs the handler of a signal. */
bool hk_os_handle_signal(int number, void (*handler)(int number));

/* ---- For guard pages ------------------------------------------------------------------------- */

/* Makes whole pages of a mapping inaccessible, or accessible again. If the OS refuses, for example
 * because the process has no mappings left, returns false and changes nothing. */
enum hk_os_access { HK_OS_ACCESS_NONE, HK_OS_ACCESS_ALL };
bool hk_os_protect(void *start, size_t bytes, enum hk_os_access access);

/* An access to an address that the program may not access. */
enum hk_os_fault_kind { HK_OS_FAULT_ANY, HK_OS_FAULT_READ, HK_OS_FAULT_WRITE };
struct hk_os_fault {
    uintptr_t address;
    enum hk_os_fault_kind kind; /* HK_OS_FAULT_ANY if it is unknown */
    uintptr_t code;             /* address of the instruction */
    const void *frame;          /* the frame pointer, if the code has one */
};

/* Calls `report` for each such fault of the process from now on, in a signal handler of the thread
 * that caused it. Afterwards the fault has the effect that it had before: that of the handler that
 * was installed, or else the end of the process. Only the first call has an effect. */
void hk_os_handle_faults(void (*report)(const struct hk_os_fault *fault));

HK_NORETURN void hk_os_abort(void);

#endif
