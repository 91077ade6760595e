//! Blocks that verify their contents.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![allow(dead_code, reason = "each test file uses a part")]

use std::alloc::{GlobalAlloc as _, Layout};
use std::slice;

use hakmem::Hakmem;

/// The pattern of a block changes from line to line. Lines are filled and compared as a whole,
/// which is fast even in unoptimised builds.
const LINE: usize = 64;

/// A live block of hakmem. It is filled with its own pattern, which is checked before each change.
/// Only [`Block::free`] frees it.
#[derive(Debug)]
pub(crate) struct Block {
    start: *mut u8,
    layout: Layout,
    seed: usize,
}

// SAFETY: any thread may use and free a block.
unsafe impl Send for Block {}

impl Block {
    /// Allocates a block of the given layout. The size must not be 0. The pattern depends on the
    /// seed.
    pub(crate) fn new(layout: Layout, seed: usize) -> Self {
        // SAFETY: the size is not 0.
        let start = unsafe { Hakmem.alloc(layout) };
        let mut block = Self::at(start, layout, seed);
        block.fill_from(0);
        block
    }

    /// Like [`Block::new`], but allocates a zeroed block and checks that it is zeroed.
    pub(crate) fn new_zeroed(layout: Layout, seed: usize) -> Self {
        // SAFETY: the size is not 0.
        let start = unsafe { Hakmem.alloc_zeroed(layout) };
        let mut block = Self::at(start, layout, seed);
        for offset in (0..layout.size()).step_by(LINE) {
            let line = block.line(offset, layout.size());
            assert_eq!(
                line,
                &[0; LINE][..line.len()],
                "{block:?} is not zero from {offset} on"
            );
        }
        block.fill_from(0);
        block
    }

    fn at(start: *mut u8, layout: Layout, seed: usize) -> Self {
        assert!(!start.is_null(), "{layout:?}: no memory");
        assert_eq!(
            start.addr() % layout.align(),
            0,
            "{layout:?}: {start:?} is not aligned"
        );
        Self {
            start,
            layout,
            seed,
        }
    }

    /// Resizes the block, checks that it kept its contents, and fills the new part.
    pub(crate) fn resize(&mut self, size: usize) {
        self.check(self.layout.size());
        // SAFETY: a live block of that layout, which `self` gives up.
        let start = unsafe { Hakmem.realloc(self.start, self.layout, size) };
        let kept = size.min(self.layout.size());
        let layout = Layout::from_size_align(size, self.layout.align()).expect("a layout");
        *self = Self::at(start, layout, self.seed);
        self.check(kept);
        self.fill_from(kept);
    }

    /// Checks the contents and frees the block.
    pub(crate) fn free(self) {
        self.check(self.layout.size());
        // SAFETY: a live block of that layout, which `self` gives up.
        unsafe { Hakmem.dealloc(self.start, self.layout) }
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    /// Returns the line at `offset`, cut off at `end`. All of its bytes are initialized.
    fn line(&self, offset: usize, end: usize) -> &[u8] {
        // SAFETY: `offset` is within the block.
        let start = unsafe { self.start.add(offset) };
        // SAFETY: `end` is within the block, too, and `self` owns the block.
        unsafe { slice::from_raw_parts(start, LINE.min(end - offset)) }
    }

    fn pattern(&self, offset: usize) -> u8 {
        let line = offset / LINE;
        // Use the upper bits as well, so that pages differ.
        (line ^ (line >> 8) ^ (line >> 16)).wrapping_add(self.seed.wrapping_mul(97)) as u8
    }

    /// Writes the pattern, from the line that contains `from` to the end of the block.
    fn fill_from(&mut self, from: usize) {
        let end = self.layout.size();
        for offset in (from / LINE * LINE..end).step_by(LINE) {
            // SAFETY: `offset` is within the block.
            let line = unsafe { self.start.add(offset) };
            // SAFETY: the line is within the block, because it is cut off at the end.
            unsafe { line.write_bytes(self.pattern(offset), LINE.min(end - offset)) };
        }
    }

    /// Panics unless the first `bytes` bytes match the pattern.
    fn check(&self, bytes: usize) {
        for offset in (0..bytes).step_by(LINE) {
            let line = self.line(offset, bytes);
            let expected = [self.pattern(offset); LINE];
            assert_eq!(
                line,
                &expected[..line.len()],
                "{self:?} changed from {offset} on"
            );
        }
    }
}
