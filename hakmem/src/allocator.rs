//! The `Allocator` trait of the crate allocator-api2, for collections with an allocator of their
//! own.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use core::alloc::{GlobalAlloc as _, Layout};
use core::ptr::{self, NonNull};

use allocator_api2::alloc::{AllocError, Allocator};

use crate::Hakmem;

/// A slice of exactly the layout's size. A block has room beyond that, but a caller who knew of it
/// might free the block with the larger size, which can be a size of another class.
fn fit(block: *mut u8, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
    let block = NonNull::new(block).ok_or(AllocError)?;
    Ok(NonNull::slice_from_raw_parts(block, layout.size()))
}

/// What stands for a block of no bytes: aligned, never freed.
fn empty(layout: Layout) -> NonNull<[u8]> {
    let dangling = NonNull::new(ptr::without_provenance_mut(layout.align()));
    NonNull::slice_from_raw_parts(dangling.unwrap_or(NonNull::dangling()), 0)
}

impl Hakmem {
    /// Resizes in place or by moving, and for a change of alignment or from or to no bytes by
    /// allocating anew.
    ///
    /// # Safety
    ///
    /// As [`Allocator::grow`] and [`Allocator::shrink`], whichever fits the sizes.
    unsafe fn resize(
        self,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        if old.align() == new.align() && old.size() != 0 && new.size() != 0 {
            // SAFETY: the caller's block has this layout, and the new size is that of a layout.
            return fit(
                unsafe { self.realloc(block.as_ptr(), old, new.size()) },
                new,
            );
        }
        let moved = self.allocate(new)?;
        let bytes = old.size().min(new.size());
        // SAFETY: both blocks have that many bytes, and the new one is disjoint.
        unsafe { ptr::copy_nonoverlapping(block.as_ptr(), moved.as_ptr().cast(), bytes) };
        // SAFETY: the caller's block has this layout, and is given up.
        unsafe { self.deallocate(block, old) };
        Ok(moved)
    }
}

// SAFETY: blocks stay valid until they are freed, whichever value of the type is asked, and a copy
// of the type is the same allocator.
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
            // SAFETY: the caller's block has this layout, and a size that is not 0.
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
        // SAFETY: the caller grows: the new size is at least the old.
        let tail = unsafe { grown.as_ptr().cast::<u8>().add(old.size()) };
        // SAFETY: the block has the new size from its start.
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
