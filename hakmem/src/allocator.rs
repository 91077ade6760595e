//! Implements the `Allocator` traits of the crate allocator-api2 and of the standard library, for
//! collections that take an allocator parameter.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

use crate::{Hakmem, Heap};

/// Returns a slice of exactly the layout's size. The block may be larger, but if we exposed the
/// extra bytes, a caller could free the block with a size that belongs to another size class.
fn fit(block: *mut u8, layout: Layout) -> Option<NonNull<[u8]>> {
    let block = NonNull::new(block)?;
    Some(NonNull::slice_from_raw_parts(block, layout.size()))
}

/// Returns the placeholder for a zero-sized block: an aligned, dangling pointer that is never
/// freed.
fn empty(layout: Layout) -> NonNull<[u8]> {
    let dangling = NonNull::new(ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(dangling.unwrap_or(NonNull::dangling()), 0)
}

#[inline]
fn allocate(allocator: &impl GlobalAlloc, layout: Layout) -> Option<NonNull<[u8]>> {
    if layout.size() == 0 {
        return Some(empty(layout));
    }
    // SAFETY: the size is not 0.
    fit(unsafe { allocator.alloc(layout) }, layout)
}

#[inline]
fn allocate_zeroed(allocator: &impl GlobalAlloc, layout: Layout) -> Option<NonNull<[u8]>> {
    if layout.size() == 0 {
        return Some(empty(layout));
    }
    // SAFETY: the size is not 0.
    fit(unsafe { allocator.alloc_zeroed(layout) }, layout)
}

/// # Safety
///
/// `block` must be a live block of the allocator with this layout, and must not be used any more.
#[inline]
unsafe fn deallocate(allocator: &impl GlobalAlloc, block: NonNull<u8>, layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: the caller's block has this layout, and its size is not 0.
        unsafe { allocator.dealloc(block.as_ptr(), layout) }
    }
}

/// Resizes a block with `realloc` where possible. If the alignment changes, or one of the sizes is
/// 0, allocates a new block and copies the contents. If there is no result, the old block is
/// intact.
///
/// # Safety
///
/// As for [`deallocate`], with the layout `old`, if there is a result.
unsafe fn resize(
    allocator: &impl GlobalAlloc,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<[u8]>> {
    if old.align() == new.align() && old.size() != 0 && new.size() != 0 {
        // SAFETY: the caller's block has this layout, and the new size comes from a layout.
        let resized = unsafe { allocator.realloc(block.as_ptr(), old, new.size()) };
        return fit(resized, new);
    }
    let moved = allocate(allocator, new)?;
    let bytes = old.size().min(new.size());
    // SAFETY: both blocks have at least `bytes` bytes, and they do not overlap.
    unsafe { ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr().cast(), bytes) };
    // SAFETY: the caller's block has this layout, and the caller does not use it any more.
    unsafe { deallocate(allocator, block, old) };
    Some(moved)
}

/// Like [`resize`] to a larger size, but the new bytes are zero.
///
/// # Safety
///
/// As for [`resize`], and the new size must be at least the old size.
unsafe fn grow_zeroed(
    allocator: &impl GlobalAlloc,
    block: NonNull<u8>,
    old: Layout,
    new: Layout,
) -> Option<NonNull<[u8]>> {
    // SAFETY: the caller's promise.
    let grown = unsafe { resize(allocator, block, old, new) }?;
    // SAFETY: the caller guarantees that the new size is at least the old size.
    let tail = unsafe { grown.as_ptr().cast::<u8>().add(old.size()) };
    // SAFETY: the block has `new.size()` bytes, and `tail` starts at `old.size()`.
    unsafe { tail.write_bytes(0, new.size() - old.size()) };
    Some(grown)
}

/// Implements the trait `Allocator` of a module for a type that implements `GlobalAlloc`.
macro_rules! allocator {
    ($(#[$attribute:meta])* $($module:ident)::+, $type:ty) => {
        $(#[$attribute])*
        // SAFETY: blocks stay valid until they are freed or their heap is dropped, even if the
        // value is moved. Only a `Hakmem` can be cloned, and all of them are the same allocator.
        unsafe impl $($module)::+::Allocator for $type {
            #[inline]
            fn allocate(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $($module)::+::AllocError> {
                allocate(self, layout).ok_or($($module)::+::AllocError)
            }

            #[inline]
            fn allocate_zeroed(
                &self,
                layout: Layout,
            ) -> Result<NonNull<[u8]>, $($module)::+::AllocError> {
                allocate_zeroed(self, layout).ok_or($($module)::+::AllocError)
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                // SAFETY: the caller's promise.
                unsafe { deallocate(self, block, layout) }
            }

            #[inline]
            unsafe fn grow(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($module)::+::AllocError> {
                // SAFETY: the caller's promise.
                unsafe { resize(self, block, old, new) }.ok_or($($module)::+::AllocError)
            }

            #[inline]
            unsafe fn grow_zeroed(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($module)::+::AllocError> {
                // SAFETY: the caller's promise.
                unsafe { grow_zeroed(self, block, old, new) }.ok_or($($module)::+::AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($module)::+::AllocError> {
                // SAFETY: the caller's promise.
                unsafe { resize(self, block, old, new) }.ok_or($($module)::+::AllocError)
            }
        }
    };
}

#[cfg(feature = "nightly")]
allocator!(core::alloc, Hakmem);
#[cfg(feature = "nightly")]
allocator!(core::alloc, Heap);

#[cfg(feature = "allocator-api2")]
allocator!(allocator_api2::alloc, Hakmem);
#[cfg(feature = "allocator-api2")]
allocator!(
    /// Allocates from the heap. Collections usually take `&Heap` as their allocator. A collection
    /// can also own its heap.
    ///
    /// # Examples
    ///
    /// ```
    /// use allocator_api2::vec::Vec;
    /// use hakmem::Heap;
    ///
    /// let heap = Heap::new()?;
    /// let mut primes = Vec::new_in(&heap);
    /// primes.extend([2, 3, 5, 7]);
    /// assert_eq!(heap.stats().blocks_live, 1);
    ///
    /// let mut own = Vec::new_in(Heap::new()?);
    /// own.extend_from_slice(&primes);
    /// # Ok::<(), hakmem::heap::Error>(())
    /// ```
    ///
    /// No collection outlives its heap:
    ///
    /// ```compile_fail,E0505
    /// use allocator_api2::vec::Vec;
    /// use hakmem::Heap;
    ///
    /// let heap = Heap::new()?;
    /// let mut primes = Vec::new_in(&heap);
    /// primes.extend([2, 3, 5, 7]);
    /// drop(heap);
    /// assert_eq!(primes.len(), 4);
    /// # Ok::<(), hakmem::heap::Error>(())
    /// ```
    allocator_api2::alloc, Heap
);
