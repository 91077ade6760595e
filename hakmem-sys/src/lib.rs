// The declarations of hakmem.h, in the same order.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#![doc = include_str!("../README.md")]
#![no_std]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]
#![allow(
    non_camel_case_types,
    reason = "the names are those of the C interface"
)]

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::marker::{PhantomData, PhantomPinned};

#[cfg(all(feature = "override", not(hakmem_system)))]
mod overrides;

/// Major version of the header that these declarations match.
pub const HAK_VERSION_MAJOR: c_int = 0;
/// Minor version of the header.
pub const HAK_VERSION_MINOR: c_int = 1;
/// Patch version of the header.
pub const HAK_VERSION_PATCH: c_int = 0;
/// Version of the header as text.
pub const HAK_VERSION_STRING: &CStr = c"0.1.0";

// The functions of the C standard and POSIX.
unsafe extern "C" {
    /// Allocates a block of at least `size` bytes, aligned to 16, with undefined contents. Size 0
    /// gives a distinct block that must be freed.
    ///
    /// # Errors
    ///
    /// Returns null and sets errno to `ENOMEM` if memory is exhausted or `size` is above
    /// `isize::MAX`.
    pub safe fn hak_malloc(size: usize) -> *mut c_void;

    /// Allocates a zeroed block for `count` objects of `size` bytes. Otherwise like [`hak_malloc`].
    ///
    /// # Errors
    ///
    /// As for [`hak_malloc`], and also if the product overflows.
    pub safe fn hak_calloc(count: usize, size: usize) -> *mut c_void;

    /// Resizes the block `ptr` to `size` bytes, and may move it. The first bytes, up to the smaller
    /// of both sizes, keep their contents. A null `ptr` allocates a block. Size 0 frees the block
    /// and returns null. The result is aligned to 16, even if the old block had a larger alignment.
    ///
    /// # Errors
    ///
    /// Returns null, sets errno to `ENOMEM` and leaves the old block intact if memory is exhausted.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a block. It must not be used any more if the result is not null or
    /// `size` was 0.
    pub fn hak_realloc(ptr: *mut c_void, size: usize) -> *mut c_void;

    /// Like [`hak_realloc`] to `count * size` bytes.
    ///
    /// # Errors
    ///
    /// As for [`hak_realloc`], and also if the product overflows.
    ///
    /// # Safety
    ///
    /// As for [`hak_realloc`].
    pub fn hak_reallocarray(ptr: *mut c_void, count: usize, size: usize) -> *mut c_void;

    /// Frees the block `ptr`. Does nothing for null. Preserves errno.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a block, and must not be used any more.
    pub fn hak_free(ptr: *mut c_void);

    /// Like [`hak_free`], for a block of known size.
    ///
    /// # Safety
    ///
    /// `ptr` must be null, or a block from [`hak_malloc`], [`hak_calloc`], [`hak_realloc`] or
    /// [`hak_reallocarray`] with exactly `size` bytes as its last requested size. It must not be
    /// used any more.
    pub fn hak_free_sized(ptr: *mut c_void, size: usize);

    /// Like [`hak_free`], for a block of known alignment and size.
    ///
    /// # Safety
    ///
    /// `ptr` must be null, or a block from [`hak_aligned_alloc`] that was requested with exactly
    /// this alignment and size. It must not be used any more.
    pub fn hak_free_aligned_sized(ptr: *mut c_void, alignment: usize, size: usize);

    /// Allocates a block of at least `size` bytes, aligned to `alignment`. `size` need not be a
    /// multiple of the alignment.
    ///
    /// # Errors
    ///
    /// Returns null and sets errno to `EINVAL` if `alignment` is not a power of two, or to `ENOMEM`
    /// if memory is exhausted.
    pub safe fn hak_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;

    /// Like [`hak_aligned_alloc`], but stores the block in `*out`. Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `EINVAL` if the alignment is not a power of two or not a multiple of the size of a
    /// pointer, or `ENOMEM` if memory is exhausted. `*out` is then unchanged. errno never changes.
    ///
    /// # Safety
    ///
    /// `out` must be valid for writes.
    pub fn hak_posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int;

    /// Returns the number of usable bytes in the block `ptr`, which is at least the requested size,
    /// or 0 for null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a block.
    pub fn hak_usable_size(ptr: *const c_void) -> usize;
}

// The layout functions, for callers that know the size and alignment of a block when they free it.
unsafe extern "C" {
    /// Allocates a block of `size` bytes, aligned to `align`.
    ///
    /// # Errors
    ///
    /// Returns null and sets errno to `ENOMEM` if memory is exhausted.
    ///
    /// # Safety
    ///
    /// `align` must be a power of two.
    pub fn hak_alloc(size: usize, align: usize) -> *mut c_void;

    /// Like [`hak_alloc`], but the block is zeroed. Fresh memory from the OS is not zeroed again.
    ///
    /// # Errors
    ///
    /// As for [`hak_alloc`].
    ///
    /// # Safety
    ///
    /// `align` must be a power of two.
    pub fn hak_alloc_zeroed(size: usize, align: usize) -> *mut c_void;

    /// Resizes the block `ptr` from `old_size` to `new_size` bytes, and keeps its alignment.
    ///
    /// # Errors
    ///
    /// Returns null, sets errno to `ENOMEM` and leaves the old block intact if memory is exhausted.
    ///
    /// # Safety
    ///
    /// `ptr` must be a block that was allocated (or last reallocated) with the size `old_size` and
    /// the alignment `align`. It must not be used any more if the result is not null.
    pub fn hak_realloc_layout(
        ptr: *mut c_void,
        old_size: usize,
        align: usize,
        new_size: usize,
    ) -> *mut c_void;

    /// Frees the block `ptr` of `size` bytes and alignment `align`.
    ///
    /// # Safety
    ///
    /// `ptr` must be a block that was allocated (or last reallocated) with this size and alignment.
    /// It must not be used any more.
    pub fn hak_dealloc(ptr: *mut c_void, size: usize, align: usize);
}

/// The blocks that [`hak_prewarm`] and the option `prewarm` fill caches with: one of the
/// `HAK_PREWARM_` constants.
pub type hak_prewarm_set = c_uint;
/// None.
pub const HAK_PREWARM_OFF: hak_prewarm_set = 0;
/// Blocks up to 1 KiB.
pub const HAK_PREWARM_TINY: hak_prewarm_set = 1;
/// Blocks of 8 KiB to 52 KiB.
pub const HAK_PREWARM_POOL: hak_prewarm_set = 2;
/// Both.
pub const HAK_PREWARM_ALL: hak_prewarm_set = 3;
/// As many blocks as ended threads held on average.
pub const HAK_PREWARM_ADAPTIVE: hak_prewarm_set = 4;

// Control.
unsafe extern "C" {
    /// Fills the calling thread's cache, so that its next allocations do not have to refill it.
    /// Returns the total size of the added blocks in bytes.
    pub safe fn hak_prewarm(set: hak_prewarm_set) -> usize;

    /// Returns free memory to the OS now. The result is the number of bytes returned by this call.
    pub safe fn hak_trim() -> usize;

    /// Sets the option `name` to the value given as text. Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if there is no such option, `EINVAL` if the value does not parse or is out
    /// of range, or `EBUSY` if the option is read only when the program starts. The old value then
    /// stays.
    ///
    /// # Safety
    ///
    /// `name` and `value` must be valid strings that end with a NUL.
    pub fn hak_option_set(name: *const c_char, value: *const c_char) -> c_int;

    /// Writes the option's current value to `value`, as text with a final NUL. Returns 0 on
    /// success.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if there is no such option, or `ERANGE` if `value_bytes` is too small. 32
    /// bytes are enough for a number or a choice, and 256 for a text.
    ///
    /// # Safety
    ///
    /// `name` must be a valid string that ends with a NUL. `value` must be valid for writes of
    /// `value_bytes` bytes.
    pub fn hak_option_get(name: *const c_char, value: *mut c_char, value_bytes: usize) -> c_int;
}

/// The result of [`hak_option_info()`]: one row of the table of options. The strings are static and
/// end with a NUL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hak_option_info {
    /// The name, as in [`hak_option_set`].
    pub name: *const c_char,
    /// The meaning, as in the documentation.
    pub help: *const c_char,
    /// The values, such as `"abort|continue"`, or null for a number.
    pub choices: *const c_char,
    /// A number, or the position of a choice, from 0.
    pub default_value: u64,
    /// The smallest number.
    pub least: u64,
    /// The largest number.
    pub most: u64,
    /// 1 for a number of bytes, which may have a unit (`200M`) or be a percentage of the cgroup's
    /// limit (`80%`).
    pub is_size: c_int,
    /// 1 if the option is read only when the program starts. [`hak_option_set`] then returns
    /// `EBUSY`.
    pub at_start: c_int,
}

// The list of options.
unsafe extern "C" {
    /// Fills the first `info_bytes` bytes of `*info` for the option `index` (0, 1, ...). Pass the
    /// size of [`struct@hak_option_info`]. Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `ENOENT` if there is no such option.
    ///
    /// # Safety
    ///
    /// `info` must be valid for writes of `info_bytes` bytes.
    pub fn hak_option_info(index: c_uint, info: *mut hak_option_info, info_bytes: usize) -> c_int;
}

/// The result of [`hak_stats()`]. Bytes are current values unless stated otherwise. Counts start
/// with the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_stats {
    /// Bytes in live blocks.
    pub bytes_live: u64,
    /// Bytes in free blocks of thread caches and transfer caches.
    pub bytes_cached: u64,
    /// Bytes in slabs, including free blocks.
    pub bytes_slabs: u64,
    /// Bytes in live blocks above the largest size class. Part of `bytes_live`.
    pub bytes_large: u64,
    /// Bytes in freed large blocks that are cached for reuse.
    pub bytes_large_cached: u64,
    /// Free bytes that have not been returned to the OS yet.
    pub bytes_dirty: u64,
    /// Mapped address space in bytes, including metadata.
    pub bytes_mapped: u64,
    /// Maximum of `bytes_mapped` so far.
    pub bytes_mapped_peak: u64,
    /// Mapped address space of the allocator's metadata, in bytes.
    pub bytes_metadata: u64,
    /// Bytes returned by purge calls since the start of the process.
    pub bytes_purged: u64,
    /// Threads that have a thread cache.
    pub threads: u64,
    /// Heaps that exist.
    pub heaps: u64,
    /// Refills of thread caches, from transfer caches or from slabs.
    pub refills: u64,
    /// Batches flushed from thread caches, to transfer caches or to owner heaps.
    pub flushes: u64,
    /// Batches flushed to transfer caches.
    pub transfer_puts: u64,
    /// Transfer-cache hits: refills from transfer caches.
    pub transfer_takes: u64,
    /// Calls of mmap.
    pub map_calls: u64,
    /// Calls of munmap.
    pub unmap_calls: u64,
    /// Calls of mremap.
    pub remap_calls: u64,
    /// Calls of madvise, for purging and for huge pages.
    pub purge_calls: u64,
    /// Times that a thread slept while it waited for a lock.
    pub lock_waits: u64,
    /// Reports of bad pointers.
    pub errors: u64,
    /// Bytes that may be resident. This value is compared with the limits.
    pub bytes_used: u64,
    /// Bytes of chunk memory for which huge pages are requested.
    pub bytes_huge: u64,
    /// The option `limit_soft`, in bytes; 0 means none.
    pub limit_soft: u64,
    /// The option `limit_hard`, in bytes; 0 means none.
    pub limit_hard: u64,
    /// Contended acquisitions of the lock of a heap's size class.
    pub lock_busy_class: u64,
    /// Contended acquisitions of the lock of a heap's arena.
    pub lock_busy_arena: u64,
    /// Contended acquisitions of the lock of the allocator's metadata.
    pub lock_busy_meta: u64,
    /// Contended acquisitions of all other locks.
    pub lock_busy_other: u64,
    /// In live blocks of [`hak_guard_start`], also in `bytes_live`.
    pub bytes_guarded: u64,
    /// Heaps of `hak_heap_new` that exist now.
    pub heaps_private: u64,
    /// In live blocks of these heaps, also in `bytes_live`.
    pub bytes_private: u64,
}

/// The result of [`hak_class_stats()`]: one row of the size-class table and its current use.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_class_stats {
    /// Size of a block.
    pub block_bytes: u64,
    /// Size of a slab.
    pub slab_bytes: u64,
    /// Slabs of this class.
    pub slabs: u64,
    /// Live blocks.
    pub blocks_live: u64,
    /// Free blocks in thread caches and transfer caches.
    pub blocks_cached: u64,
    /// Free blocks in slabs.
    pub blocks_free: u64,
    /// As in [`struct@hak_stats`].
    pub refills: u64,
    /// As in [`struct@hak_stats`].
    pub flushes: u64,
    /// As in [`struct@hak_stats`].
    pub transfer_puts: u64,
    /// As in [`struct@hak_stats`].
    pub transfer_takes: u64,
}

/// The format of [`hak_report`]: one of the `HAK_REPORT_` constants.
pub type hak_report_format = c_uint;
/// Human-readable text.
pub const HAK_REPORT_TEXT: hak_report_format = 0;
/// One JSON object.
pub const HAK_REPORT_JSON: hak_report_format = 1;
/// The text format of Prometheus, version 0.0.4.
pub const HAK_REPORT_PROMETHEUS: hak_report_format = 2;
/// The text format of Prometheus, with series for each size class in use.
pub const HAK_REPORT_PROMETHEUS_CLASSES: hak_report_format = 3;

// Observation.
unsafe extern "C" {
    /// Fills the first `stats_bytes` bytes of `*stats`. Pass the size of [`struct@hak_stats`].
    ///
    /// # Safety
    ///
    /// `stats` must be valid for writes of `stats_bytes` bytes.
    pub fn hak_stats(stats: *mut hak_stats, stats_bytes: usize);

    /// Fills `*stats` for the class `index` (1, 2, ...). Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `EINVAL` if there is no such class.
    ///
    /// # Safety
    ///
    /// `stats` must be valid for writes of `stats_bytes` bytes.
    pub fn hak_class_stats(index: c_uint, stats: *mut hak_class_stats, stats_bytes: usize)
    -> c_int;

    /// Fills the array `stats` for the classes 1, 2, ..., at most `count` of them, from one
    /// snapshot. An element has `stats_bytes` bytes: pass the size of [`struct@hak_class_stats`].
    /// Returns the number of all classes, also when the array is shorter.
    ///
    /// # Safety
    ///
    /// `stats` must be valid for writes of `count * stats_bytes` bytes. It may be null if `count`
    /// is 0.
    pub fn hak_class_stats_all(
        stats: *mut hak_class_stats,
        stats_bytes: usize,
        count: usize,
    ) -> usize;

    /// Writes all statistics through `write`, in pieces. `None` writes to standard error. The
    /// statistics are collected first, and no lock is held while `write` runs.
    ///
    /// # Safety
    ///
    /// Calling `write` with `arg` must be sound, and `write` must not unwind.
    pub fn hak_report(
        format: hak_report_format,
        write: Option<unsafe extern "C" fn(arg: *mut c_void, text: *const c_char, bytes: usize)>,
        arg: *mut c_void,
    );

}

/// The result of [`hak_thread_counters()`]: the allocations and frees of one thread while it
/// counted. The sums only grow. Bytes are usable sizes, in both sums. Blocks that
/// `hak_heap_destroy` frees at once do not count as freed.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_thread_counters {
    /// Bytes of allocated blocks. A block that grows in place adds the difference.
    pub bytes_allocated: u64,
    /// Bytes of freed blocks. A block that shrinks in place adds the difference.
    pub bytes_freed: u64,
    /// Allocations. A reallocation that moves the block is one.
    pub blocks_allocated: u64,
    /// Frees. A reallocation that moves the block is one.
    pub blocks_freed: u64,
}

// Counters of a thread.
unsafe extern "C" {
    /// Starts counting in the calling thread. Each of its calls then takes a slow path. Other
    /// threads do not count, and pay nothing. Calls may be nested.
    pub safe fn hak_thread_count_start();

    /// Ends the last start of the calling thread. Does nothing without a start. The sums stay.
    pub safe fn hak_thread_count_stop();

    /// Fills the first `counters_bytes` bytes of `*counters` with the sums of the calling thread
    /// since its start. Pass the size of [`struct@hak_thread_counters`]. Returns 1 while the thread
    /// counts, and 0 otherwise.
    ///
    /// # Safety
    ///
    /// `counters` must be valid for writes of `counters_bytes` bytes.
    pub fn hak_thread_counters(counters: *mut hak_thread_counters, counters_bytes: usize) -> c_int;
}

/// The kind of a limit: one of the `HAK_LIMIT_` constants.
pub type hak_limit_kind = c_uint;
/// There is no limit.
pub const HAK_LIMIT_NONE: hak_limit_kind = 0;
/// The lower one of the options `limit_soft` and `limit_hard`.
pub const HAK_LIMIT_OPTION: hak_limit_kind = 1;
/// The limit of the fullest control group, of the process's one and those above it.
pub const HAK_LIMIT_CGROUP: hak_limit_kind = 2;

/// The result of [`hak_limit()`]: the limit that is closest to being reached. Free memory that
/// hakmem would give back does not count as used.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_limit {
    /// Used bytes: of hakmem's memory, or of all memory of the control group.
    pub used: u64,
    /// The limit in bytes, or 0 if there is none.
    pub limit: u64,
    /// Used per cent of the limit.
    pub percent: c_uint,
    /// The highest level that was reached: 80, 90 or 100, or 0.
    pub level: c_uint,
    /// The kind of the limit.
    pub kind: hak_limit_kind,
}

// Limits.
unsafe extern "C" {
    /// Sets the function that is called when usage reaches 80, 90 or 100 % of a limit, once for
    /// each time that it rises to a level. `None` removes it. It is called from inside an
    /// allocation, by one thread at a time, and may allocate and free.
    ///
    /// # Safety
    ///
    /// Calling `callback` with `arg` must be sound in any thread and at any time from now on. It
    /// must not unwind.
    pub fn hak_on_limit(
        callback: Option<unsafe extern "C" fn(arg: *mut c_void, limit: *const hak_limit)>,
        arg: *mut c_void,
    );

    /// Fills the first `limit_bytes` bytes of `*limit` with the current state. Pass the size of
    /// [`struct@hak_limit`].
    ///
    /// # Safety
    ///
    /// `limit` must be valid for writes of `limit_bytes` bytes.
    pub fn hak_limit(limit: *mut hak_limit, limit_bytes: usize);
}

/// The settings of a profile, for [`hak_profile_start`]. A field that is 0 has its default.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_profile_options {
    /// Average bytes between two samples. 1 samples every block. 0 means the value of the option
    /// `profile_rate`, by default 524288.
    pub rate: u64,
    /// 1 follows frame pointers, which all code must have. 0 uses the unwind tables.
    pub frame_pointers: c_int,
}

/// The format of [`hak_profile_write`]: one of the `HAK_PROFILE_` constants.
pub type hak_profile_format = c_uint;
/// The protobuf message of pprof, not compressed.
pub const HAK_PROFILE_PPROF: hak_profile_format = 0;
/// A line `outer;...;inner bytes-in-use` for each stack, for flame graphs.
pub const HAK_PROFILE_COLLAPSED: hak_profile_format = 1;
/// The 20 stacks with the most bytes in use.
pub const HAK_PROFILE_TEXT: hak_profile_format = 2;
/// All stacks with blocks in use, and the build IDs of their modules.
pub const HAK_PROFILE_LEAKS: hak_profile_format = 3;

// Heap profiles.
unsafe extern "C" {
    /// Starts a heap profile. All threads record the stacks of a random sample of their
    /// allocations. The samples of the previous profile are discarded. Returns 0 on success. Reads
    /// the first `options_bytes` bytes of `*options`. Null gives the defaults.
    ///
    /// # Errors
    ///
    /// Returns `EALREADY` if a profile is running, and `ENOMEM` if memory is exhausted.
    ///
    /// # Safety
    ///
    /// `options` must be null or valid for reads of `options_bytes` bytes.
    pub fn hak_profile_start(options: *const hak_profile_options, options_bytes: usize) -> c_int;

    /// Stops the profile. Its samples are kept until the next start.
    pub safe fn hak_profile_stop();

    /// Returns 1 while a profile is running, and 0 otherwise.
    pub safe fn hak_profile_is_running() -> c_int;

    /// Writes the running profile, or else the last one, in pieces through `write`. `None` writes
    /// to standard error. No lock is held while `write` runs. Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `EINVAL` if there is no such format, `ENODATA` if no profile was ever started, and
    /// `ENOMEM` if memory is exhausted.
    ///
    /// # Safety
    ///
    /// Calling `write` with `arg` must be sound, and `write` must not unwind.
    pub fn hak_profile_write(
        format: hak_profile_format,
        write: Option<unsafe extern "C" fn(arg: *mut c_void, text: *const c_char, bytes: usize)>,
        arg: *mut c_void,
    ) -> c_int;
}

// Guard pages.
unsafe extern "C" {
    /// Starts the guard. About one allocation in `rate` of each thread, chosen at random, gets
    /// pages of its own between inaccessible pages, which also become inaccessible when the block
    /// is freed. An access outside the block, or to it after its free, raises `SIGSEGV`. A report
    /// on standard error has the kind of the mistake and the stacks of the access, the allocation
    /// and the free. Then the handler that was installed before the first start is called, or the
    /// process ends.
    ///
    /// At most `slots` blocks are guarded at once. 0 means 128. Blocks above 16 KiB are not
    /// guarded. `rate` is from 1 to 2^32, and `slots` is at most 65536. Returns 0 on success.
    ///
    /// # Errors
    ///
    /// Returns `EALREADY` if the guard is running, `EINVAL` if a number is out of range, and
    /// `ENOMEM` if memory is exhausted.
    pub safe fn hak_guard_start(rate: u64, slots: c_uint) -> c_int;

    /// Stops guarding new blocks. Guarded blocks stay guarded until they are freed.
    pub safe fn hak_guard_stop();

    /// Returns 1 while the guard is running, and 0 otherwise.
    pub safe fn hak_guard_is_running() -> c_int;
}

/// A private heap: a heap that the program creates, allocates from, and drops as a whole. It is
/// only used through pointers.
#[repr(C)]
#[derive(Debug)]
pub struct hak_heap {
    _opaque: [u8; 0],
    _marker: PhantomData<(*mut u8, PhantomPinned)>,
}

/// The size of a heap's name in bytes, with the final NUL.
pub const HAK_HEAP_NAME_BYTES: usize = 32;

/// What happens to a slab of 64 KiB or more when all of its blocks were freed singly: one of the
/// `HAK_HEAP_PURGE_` constants.
pub type hak_heap_purge = c_uint;
/// It leaves the heap after the purge delay, or at once if the empty slabs of the heap are more
/// than 4 MiB.
pub const HAK_HEAP_PURGE_DELAYED: hak_heap_purge = 0;
/// It stays in the heap until its end.
pub const HAK_HEAP_PURGE_NEVER: hak_heap_purge = 1;

/// The properties of a private heap, for [`hak_heap_new`]. Zero fields have the default.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct hak_heap_options {
    /// Name for statistics, or null. It is copied, at most `HAK_HEAP_NAME_BYTES - 1` bytes of it.
    pub name: *const c_char,
    /// Maximum bytes in live blocks, as in [`hak_usable_size`]. 0 means no limit.
    pub limit: u64,
    /// Called if an allocation of `bytes` would exceed the limit, with no lock held. It may free
    /// blocks. If it returns 1, the allocation is tried once more. If it returns 0 or is `None`, or
    /// if the thread is in this callback already, the allocation fails with `ENOMEM`.
    pub on_limit:
        Option<unsafe extern "C" fn(arg: *mut c_void, heap: *mut hak_heap, bytes: usize) -> c_int>,
    /// Passed to `on_limit`.
    pub on_limit_arg: *mut c_void,
    /// What happens to empty slabs.
    pub purge: hak_heap_purge,
}

/// The result of [`hak_heap_stats()`]: a snapshot of a heap.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct hak_heap_stats {
    /// Unique in the process, from 1.
    pub id: u64,
    /// Live blocks.
    pub blocks_live: u64,
    /// Bytes in live blocks, as in [`hak_usable_size`].
    pub bytes_live: u64,
    /// Bytes in live blocks above 256 KiB. Part of `bytes_live`.
    pub bytes_large: u64,
    /// Bytes in slabs: live and free blocks.
    pub bytes_slabs: u64,
    /// The option, 0 for none.
    pub limit: u64,
    /// Calls that failed at the limit, since the start of the heap.
    pub refused: u64,
    /// The name, which ends with a NUL.
    pub name: [c_char; 32],
}

// Private heaps. Their blocks are blocks like all others: any thread may free them singly, and
// `hak_realloc`, `hak_usable_size` and the sized frees accept them.
unsafe extern "C" {
    /// Creates a heap. Any number of threads may allocate from it. Reads the first `options_bytes`
    /// bytes of `*options`. Pass the size of [`hak_heap_options`]. Null gives the defaults.
    ///
    /// # Errors
    ///
    /// Returns null and sets errno to `ENOMEM` if memory is exhausted.
    ///
    /// # Safety
    ///
    /// `options` must be null or valid for reads of `options_bytes` bytes, and `name` must be null
    /// or a valid string that ends with a NUL. Until the heap ends, calling `on_limit` with
    /// `on_limit_arg` in any thread must be sound, and `on_limit` must not unwind.
    pub fn hak_heap_new(options: *const hak_heap_options, options_bytes: usize) -> *mut hak_heap;

    /// Frees all blocks of the heap at once, and ends it. The cost depends on the number of its
    /// slabs and of its blocks above 256 KiB. If it is the default heap of the calling thread, the
    /// thread then has none. Does nothing for null. Preserves errno.
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap. Neither the heap nor its blocks may be used by another thread
    /// during this call, or by any thread afterwards.
    pub fn hak_heap_destroy(heap: *mut hak_heap);

    /// Gives all blocks of the heap to the heaps of [`hak_malloc`], and ends it. The blocks stay,
    /// and other threads may free and resize them meanwhile. Otherwise like [`hak_heap_destroy`].
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap. No other thread may allocate from it during this call, and no
    /// thread may use it afterwards. `on_limit` may still be called by a thread that resizes a
    /// block of the heap during this call.
    pub fn hak_heap_merge(heap: *mut hak_heap);

    /// Like [`hak_malloc`], but allocates from the heap. With a null `heap` it is the same.
    ///
    /// # Errors
    ///
    /// As for [`hak_malloc`], and also at the limit of the heap. If the heap has ended, that is
    /// reported, and errno is `EINVAL`.
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap.
    pub fn hak_heap_malloc(heap: *mut hak_heap, size: usize) -> *mut c_void;

    /// Like [`hak_calloc`], but allocates from the heap. Otherwise like [`hak_heap_malloc`].
    ///
    /// # Errors
    ///
    /// As for [`hak_calloc`] and [`hak_heap_malloc`].
    ///
    /// # Safety
    ///
    /// As for [`hak_heap_malloc`].
    pub fn hak_heap_calloc(heap: *mut hak_heap, count: usize, size: usize) -> *mut c_void;

    /// Like [`hak_aligned_alloc`], but allocates from the heap. Otherwise like [`hak_heap_malloc`].
    /// The block is aligned to at least 16, so its layout for [`hak_dealloc`] and
    /// [`hak_realloc_layout`] has this alignment or a larger one.
    ///
    /// # Errors
    ///
    /// As for [`hak_aligned_alloc`] and [`hak_heap_malloc`].
    ///
    /// # Safety
    ///
    /// As for [`hak_heap_malloc`].
    pub fn hak_heap_aligned_alloc(
        heap: *mut hak_heap,
        alignment: usize,
        size: usize,
    ) -> *mut c_void;

    /// Like [`hak_realloc`], but the result is in `heap`. A block of another heap moves.
    /// [`hak_realloc`] itself leaves each block in its heap.
    ///
    /// # Errors
    ///
    /// As for [`hak_realloc`] and [`hak_heap_malloc`].
    ///
    /// # Safety
    ///
    /// As for [`hak_realloc`] and [`hak_heap_malloc`].
    pub fn hak_heap_realloc(heap: *mut hak_heap, ptr: *mut c_void, size: usize) -> *mut c_void;

    /// Makes the heap the default of the calling thread: all functions that allocate a block take
    /// it from this heap. Null ends that. Blocks that the thread resizes stay in their heaps.
    /// Returns the former default heap, or null if there was none or it has ended.
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap.
    pub fn hak_heap_set_default(heap: *mut hak_heap) -> *mut hak_heap;

    /// Returns the private heap of the block `ptr`, or null if it is in none. Null for null.
    ///
    /// # Safety
    ///
    /// `ptr` must be null or a block.
    pub fn hak_heap_of(ptr: *const c_void) -> *mut hak_heap;

    /// Fills the first `stats_bytes` bytes of `*stats`. Pass the size of
    /// [`struct@hak_heap_stats`]. All fields are 0 for a null `heap`. Takes time for each slab of
    /// the heap.
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap, and `stats` valid for writes of `stats_bytes` bytes.
    pub fn hak_heap_stats(heap: *mut hak_heap, stats: *mut hak_heap_stats, stats_bytes: usize);

    /// Calls `visit` for each live block with its usable size, until it returns 0. No lock is held
    /// meanwhile. Blocks that are allocated during the call may or may not be visited. Returns 0
    /// when all blocks were visited.
    ///
    /// # Errors
    ///
    /// Returns `ECANCELED` if `visit` returned 0, `ENOMEM` if the list of slabs needs memory, and
    /// `EINVAL` if the heap has ended, which is reported.
    ///
    /// # Safety
    ///
    /// `heap` must be null or a heap. Calling `visit` with `arg` must be sound, and `visit` must
    /// not unwind. It may free the block that it was called with. No other block of the heap may be
    /// freed during this call, by any thread.
    pub fn hak_heap_visit(
        heap: *mut hak_heap,
        visit: Option<
            unsafe extern "C" fn(arg: *mut c_void, block: *mut c_void, bytes: usize) -> c_int,
        >,
        arg: *mut c_void,
    ) -> c_int;
}

// Checks and the version.
unsafe extern "C" {
    /// Checks the invariants of all data structures, and takes their locks in turn. Returns the
    /// number of faults, which is 0 when the structures are sound. Each fault is also printed to
    /// standard error.
    pub safe fn hak_validate() -> usize;

    /// Returns the version of the linked library, in the format of [`HAK_VERSION_STRING`]. The
    /// string is static and ends with a NUL.
    pub safe fn hak_version() -> *const c_char;
}
