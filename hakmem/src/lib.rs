// The crate's root: the allocator type and the functions without a module of their own.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

#![doc = include_str!("../README.md")]
#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

#[cfg(hakmem_system)]
extern crate std;

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::CStr;

// The C functions, or functions of the same names that forward to the system allocator. The build
// script of hakmem-sys decides.
#[cfg(not(hakmem_system))]
use hakmem_sys as sys;
#[cfg(hakmem_system)]
#[path = "system.rs"]
mod sys;

#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
mod allocator;
mod conf;
pub mod guard;
pub mod heap;
pub mod limit;
pub mod options;
mod prewarm;
pub mod profile;
mod report;
mod stats;
pub mod thread;

#[doc(hidden)]
pub use conf::Conf;
pub use heap::Heap;
pub use prewarm::{Prewarm, prewarm};
pub use report::{Format, Report, report};
pub use stats::{ClassStats, Stats, class_stats, stats};

/// The allocator.
///
/// All values of this type are the same allocator. A block that was allocated through one may be
/// freed through another, by any thread.
///
/// On targets without hakmem it forwards to the system allocator, see [the overview](crate).
///
/// # Examples
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

// SAFETY: the layout functions of the C interface meet the trait's contract. Blocks fit their
// layout and don't overlap, failure returns null and leaves the old block intact, and nothing
// unwinds. The trait in turn obliges the caller of each method to pass a layout with a size above
// zero and a power-of-two alignment and, for an existing block, the layout that it was allocated
// with.
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
        // SAFETY: the caller allocated `block` with `layout`, and does not use it any more.
        unsafe { sys::hak_dealloc(block.cast(), layout.size(), layout.align()) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        // SAFETY: the caller allocated `block` with `layout`, and does not use it after success.
        unsafe { sys::hak_realloc_layout(block.cast(), size, align, new_size) }.cast()
    }
}

/// Returns free memory to the operating system now. The result is the number of bytes returned.
///
/// This empties the caches of the calling thread and of sleeping threads. Running threads lose most
/// of their cached blocks, and empty the rest in their next call. Under a seccomp filter, all other
/// threads empty their caches in their next slow call.
///
/// hakmem also returns memory by itself, after [`options::PURGE_DELAY`]. Call this function when
/// the program is about to be idle, for instance before a long sleep. Later allocations then incur
/// page faults.
///
/// # Examples
///
/// ```
/// drop(vec![1_u8; 1 << 20]);
/// println!("{} bytes returned", hakmem::trim());
/// ```
pub fn trim() -> usize {
    sys::hak_trim()
}

/// Checks the invariants of all data structures of the allocator. Returns the number of faults,
/// which is 0 when the structures are sound. Each fault is also printed to standard error.
///
/// This takes every lock of the allocator in turn. It is meant for tests and for debugging.
///
/// # Examples
///
/// ```
/// assert_eq!(hakmem::validate(), 0);
/// ```
#[must_use = "the number of faults is the result"]
pub fn validate() -> usize {
    sys::hak_validate()
}

/// Returns the version of the C core, such as `"0.1.0"`.
///
/// # Examples
///
/// ```
/// println!("hakmem {}", hakmem::version());
/// ```
pub fn version() -> &'static str {
    // SAFETY: hak_version returns a static string that ends with a NUL.
    let version = unsafe { CStr::from_ptr(sys::hak_version()) };
    version.to_str().unwrap_or_default()
}

/// Returns the size of `block`, which is at least the requested size, or 0 for null.
///
/// This is the memory that the allocation takes, not the memory that the program may use. Rust code
/// may access only the bytes of the layout that it requested. Where the system allocator replaces
/// hakmem, the size is unknown and the result is 0.
///
/// # Safety
///
/// `block` must be null, or a block that was allocated by hakmem and has not been freed.
///
/// # Examples
///
/// ```
/// #[global_allocator]
/// static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
///
/// fn main() {
///     let number = Box::new(1_u64);
///     // SAFETY: the box is a block of hakmem, because hakmem is the global allocator.
///     let bytes = unsafe { hakmem::usable_size((&raw const *number).cast()) };
///     assert!(bytes >= size_of::<u64>());
/// }
/// ```
#[must_use]
pub unsafe fn usable_size(block: *const u8) -> usize {
    // SAFETY: the C function has the same requirement as this one.
    unsafe { sys::hak_usable_size(block.cast()) }
}
