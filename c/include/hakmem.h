/* hakmem.h - the interface of the hakmem memory allocator.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Every function here may be called from any thread at any time: before main, in destructors of
 * thread-local objects, in a forked child. None is async-signal-safe. Sizes and alignments are in
 * bytes. "Block" means memory that one of the allocating functions returned and that has not been
 * freed. A block belongs to the caller, and any thread may free it.
 *
 * Blocks from hak_* functions and, where the library replaces them, from malloc and its family come
 * from the same heap and may be freed by either.
 *
 * A pointer that is not a block (never allocated here, inside a block, already freed) is an error
 * of the program. If it is detected, one line on standard error names the function, the pointer and
 * the cause, and the process aborts. With the option on_error=continue the call does nothing,
 * except that a sized free with a wrong size frees the block.
 */
#ifndef HAKMEM_H
#define HAKMEM_H

#include <stddef.h>
#include <stdint.h>

#define HAK_VERSION_MAJOR 0
#define HAK_VERSION_MINOR 1
#define HAK_VERSION_PATCH 0
#define HAK_VERSION_STRING "0.1.0"

#ifndef HAK_API
#define HAK_API __attribute__((visibility("default")))
#endif
#define HAK_ALLOCATES(size) __attribute__((malloc, warn_unused_result, alloc_size(size)))
#define HAK_ALLOCATES_ARRAY(count, size)                                                           \
    __attribute__((malloc, warn_unused_result, alloc_size(count, size)))
#define HAK_REALLOCATES(size) __attribute__((warn_unused_result, alloc_size(size)))
#define HAK_REALLOCATES_ARRAY(count, size)                                                         \
    __attribute__((warn_unused_result, alloc_size(count, size)))

#if defined(__cplusplus) && __cplusplus >= 201103L
#define HAK_NOEXCEPT noexcept
#elif defined(__cplusplus)
#define HAK_NOEXCEPT throw()
#else
#define HAK_NOEXCEPT
#endif

#ifdef __cplusplus
/* A function that fills a struct has its name. g++ warns that it hides the constructor. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
extern "C" {
#endif

/* ---- The C standard's functions (C23 7.24.3, POSIX.1-2024) ----------------------------------- */

/* Allocates a block of at least `size` bytes, aligned to 16, with undefined contents. `size` 0
 * gives a distinct block that must be freed. Returns NULL with errno ENOMEM if memory is exhausted
 * or `size` is above PTRDIFF_MAX. */
HAK_API void *hak_malloc(size_t size) HAK_NOEXCEPT HAK_ALLOCATES(1);

/* Allocates a block for `count` objects of `size` bytes. All bytes are zero. Otherwise like
 * hak_malloc. Also returns NULL with ENOMEM if the product overflows. */
HAK_API void *hak_calloc(size_t count, size_t size) HAK_NOEXCEPT HAK_ALLOCATES_ARRAY(1, 2);

/* Resizes the block `ptr` to `size` bytes. The first min(old, new) bytes keep their contents, and
 * the block may move. If `ptr` is NULL, this is hak_malloc. `size` 0 frees the block and returns
 * NULL, as glibc does (C23 leaves it undefined). On failure, returns NULL with ENOMEM and leaves
 * the old block intact. The result is aligned to 16, regardless of the alignment with which `ptr`
 * was allocated. */
HAK_API void *hak_realloc(void *ptr, size_t size) HAK_NOEXCEPT HAK_REALLOCATES(2);

/* hak_realloc to `count` * `size` bytes. If the product overflows, returns NULL with ENOMEM and
 * leaves the block intact. */
HAK_API void *hak_reallocarray(void *ptr, size_t count, size_t size) HAK_NOEXCEPT
    HAK_REALLOCATES_ARRAY(2, 3);

/* Frees the block `ptr`. NULL does nothing. Preserves errno. */
HAK_API void hak_free(void *ptr) HAK_NOEXCEPT;

/* Like hak_free, for a block of hak_malloc, hak_calloc, hak_realloc or hak_reallocarray that was
 * last requested with exactly `size` bytes (C23 free_sized). Any other size is a mistake. A size
 * that is too large for the block is always reported. Other wrong sizes are reported with the
 * option checks. Neither harms other blocks. */
HAK_API void hak_free_sized(void *ptr, size_t size) HAK_NOEXCEPT;

/* Like hak_free, for a block of hak_aligned_alloc requested with exactly this alignment and size
 * (C23 free_aligned_sized). */
HAK_API void hak_free_aligned_sized(void *ptr, size_t alignment, size_t size) HAK_NOEXCEPT;

/* Allocates a block of at least `size` bytes, aligned to `alignment`, a power of two. Returns NULL
 * with EINVAL for any other alignment, and NULL with ENOMEM if memory is exhausted. `size` need not
 * be a multiple of `alignment`. */
HAK_API void *hak_aligned_alloc(size_t alignment, size_t size) HAK_NOEXCEPT
    __attribute__((malloc, warn_unused_result, alloc_align(1), alloc_size(2)));

/* Like hak_aligned_alloc, but stores the block in *out. Returns 0, EINVAL (not a power of two, or
 * not a multiple of sizeof(void *)) or ENOMEM. On failure *out is unchanged. errno is never
 * changed. */
HAK_API int hak_posix_memalign(void **out, size_t alignment, size_t size) HAK_NOEXCEPT;

/* The usable size of the block `ptr`, at least the requested size. 0 for NULL. */
HAK_API size_t hak_usable_size(const void *ptr) HAK_NOEXCEPT;

/* ---- Layout forms, for callers that know size and alignment when they free (Rust) --------------
 *
 * `align` is a power of two (not checked). The size and alignment given to hak_dealloc and
 * hak_realloc_layout must be those of the block's allocation or last reallocation. Anything else is
 * a mistake that harms no other block. A size that is too large is always reported, any other
 * mistake with checks=1. Blocks from these functions may also be passed to hak_free and
 * hak_usable_size, and to hak_realloc if they need not keep their alignment. A block requested with
 * an alignment of at most 8 may be aligned only to 8. */

/* Allocates a block of `size` bytes aligned to `align`. Returns NULL with ENOMEM if memory is
 * exhausted. */
HAK_API void *hak_alloc(size_t size, size_t align) HAK_NOEXCEPT
    __attribute__((malloc, warn_unused_result, alloc_size(1), alloc_align(2)));

/* Like hak_alloc, but all bytes are zero. Fresh memory from the OS is not zeroed again. */
HAK_API void *hak_alloc_zeroed(size_t size, size_t align) HAK_NOEXCEPT
    __attribute__((malloc, warn_unused_result, alloc_size(1), alloc_align(2)));

/* Resizes the block `ptr` of `old_size` bytes to `new_size`, and keeps its alignment. On failure,
 * returns NULL with ENOMEM and leaves the old block intact. */
HAK_API void *hak_realloc_layout(void *ptr, size_t old_size, size_t align,
                                 size_t new_size) HAK_NOEXCEPT HAK_REALLOCATES(4);

/* Frees the block `ptr` (not NULL) of `size` bytes and alignment `align`. */
HAK_API void hak_dealloc(void *ptr, size_t size, size_t align) HAK_NOEXCEPT;

/* ---- Control --------------------------------------------------------------------------------- */

/* The set of blocks for hak_prewarm and the option prewarm. */
enum hak_prewarm_set {
    HAK_PREWARM_OFF = 0,
    HAK_PREWARM_TINY = 1,    /* blocks up to 1 KiB */
    HAK_PREWARM_POOL = 2,    /* blocks of 8 KiB to 52 KiB */
    HAK_PREWARM_ALL = 3,     /* both */
    HAK_PREWARM_ADAPTIVE = 4 /* as many as ended threads held on average */
};

/* Fills the calling thread's cache with less than 2 MB of blocks, so that its next allocations find
 * blocks ready. It does not touch their pages. Returns the bytes of the blocks added, which is 0 if
 * there is no memory or nothing to add. */
HAK_API size_t hak_prewarm(enum hak_prewarm_set set) HAK_NOEXCEPT;

/* Immediately gives back to the OS all memory that can be given back, including free pages between
 * live blocks. Empties the caches of the calling thread and of threads that sleep in a system call.
 * Running threads lose most of their cached blocks, and empty the rest in their next call. Under a
 * seccomp filter, all other threads empty their caches in their next slow path. Returns the number
 * of bytes that this call gave back to the OS. Safe at any time, but costs page faults
 * afterwards. */
HAK_API size_t hak_trim(void) HAK_NOEXCEPT;

/* Sets the option `name` (as in the documentation, without "HAKMEM_") from text. Returns 0, ENOENT
 * (no such option), EINVAL (the value does not parse or is out of range, and the old one stays) or
 * EBUSY (the option is read only at start, so use the environment or hak_conf). */
HAK_API int hak_option_set(const char *name, const char *value) HAK_NOEXCEPT;

/* Writes the option's current value as text with a final NUL. Returns 0, ENOENT, or ERANGE if
 * `value_bytes` is too small (32 is enough for a number or a choice, 256 for a text). */
HAK_API int hak_option_get(const char *name, char *value, size_t value_bytes) HAK_NOEXCEPT;

/* One row of the table of options. The strings are static. */
struct hak_option_info {
    const char *name;       /* as in hak_option_set */
    const char *help;       /* the meaning, as in the documentation */
    const char *choices;    /* the values, such as "abort|continue", or NULL for a number */
    uint64_t default_value; /* a number, or the position of a choice, from 0 */
    uint64_t least;         /* the smallest and the largest number */
    uint64_t most;
    int is_size;  /* 1: bytes (209715200, 200M), or per cent of the cgroup's limit (80%) */
    int at_start; /* 1: read only at start, so hak_option_set returns EBUSY */
};

/* Fills the first `info_bytes` bytes of *info for the option `index` (0, 1, ...). Pass
 * sizeof(struct hak_option_info). New fields are only added at the end. Fields that the library
 * does not know are set to zero. Returns 0, or ENOENT if there is no such option. */
HAK_API int hak_option_info(unsigned index, struct hak_option_info *info,
                            size_t info_bytes) HAK_NOEXCEPT;

/* A program may define this symbol to configure hakmem at link time: "name=value,name=value". The
 * environment takes precedence. */
extern HAK_API const char *hak_conf __attribute__((weak));

/* ---- Observation ----------------------------------------------------------------------------- */

/* A snapshot. Bytes are current unless stated otherwise, and counts are since the start of the
 * process. Other threads continue while it is taken. */
struct hak_stats {
    uint64_t bytes_live;         /* in live blocks */
    uint64_t bytes_cached;       /* in free blocks in thread and transfer caches */
    uint64_t bytes_slabs;        /* in slabs: live, cached and free blocks */
    uint64_t bytes_large;        /* in live blocks above the largest class, also in bytes_live */
    uint64_t bytes_large_cached; /* in freed large blocks, cached for reuse */
    uint64_t bytes_dirty;        /* free, but not given back to the OS yet */
    uint64_t bytes_mapped;       /* address space held from the OS, metadata included */
    uint64_t bytes_mapped_peak;  /* the maximum of bytes_mapped so far */
    uint64_t bytes_metadata;     /* address space of hakmem's own structures */
    uint64_t bytes_purged;       /* given back by purge calls, since the start */
    uint64_t threads;            /* threads with a thread cache */
    uint64_t heaps;              /* heaps created so far */
    uint64_t refills;            /* batches that entered a thread cache */
    uint64_t flushes;            /* batches that left a thread cache */
    uint64_t transfer_puts;      /* batches put into a transfer cache */
    uint64_t transfer_takes;     /* refills served by a transfer cache */
    uint64_t map_calls;          /* mmap */
    uint64_t unmap_calls;        /* munmap */
    uint64_t remap_calls;        /* mremap */
    uint64_t purge_calls;        /* madvise, for purging and for huge pages */
    uint64_t lock_waits;         /* sleeps of threads that waited for a lock */
    uint64_t errors;             /* reported uses of bad pointers */
    uint64_t bytes_used;         /* that may be resident, compared with the limits */
    uint64_t bytes_huge;         /* in chunks that ask for huge pages */
    uint64_t limit_soft;         /* the options, in bytes, 0 for none */
    uint64_t limit_hard;
    uint64_t lock_busy_class; /* attempts that found a lock taken: of a class of a heap, */
    uint64_t lock_busy_arena; /* of the memory of a heap, */
    uint64_t lock_busy_meta;  /* of the memory of hakmem's own structures, */
    uint64_t lock_busy_other; /* any other */
    uint64_t bytes_guarded;   /* in live blocks of hak_guard_start, also in bytes_live */
    uint64_t heaps_private;   /* heaps of hak_heap_new that exist now */
    uint64_t bytes_private;   /* in their live blocks, also in bytes_live */
};

/* Fills the first `stats_bytes` bytes of *stats. Pass sizeof(struct hak_stats). New fields are only
 * added at the end. Fields that the library does not know are set to zero. While other threads
 * work, the values are close but not exact. Free blocks on their way from a cache to a heap, which
 * the background thread also moves, count as live. */
HAK_API void hak_stats(struct hak_stats *stats, size_t stats_bytes) HAK_NOEXCEPT;

/* One row of the size-class table, with its current use. */
struct hak_class_stats {
    uint64_t block_bytes;   /* size of a block */
    uint64_t slab_bytes;    /* size of a slab */
    uint64_t slabs;         /* slabs of this class */
    uint64_t blocks_live;   /* live blocks */
    uint64_t blocks_cached; /* in thread and transfer caches */
    uint64_t blocks_free;   /* in slabs */
    uint64_t refills;       /* as in struct hak_stats */
    uint64_t flushes;
    uint64_t transfer_puts;
    uint64_t transfer_takes;
};

/* Fills *stats for the class `index` (1, 2, ...). Returns 0, or EINVAL if there is no such
 * class. */
HAK_API int hak_class_stats(unsigned index, struct hak_class_stats *stats,
                            size_t stats_bytes) HAK_NOEXCEPT;

/* Fills the array `stats` for the classes 1, 2, ..., at most `count` of them, from one snapshot. An
 * element has `stats_bytes` bytes, so pass sizeof(struct hak_class_stats), and its fields are
 * filled as by hak_class_stats. Returns the number of all classes, even if the array is shorter.
 * With `count` 0, `stats` may be NULL. */
HAK_API size_t hak_class_stats_all(struct hak_class_stats *stats, size_t stats_bytes,
                                   size_t count) HAK_NOEXCEPT;

enum hak_report_format {
    HAK_REPORT_TEXT = 0,              /* readable text, with the options and the classes in use */
    HAK_REPORT_JSON = 1,              /* one object, with the options and all classes */
    HAK_REPORT_PROMETHEUS = 2,        /* the text format of Prometheus, version 0.0.4 */
    HAK_REPORT_PROMETHEUS_CLASSES = 3 /* the same, with series for each class in use */
};

/* Writes all statistics in pieces through `write`, or to standard error if `write` is NULL. They
 * are gathered first, and no lock is held while `write` runs, so it may allocate. */
HAK_API void hak_report(enum hak_report_format format,
                        void (*write)(void *arg, const char *text, size_t bytes),
                        void *arg) HAK_NOEXCEPT;

/* ---- Counters of a thread -------------------------------------------------------------------- */

/* The allocations and frees of one thread while it counted. The sums only grow. Bytes are usable
 * sizes (hak_usable_size), in both sums, so a scope that frees all of its blocks adds the same to
 * both. A block counts in the thread that allocates it, and again in the thread that frees it. A
 * block that is resized in place counts only with the difference of its sizes. A block that moves
 * counts as a free and an allocation. Blocks of private heaps count in the same way, but those that
 * hak_heap_destroy frees at once do not count as freed. */
struct hak_thread_counters {
    uint64_t bytes_allocated;
    uint64_t bytes_freed;
    uint64_t blocks_allocated;
    uint64_t blocks_freed;
};

/* Starts counting in the calling thread. Each allocation and free of the thread then takes a slow
 * path, which costs some nanoseconds. Other threads do not count, and pay nothing. Calls may be
 * nested. In a forked child, the forking thread continues with its sums. */
HAK_API void hak_thread_count_start(void) HAK_NOEXCEPT;

/* Ends the last start of the calling thread. The thread counts until each start has ended. Without
 * a start, does nothing. The sums stay. */
HAK_API void hak_thread_count_stop(void) HAK_NOEXCEPT;

/* Fills the first `counters_bytes` bytes of *counters with the sums of the calling thread since its
 * start. Pass sizeof(struct hak_thread_counters). New fields are only added at the end. Fields that
 * the library does not know are set to zero. Returns 1 while the thread counts, and 0 otherwise. */
HAK_API int hak_thread_counters(struct hak_thread_counters *counters,
                                size_t counters_bytes) HAK_NOEXCEPT;

/* ---- Limits ---------------------------------------------------------------------------------- */

enum hak_limit_kind {
    HAK_LIMIT_NONE = 0,   /* there is no limit */
    HAK_LIMIT_OPTION = 1, /* the lower one of the options limit_soft and limit_hard */
    HAK_LIMIT_CGROUP = 2  /* of the fullest control group, of the process's one and those above */
};

/* The limit that is closest to being reached. Free memory that hakmem would give back does not
 * count as used. */
struct hak_limit {
    uint64_t used;  /* bytes: of hakmem's memory, or of all memory of the control group */
    uint64_t limit; /* bytes, 0 if there is no limit */
    unsigned percent;
    unsigned level; /* the highest level that was reached, 80, 90 or 100, or 0 */
    enum hak_limit_kind kind;
};

/* Sets a function that is called when usage reaches 80, 90 or 100 % of a limit, so that the program
 * can shed load before allocations fail or the kernel ends it. It is called once for each time that
 * usage rises to a level, and again for that level after usage has fallen 5 % below it. A rise over
 * several levels is one call. An allocation that limit_hard would refuse counts as 100 %, and is
 * tried again after the call. One function is set at a time. NULL removes it.
 *
 * The call comes from inside an allocation, in the thread that allocates. hakmem holds no lock, and
 * the function may allocate and free. The program may hold any lock at that point, so the function
 * should only try locks, and for instance set a flag or write to an eventfd. It must not leave by
 * longjmp or an exception. It is not called again before it returns, in any thread. A call that
 * another thread has begun may still run after hak_on_limit returns, so a library that sets a
 * function must stay loaded.
 *
 * The use of the control group is read at most ten times a second, by threads that allocate, and
 * not under a seccomp filter. */
HAK_API void hak_on_limit(void (*callback)(void *arg, const struct hak_limit *limit),
                          void *arg) HAK_NOEXCEPT;

/* Fills the first `limit_bytes` bytes of *limit with the current state, also if no function is set.
 * Pass sizeof(struct hak_limit). New fields are only added at the end. Fields that the library does
 * not know are set to zero. It reads some files of the system. */
HAK_API void hak_limit(struct hak_limit *limit, size_t limit_bytes) HAK_NOEXCEPT;

/* ---- Heap profiles --------------------------------------------------------------------------- */

/* The settings of a profile. A field that is 0 has its default. */
struct hak_profile_options {
    uint64_t rate;      /* average bytes between two samples; 1: every block; 0: the option
                           profile_rate, by default 524288 */
    int frame_pointers; /* 1: follow frame pointers, which all code must have; 0: unwind tables */
};

/* Starts a heap profile. From now on, all threads record the stacks of a random sample of their
 * allocations, about one per `rate` allocated bytes. The samples of the previous profile are
 * discarded. Profiling needs no restart of the program and no option at its start, and costs
 * nothing while no profile is running.
 *
 * Reads the first `options_bytes` bytes of *options. Pass sizeof(struct hak_profile_options). NULL
 * gives the defaults. Returns 0, EALREADY if a profile is running, or ENOMEM. The first call may
 * allocate, and may load the library of the unwinder. A forked child continues with a copy of the
 * profile. */
HAK_API int hak_profile_start(const struct hak_profile_options *options,
                              size_t options_bytes) HAK_NOEXCEPT;

/* Stops the profile. Does nothing if none is running. The samples are kept until the next start.
 * Frees of sampled blocks are still counted, so the blocks in use are always current. */
HAK_API void hak_profile_stop(void) HAK_NOEXCEPT;

/* Returns 1 while a profile is running, and 0 otherwise. */
HAK_API int hak_profile_is_running(void) HAK_NOEXCEPT;

/* The numbers in all formats are estimates for all blocks that were allocated since the start of
 * the profile. Bytes are requested bytes. */
enum hak_profile_format {
    HAK_PROFILE_PPROF = 0,     /* protobuf of pprof, not compressed: alloc_objects, alloc_space,
                                  inuse_objects and inuse_space of each stack */
    HAK_PROFILE_COLLAPSED = 1, /* lines "outer;...;inner bytes-in-use", for flame graphs */
    HAK_PROFILE_TEXT = 2,      /* the 20 stacks with the most bytes in use */
    HAK_PROFILE_LEAKS = 3 /* all stacks with blocks in use, and the build IDs of their modules */
};

/* Writes the running profile, or else the last one, in pieces through `write`, or to standard error
 * if `write` is NULL. The profile is copied first, and no lock is held while `write` runs. Returns
 * 0, EINVAL (no such format), ENODATA (no profile was ever started) or ENOMEM. */
HAK_API int hak_profile_write(enum hak_profile_format format,
                              void (*write)(void *arg, const char *text, size_t bytes),
                              void *arg) HAK_NOEXCEPT;

/* ---- Guard pages ----------------------------------------------------------------------------- */

/* Starts the guard. From now on, about one allocation in `rate` of each thread, chosen at random,
 * gets pages of its own between inaccessible pages. When the block is freed, its pages become
 * inaccessible, too. An access outside the block, or to it after its free, raises SIGSEGV. The
 * report on standard error has the kind of the mistake, the address, the size of the block, and the
 * stacks and threads of the access, the allocation and the free. Then the fault has its usual
 * effect: the SIGSEGV handler that was installed before the first start is called, or the process
 * ends. A second free of such a block, a free of a pointer into it, and a sized free with another
 * size are always detected.
 *
 * At most `slots` blocks are guarded at once. 0 means 128. A slot takes 64 KiB of address space and
 * at most 16 KiB of memory, and larger blocks are not guarded. The slot that was freed longest ago
 * is reused first. `rate` is from 1 (every allocation, while there are slots) to 2^32, and `slots`
 * is at most 65536.
 *
 * Returns 0, EALREADY if the guard is running, EINVAL if a number is out of range, or ENOMEM. The
 * first call may allocate, and installs the handler. The guard may run together with a heap
 * profile. The option guard_rate starts it with the program. */
HAK_API int hak_guard_start(uint64_t rate, unsigned slots) HAK_NOEXCEPT;

/* Stops guarding new blocks. Guarded blocks stay guarded until they are freed. Does nothing if the
 * guard is not running. */
HAK_API void hak_guard_stop(void) HAK_NOEXCEPT;

/* Returns 1 while the guard is running, and 0 otherwise. */
HAK_API int hak_guard_is_running(void) HAK_NOEXCEPT;

/* ---- Private heaps --------------------------------------------------------------------------- */

/* A heap that the program creates, allocates from, and drops as a whole. Its blocks are blocks like
 * all others: any thread may free them singly, and hak_realloc, hak_usable_size and the sized frees
 * accept them. They are rounded up to sizes with four steps between powers of two (above 128
 * bytes), and are never sampled or guarded.
 *
 * Any number of threads may allocate from a heap. No thread may use a heap while it is destroyed or
 * merged or afterwards, except as stated. Any other pointer to readable memory that is passed as a
 * heap is reported as a bad pointer. A heap takes its memory, in units of 64 KiB, from that of all
 * heaps, so there is no chunk size to choose. */
struct hak_heap;

enum { HAK_HEAP_NAME_BYTES = 32 };

/* What happens to a slab of 64 KiB or more when all of its blocks were freed singly. */
enum hak_heap_purge {
    HAK_HEAP_PURGE_DELAYED = 0, /* it leaves the heap after the purge delay, or at once if the empty
                                   slabs of the heap are more than 4 MiB */
    HAK_HEAP_PURGE_NEVER = 1    /* it stays in the heap until its end */
};

/* Zero fields have the default. */
struct hak_heap_options {
    const char *name; /* for statistics; copied, at most HAK_HEAP_NAME_BYTES - 1 bytes of it */
    uint64_t limit;   /* most bytes in live blocks, as in hak_usable_size; 0: no limit */
    /* Called if an allocation of `bytes` would exceed the limit, with no lock held. It may free
     * blocks. If it returns 1, the allocation is tried once more. If it returns 0 or is NULL, or if
     * the thread is in this callback already, the allocation fails with ENOMEM. */
    int (*on_limit)(void *arg, struct hak_heap *heap, size_t bytes);
    void *on_limit_arg;
    enum hak_heap_purge purge;
};

/* Creates a heap. Reads the first `options_bytes` bytes of *options. Pass sizeof(struct
 * hak_heap_options). NULL gives the defaults. Returns NULL with ENOMEM if memory is exhausted. A
 * heap has 4 KiB of metadata, and no other memory before its first block. */
HAK_API struct hak_heap *hak_heap_new(const struct hak_heap_options *options,
                                      size_t options_bytes) HAK_NOEXCEPT
    __attribute__((warn_unused_result));

/* Frees all blocks of the heap at once, and ends it. The cost depends on the number of its slabs
 * (64 KiB or more) and of its blocks above 256 KiB, not on the number of other blocks. If it is the
 * default heap of the calling thread, the thread then has none. Other threads of which it is the
 * default allocate from the heaps of malloc from their next allocation on. NULL does nothing. A
 * second call is reported as a bad pointer, unless another heap was created since. A later use of
 * its blocks is a use of freed memory. Preserves errno. */
HAK_API void hak_heap_destroy(struct hak_heap *heap) HAK_NOEXCEPT;

/* Gives all blocks of the heap to the heaps of malloc, and ends it. The blocks stay, and other
 * threads may free and resize them meanwhile, but must not allocate from the heap. Otherwise like
 * hak_heap_destroy. */
HAK_API void hak_heap_merge(struct hak_heap *heap) HAK_NOEXCEPT;

/* Like hak_malloc, hak_calloc and hak_aligned_alloc, but allocate from the heap. Return NULL with
 * ENOMEM also at its limit, and with EINVAL if it is no heap or has ended, which is reported. With
 * `heap` NULL they are the same as these. */
HAK_API void *hak_heap_malloc(struct hak_heap *heap, size_t size) HAK_NOEXCEPT HAK_ALLOCATES(2);
HAK_API void *hak_heap_calloc(struct hak_heap *heap, size_t count, size_t size) HAK_NOEXCEPT
    HAK_ALLOCATES_ARRAY(2, 3);
HAK_API void *hak_heap_aligned_alloc(struct hak_heap *heap, size_t alignment,
                                     size_t size) HAK_NOEXCEPT
    __attribute__((malloc, warn_unused_result, alloc_align(2), alloc_size(3)));

/* Like hak_realloc, but the result is in `heap`. A block of another heap moves. hak_realloc itself
 * leaves each block in its heap. */
HAK_API void *hak_heap_realloc(struct hak_heap *heap, void *ptr, size_t size) HAK_NOEXCEPT
    HAK_REALLOCATES(3);

/* Makes the heap the default of the calling thread: from now on, malloc, hak_malloc, new and all
 * other functions that allocate a block take it from this heap. NULL ends that. Blocks that the
 * thread resizes stay in their heaps. Returns the former default heap, or NULL if there was none or
 * it has ended. While a thread has a default heap, all of its calls take a slower path. */
HAK_API struct hak_heap *hak_heap_set_default(struct hak_heap *heap) HAK_NOEXCEPT;

/* The private heap of the block `ptr`, or NULL if it is in none. NULL for NULL. */
HAK_API struct hak_heap *hak_heap_of(const void *ptr) HAK_NOEXCEPT;

/* A snapshot of a heap. */
struct hak_heap_stats {
    uint64_t id;          /* unique in the process, from 1 */
    uint64_t blocks_live; /* live blocks */
    uint64_t bytes_live;  /* in live blocks, as in hak_usable_size */
    uint64_t bytes_large; /* in live blocks above 256 KiB, also in bytes_live */
    uint64_t bytes_slabs; /* in slabs: live and free blocks */
    uint64_t limit;       /* the option, 0 for none */
    uint64_t refused;     /* calls that failed at the limit, since the start of the heap */
    char name[HAK_HEAP_NAME_BYTES];
};

/* Fills the first `stats_bytes` bytes of *stats. Pass sizeof(struct hak_heap_stats). New fields are
 * only added at the end. Fields that the library does not know are set to zero, and so are all of
 * them if `heap` is NULL. Takes time for each slab of the heap. */
HAK_API void hak_heap_stats(struct hak_heap *heap, struct hak_heap_stats *stats,
                            size_t stats_bytes) HAK_NOEXCEPT;

/* Calls `visit` for each live block with its usable size, until it returns 0. No lock is held
 * meanwhile: `visit` may allocate from the heap, and free the block that it was called with, but no
 * other block of the heap. Other threads may allocate from the heap but must not free its blocks.
 * Blocks that are allocated during the call may or may not be visited. Returns 0, ECANCELED if
 * `visit` returned 0, ENOMEM (the list of slabs needs memory), or EINVAL if the heap has ended,
 * which is reported. */
HAK_API int hak_heap_visit(struct hak_heap *heap,
                           int (*visit)(void *arg, void *block, size_t bytes),
                           void *arg) HAK_NOEXCEPT;

/* Checks the invariants of every structure, one lock at a time. Returns the number of faults, 0 if
 * there are none. Each fault is a line on standard error. */
HAK_API size_t hak_validate(void) HAK_NOEXCEPT;

/* The version of the running library, like HAK_VERSION_STRING. */
HAK_API const char *hak_version(void) HAK_NOEXCEPT;

#ifdef __cplusplus
}
#pragma GCC diagnostic pop
#endif

#endif
