// SPDX-License-Identifier: MIT OR Apache-2.0

//! An owned block of memory. All `unsafe` code of the benchmarks is here.

use std::alloc::{GlobalAlloc, Layout, handle_alloc_error};
use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use crate::sizes::layout;

/// Smallest page size. A block takes memory only after its pages are touched.
const PAGE_BYTES: usize = 4096;

/// An allocator for the benchmarks: a constant that all threads may use.
pub(crate) trait Allocator: GlobalAlloc + Sync + 'static {}

impl<A: GlobalAlloc + Sync + 'static> Allocator for A {}

/// A block of at least one byte, freed when it is dropped.
pub(crate) struct Block<A: Allocator> {
    ptr: NonNull<u8>,
    layout: Layout,
    allocator: &'static A,
}

// SAFETY: a block is owned memory, and GlobalAlloc allows any thread to free it.
unsafe impl<A: Allocator> Send for Block<A> {}

impl<A: Allocator> Block<A> {
    /// Allocates a block and writes its first and last byte.
    pub(crate) fn new(allocator: &'static A, layout: Layout) -> Self {
        assert_ne!(layout.size(), 0);
        // SAFETY: the size is not zero.
        let ptr = unsafe { allocator.alloc(layout) };
        Self::from_raw(allocator, layout, ptr)
    }

    /// Like [`Block::new`], but the other bytes are zero.
    pub(crate) fn zeroed(allocator: &'static A, layout: Layout) -> Self {
        assert_ne!(layout.size(), 0);
        // SAFETY: the size is not zero.
        let ptr = unsafe { allocator.alloc_zeroed(layout) };
        Self::from_raw(allocator, layout, ptr)
    }

    /// Takes ownership of `ptr`, which `allocator` returned for `layout`. As everywhere in this
    /// file, `black_box` prevents the optimiser from removing the allocation.
    fn from_raw(allocator: &'static A, layout: Layout, ptr: *mut u8) -> Self {
        let Some(ptr) = NonNull::new(black_box(ptr)) else {
            handle_alloc_error(layout)
        };
        let mut block = Self {
            ptr,
            layout,
            allocator,
        };
        block.write(0);
        block.write(layout.size() - 1);
        block
    }

    /// Writes the byte at `offset`.
    fn write(&mut self, offset: usize) {
        assert!(offset < self.layout.size());
        // SAFETY: the offset is within the block.
        let byte = unsafe { self.ptr.add(offset) };
        // SAFETY: we have exclusive access to the block, and a byte needs no alignment.
        unsafe { byte.write_volatile(1) };
    }

    /// Resizes the block, and touches each new page, as a program would when it fills the block.
    pub(crate) fn grow(&mut self, size: usize) {
        let old_size = self.layout.size();
        let new_layout = layout(size, self.layout.align());
        assert!(size >= old_size);
        // SAFETY: the block has this allocator and layout, and the new size is valid and not zero.
        let ptr = unsafe {
            self.allocator
                .realloc(black_box(self.ptr.as_ptr()), self.layout, size)
        };
        let Some(ptr) = NonNull::new(black_box(ptr)) else {
            handle_alloc_error(new_layout)
        };
        self.ptr = ptr;
        self.layout = new_layout;
        for offset in (old_size..size).step_by(PAGE_BYTES) {
            self.write(offset);
        }
    }
}

impl<A: Allocator> Drop for Block<A> {
    fn drop(&mut self) {
        // SAFETY: the block has this allocator and layout, and is not used any more.
        unsafe {
            self.allocator
                .dealloc(black_box(self.ptr.as_ptr()), self.layout)
        };
    }
}

/// Up to one block per slot, all of the same layout. A slot is a single pointer, so that the slots
/// take little of the processor's caches.
pub(crate) struct Batch<A: Allocator> {
    /// Each slot owns a block of this layout and allocator, or is empty.
    slots: Vec<Option<NonNull<u8>>>,
    layout: Layout,
    allocator: &'static A,
}

impl<A: Allocator> Batch<A> {
    /// Creates a batch of `count` empty slots.
    pub(crate) fn new(allocator: &'static A, layout: Layout, count: usize) -> Self {
        Self {
            slots: vec![None; count],
            layout,
            allocator,
        }
    }

    /// Allocates a block for each slot, from the first to the last. All slots must be empty.
    pub(crate) fn fill(&mut self) {
        for slot in &mut self.slots {
            debug_assert!(slot.is_none());
            *slot = Some(ManuallyDrop::new(Block::new(self.allocator, self.layout)).ptr);
        }
    }

    /// Frees the block in the slot with this index, if there is one.
    pub(crate) fn free(&mut self, index: usize) {
        if let Some(ptr) = self.slots[index].take() {
            drop(Block {
                ptr,
                layout: self.layout,
                allocator: self.allocator,
            });
        }
    }
}

impl<A: Allocator> Drop for Batch<A> {
    fn drop(&mut self) {
        (0..self.slots.len()).for_each(|index| self.free(index));
    }
}
