//! Implements the `Allocator` trait of the crate allocator-api2, for collections that take an
//! allocator parameter.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::alloc::{GlobalAlloc as _, Layout};
use core::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator};

use crate::Hakmem;

/// Returns a slice of exactly the layout's size. The block may be larger, but if we exposed the
/// extra bytes, a caller could free the block with a size that belongs to another size class.
fn fit(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

/// Returns the placeholder for a zero-sized block: an aligned, dangling pointer that is never
/// freed.
fn empty(layout: Layout) -> NonNull<[u8]> {
    let dangling = NonNull::new(ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(dangling.unwrap_or(NonNull::dangling()), 0)
}

impl Hakmem {
    /// Resizes a block with `realloc` where possible. If the alignment changes, or one of the sizes
    /// is 0, allocates a new block and copies the contents.
    ///
    /// # Safety
    ///
    /// As for [`Allocator::grow`] or [`Allocator::shrink`], depending on the sizes.
    ///
    /// # Errors
    ///
    /// If memory is exhausted. The old block is then intact.
    unsafe fn resize(
        self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.align() == new.align() && old.size() != 0 && new.size() != 0 {
            // SAFETY: the caller's block has this layout, and the new size comes from a layout.
            return fit(
                unsafe { self.realloc(block.as_ptr(), old, new.size()) },
                new,
            );
        }
        let moved = self.allocate(new)?;
        let bytes = old.size().min(new.size());
        // SAFETY: both blocks have at least `bytes` bytes, and they do not overlap.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr().cast(), bytes) };
        // SAFETY: the caller's block has this layout, and the caller does not use it any more.
        unsafe { self.deallocate(block, old) };
        Ok(moved)
    }
}

// SAFETY: blocks stay valid until they are freed, even if the `Hakmem` value is moved or dropped,
// and all copies of the type are the same allocator.
unsafe impl Allocator for Hakmem {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        // SAFETY: the size is not 0.
        fit(unsafe { self.alloc(layout) }, layout)
    }

    #[inline]
    fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        if layout.size() == 0 {
            return Ok(empty(layout));
        }
        // SAFETY: the size is not 0.
        fit(unsafe { self.alloc_zeroed(layout) }, layout)
    }

    #[inline]
    unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller's block has this layout, and its size is not 0.
            unsafe { self.dealloc(block.as_ptr(), layout) }
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        let grown = unsafe { self.resize(block, old, new) }?;
        // SAFETY: the caller guarantees that the new size is at least the old size.
        let tail = unsafe { grown.as_ptr().cast::<u8>().add(old.size()) };
        // SAFETY: the block has `new.size()` bytes, and `tail` starts at `old.size()`.
        unsafe { tail.write_bytes(0, new.size() - old.size()) };
        Ok(grown)
    }

    #[inline]
    unsafe fn shrink(
        &self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: the caller's promise.
        unsafe { self.resize(block, old, new) }
    }
}
