// The declarations of hakmem.h, in its order.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#![doc = include_str!("../README.md")]
#![no_std]
#![allow(
    non_camel_case_types,
    reason = "the names are those of the C interface"
)]

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};

#[cfg(all(feature = "override", not(any(miri, hakmem_system))))]
mod overrides;

/// The version of the header that these declarations follow: major number.
pub const HAK_VERSION_MAJOR: c_int = 0;
/// Minor number of the version.
pub const HAK_VERSION_MINOR: c_int = 1;
/// Patch number of the version.
pub const HAK_VERSION_PATCH: c_int = 0;
/// The version as text.
pub const HAK_VERSION_STRING: &CStr = c"0.1.0";

// The C standard's functions.
unsafe extern "C" {
    /// A block of at least `size` bytes, aligned to 16, contents undefined; null and `ENOMEM` when
    /// memory is exhausted or `size` is above `isize::MAX`.
    pub safe fn hak_malloc(size: usize) -> *mut c_void;

    /// A block for `count` objects of `size` bytes, all bytes zero; null and `ENOMEM` also when the
    /// product overflows.
    pub safe fn hak_calloc(count: usize, size: usize) -> *mut c_void;

    /// Resizes the block `ptr` to `size` bytes; it may move. A null `ptr` allocates, `size` 0 frees
    /// and gives null. Null and `ENOMEM` on failure: the old block is then intact.
    ///
    /// # Safety
    ///
    /// `ptr` is null or a block, and is not used any more when the result is not null (or `size`
    /// was 0).
    pub fn hak_realloc(ptr: *mut c_void, size: usize) -> *mut c_void;

    /// [`hak_realloc`] to `count * size` bytes; null and `ENOMEM`, the block intact, when that
    /// overflows.
    ///
    /// # Safety
    ///
    /// As [`hak_realloc`].
    pub fn hak_reallocarray(ptr: *mut c_void, count: usize, size: usize) -> *mut c_void;

    /// Frees the block `ptr`; null does nothing. Keeps errno.
    ///
    /// # Safety
    ///
    /// `ptr` is null or a block, and is not used any more.
    pub fn hak_free(ptr: *mut c_void);

    /// As [`hak_free`], for a block whose requested size is known.
    ///
    /// # Safety
    ///
    /// `ptr` is null, or a block of [`hak_malloc`], [`hak_calloc`], [`hak_realloc`] or
    /// [`hak_reallocarray`] that was last requested with exactly `size` bytes, and is not used any
    /// more.
    pub fn hak_free_sized(ptr: *mut c_void, size: usize);

    /// As [`hak_free`], for a block whose requested alignment and size are known.
    ///
    /// # Safety
    ///
    /// `ptr` is null, or a block of [`hak_aligned_alloc`] requested with exactly this alignment and
    /// size, and is not used any more.
    pub fn hak_free_aligned_sized(ptr: *mut c_void, alignment: usize, size: usize);

    /// A block of at least `size` bytes, aligned to `alignment`. Null and `EINVAL` when that is no
    /// power of two, null and `ENOMEM` when memory is exhausted.
    pub safe fn hak_aligned_alloc(alignment: usize, size: usize) -> *mut c_void;

    /// As [`hak_aligned_alloc`], the block in `*out`. Returns 0, `EINVAL` (not a power of two, or
    /// not a multiple of the size of a pointer) or `ENOMEM`; `*out` and errno are then unchanged.
    ///
    /// # Safety
    ///
    /// `out` may be written to.
    pub fn hak_posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int;

    /// The bytes that may be used in the block `ptr`, at least those requested; 0 for null.
    ///
    /// # Safety
    ///
    /// `ptr` is null or a block.
    pub fn hak_usable_size(ptr: *const c_void) -> usize;
}

// The layout forms, for callers that know size and alignment when they free.
unsafe extern "C" {
    /// A block of `size` bytes aligned to `align`; null and `ENOMEM` when memory is exhausted.
    ///
    /// # Safety
    ///
    /// `align` is a power of two.
    pub fn hak_alloc(size: usize, align: usize) -> *mut c_void;

    /// As [`hak_alloc`], all bytes zero. Fresh memory of the OS is not zeroed again.
    ///
    /// # Safety
    ///
    /// `align` is a power of two.
    pub fn hak_alloc_zeroed(size: usize, align: usize) -> *mut c_void;

    /// Resizes the block `ptr` of `old_size` bytes to `new_size`, alignment kept. Null and `ENOMEM`
    /// on failure: the old block is then intact.
    ///
    /// # Safety
    ///
    /// `ptr` is a block whose allocation (or last reallocation) had the size `old_size` and the
    /// alignment `align`, and is not used any more when the result is not null.
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
    /// `ptr` is a block whose allocation (or last reallocation) had this size and this alignment,
    /// and is not used any more.
    pub fn hak_dealloc(ptr: *mut c_void, size: usize, align: usize);
}

/// What [`hak_prewarm`] and the option `prewarm` fill: one of the `HAK_PREWARM_` constants.
pub type hak_prewarm_set = c_uint;
/// Nothing.
pub const HAK_PREWARM_OFF: hak_prewarm_set = 0;
/// Blocks up to 1 KiB.
pub const HAK_PREWARM_TINY: hak_prewarm_set = 1;
/// Blocks of 8 KiB to 52 KiB.
pub const HAK_PREWARM_POOL: hak_prewarm_set = 2;
/// Both.
pub const HAK_PREWARM_ALL: hak_prewarm_set = 3;
/// As many as threads that have ended came to hold.
pub const HAK_PREWARM_ADAPTIVE: hak_prewarm_set = 4;

// Control.
unsafe extern "C" {
    /// Fills the calling thread's cache so that its next allocations find blocks ready. Returns the
    /// bytes of the blocks added.
    pub safe fn hak_prewarm(set: hak_prewarm_set) -> usize;

    /// Gives back to the OS, now, all memory that can be given back. Returns the bytes returned by
    /// this call.
    pub safe fn hak_trim() -> usize;

    /// Sets the option `name` from text. Returns 0, `ENOENT` (no such option), `EINVAL` (the value
    /// does not parse or is out of range: the old one stays) or `EBUSY` (the option is read at
    /// start only).
    ///
    /// # Safety
    ///
    /// `name` and `value` end with a NUL.
    pub fn hak_option_set(name: *const c_char, value: *const c_char) -> c_int;

    /// Writes the option's present value as text with a final NUL. Returns 0, `ENOENT`, or `ERANGE`
    /// when `value_bytes` is too small (32 always suffice).
    ///
    /// # Safety
    ///
    /// `name` ends with a NUL, and `value_bytes` bytes at `value` may be written to.
    pub fn hak_option_get(name: *const c_char, value: *mut c_char, value_bytes: usize) -> c_int;
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
    /// Bytes in blocks above the largest size class. Part of `bytes_live`.
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
    /// Refills of a thread cache from slabs.
    pub refills: u64,
    /// Batches flushed from a thread cache to the owner heap.
    pub flushes: u64,
    /// Batches put into a transfer cache.
    pub transfer_puts: u64,
    /// Transfer-cache hits: refills that needed no slab.
    pub transfer_takes: u64,
    /// Calls of mmap.
    pub map_calls: u64,
    /// Calls of munmap.
    pub unmap_calls: u64,
    /// Calls of mremap.
    pub remap_calls: u64,
    /// Calls of madvise.
    pub purge_calls: u64,
    /// Times that a thread slept because a lock was taken.
    pub lock_waits: u64,
    /// Reported uses of bad pointers.
    pub errors: u64,
    /// Bytes that may be resident. This value is compared with the limits.
    pub bytes_used: u64,
    /// Bytes in chunks that ask for huge pages.
    pub bytes_huge: u64,
    /// The option `limit_soft`, in bytes; 0: none.
    pub limit_soft: u64,
    /// The option `limit_hard`, in bytes; 0: none.
    pub limit_hard: u64,
    /// Times that the lock of a class of a heap was found taken.
    pub lock_busy_class: u64,
    /// Times that the lock of a heap's memory was found taken.
    pub lock_busy_arena: u64,
    /// Times that the lock of the memory of hakmem's own structures was found taken.
    pub lock_busy_meta: u64,
    /// Times that any other lock was found taken.
    pub lock_busy_other: u64,
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

/// The form of [`hak_report`]: one of the `HAK_REPORT_` constants.
pub type hak_report_format = c_uint;
/// Text for people.
pub const HAK_REPORT_TEXT: hak_report_format = 0;
/// One JSON object.
pub const HAK_REPORT_JSON: hak_report_format = 1;

// Observation.
unsafe extern "C" {
    /// Fills the first `stats_bytes` bytes of `*stats`; give the size of
    /// [`struct@hak_stats`].
    ///
    /// # Safety
    ///
    /// `stats_bytes` bytes at `stats` may be written to.
    pub fn hak_stats(stats: *mut hak_stats, stats_bytes: usize);

    /// Fills `*stats` for the class `index` (1, 2, ...). Returns 0, or `EINVAL` when there is no such
    /// class.
    ///
    /// # Safety
    ///
    /// `stats_bytes` bytes at `stats` may be written to.
    pub fn hak_class_stats(index: c_uint, stats: *mut hak_class_stats, stats_bytes: usize)
    -> c_int;

    /// Writes all statistics through `write`, in pieces; `None` writes to standard error.
    ///
    /// # Safety
    ///
    /// `write` may be called with `arg`; it does not allocate from hakmem and does not unwind.
    pub fn hak_report(
        format: hak_report_format,
        write: Option<unsafe extern "C" fn(arg: *mut c_void, text: *const c_char, bytes: usize)>,
        arg: *mut c_void,
    );

    /// Checks the invariants of every structure, taking its locks in turn. Returns the number of
    /// faults, 0 when sound; each fault is a line on standard error.
    pub safe fn hak_validate() -> usize;

    /// The version of the library that runs, as [`HAK_VERSION_STRING`]. Static, ends with a NUL.
    pub safe fn hak_version() -> *const c_char;
}
