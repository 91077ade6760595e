// The crate's root: the allocator type and the functions without a module of their own.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#![doc = include_str!("../README.md")]
#![no_std]

#[cfg(any(miri, hakmem_system))]
extern crate std;

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::CStr;

// The C functions, or others of the same names over the system's allocator.
#[cfg(not(any(miri, hakmem_system)))]
use hakmem_sys as sys;
#[cfg(any(miri, hakmem_system))]
#[path = "system.rs"]
mod sys;

#[cfg(feature = "allocator-api2")]
mod allocator;
mod conf;
pub mod options;
mod prewarm;
mod report;
mod stats;

#[doc(hidden)]
pub use conf::Conf;
pub use prewarm::{Prewarm, prewarm};
pub use report::{Format, Report, report};
pub use stats::{ClassStats, Stats, class_stats, stats};

/// The allocator.
///
/// All values of this type are the same allocator. A block that was allocated through one may be freed
/// through another, by any thread.
///
/// ```
/// #[global_allocator]
/// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
///
/// fn main() {
///     let words = vec!["all", "of", "this", "is", "hakmem's"];
///     assert!(hakmem::stats().bytes_live >= size_of_val(&words[..]) as u64);
/// }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Hakmem;

// SAFETY: the layout forms of the C interface promise what the trait asks for: blocks that fit
// their layout and are disjoint, null on failure with the old block intact, and no unwinding. The
// caller of each method passes on what the trait asks of it: a layout of a size above zero, whose
// alignment is a power of two, and for existing blocks the layout that they were allocated with.
unsafe impl GlobalAlloc for Hakmem {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: a layout's alignment is a power of two.
        unsafe { sys::hak_alloc(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        unsafe { sys::hak_alloc_zeroed(layout.size(), layout.align()) }.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller allocated `block` with `layout`, and gives it up.
        unsafe { sys::hak_dealloc(block.cast(), layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: the caller allocated `block` with `layout`, and gives it up on success.
        unsafe { sys::hak_realloc_layout(block.cast(), size, align, new_size) }.cast()
    }
}

/// Returns all free memory to the operating system, and reports how many bytes that were.
///
/// The caches of the calling thread and of threads that sleep are emptied. Threads that run lose most of
/// their cached blocks. Under a seccomp filter, other threads empty their caches on their next slow call.
/// hakmem also returns memory by itself, after [`options::PURGE_DELAY_MS`]. Call this function when
/// the program is about to be idle, for instance before a long sleep. Later allocations pay for it
/// with page faults.
pub fn trim() -> usize {
    sys::hak_trim()
}

/// Checks the invariants of all of the allocator's structures, and returns the number of faults: 0
/// when they are sound. Each fault is also a line on standard error.
///
/// Takes every lock of the allocator in turn; for tests and for looking into a fault.
#[must_use = "the number of faults is the result"]
pub fn validate() -> usize {
    sys::hak_validate()
}

/// The version of the C core, such as `"0.1.0"`.
pub fn version() -> &'static str {
    // SAFETY: hak_version gives a static string that ends with a NUL.
    let version = unsafe { CStr::from_ptr(sys::hak_version()) };
    version.to_str().unwrap_or_default()
}

/// The size of the block at `block`, which is at least the requested size. 0 for null.
///
/// This tells how much memory an allocation takes, not how much of it may be used: Rust code may
/// touch only the bytes of the layout that it asked for. Where the system's allocator stands in for
/// hakmem (under Miri and with `--cfg hakmem_system`), the size is not known and the result is 0.
///
/// # Safety
///
/// `block` is null or was allocated by hakmem and not freed since.
#[must_use]
pub unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: the caller's promise is the one that the C function asks for.
    unsafe { sys::hak_usable_size(block.cast()) }
}
