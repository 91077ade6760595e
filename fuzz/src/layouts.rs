//! A fuzz target: `GlobalAlloc` keeps its contract for all layouts.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
//
// The input is a sequence of steps of four bytes: a slot and an operation, an alignment, and a
// size. Each block is filled with a byte of its own, which a reallocation must keep.

#![no_main]

use std::alloc::{GlobalAlloc, Layout};

use hakmem::Hakmem;
use libfuzzer_sys::fuzz_target;

const SLOTS: usize = 32;
const ALIGN_LOG_MAX: u8 = 17;

struct Block {
    start: *mut u8,
    layout: Layout,
    filling: u8,
}

impl Block {
    /// Allocates and fills a block. None without memory.
    fn new(layout: Layout, filling: u8, zeroed: bool) -> Option<Block> {
        // SAFETY: the size of the layout is not 0
        let start = unsafe {
            if zeroed {
                Hakmem.alloc_zeroed(layout)
            } else {
                Hakmem.alloc(layout)
            }
        };
        if start.is_null() {
            return None;
        }
        assert_eq!(start as usize % layout.align(), 0);

        let mut block = Block {
            start,
            layout,
            filling,
        };
        if zeroed {
            assert!(block.bytes().iter().all(|byte| *byte == 0));
        }
        block.bytes().fill(filling);
        Some(block)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the block is live, and nothing else refers to it
        unsafe { std::slice::from_raw_parts_mut(self.start, self.layout.size()) }
    }

    fn check(&mut self, size: usize) {
        let filling = self.filling;
        assert!(self.bytes()[..size].iter().all(|byte| *byte == filling));
    }

    fn resize(mut self, size: usize) -> Block {
        let kept = size.min(self.layout.size());
        // SAFETY: the block has this layout, and the size is neither 0 nor too large
        let start = unsafe { Hakmem.realloc(self.start, self.layout, size) };
        if start.is_null() {
            return self;
        }
        self.start = start;
        self.layout = Layout::from_size_align(size, self.layout.align()).unwrap();
        assert_eq!(start as usize % self.layout.align(), 0);
        self.check(kept);
        let filling = self.filling;
        self.bytes().fill(filling);
        self
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check(self.layout.size());
        // SAFETY: the block has this layout and is live
        unsafe { Hakmem.dealloc(self.start, self.layout) };
    }
}

/// Mostly small sizes, but all tiers.
fn size(kind: u8, low: u8) -> usize {
    let word = usize::from(kind) << 8 | usize::from(low);
    1 + match kind {
        0..128 => word % 600,
        128..224 => word,
        _ => word * 32,
    }
}

fuzz_target!(|input: &[u8]| {
    let mut slots: [Option<Block>; SLOTS] = [const { None }; SLOTS];
    for step in input.chunks_exact(4) {
        let size = size(step[2], step[3]);
        let align = 1 << (step[1] % (ALIGN_LOG_MAX + 1));
        let slot = &mut slots[usize::from(step[0]) % SLOTS];
        let layout = Layout::from_size_align(size, align).unwrap();
        *slot = match (slot.take(), usize::from(step[0]) / SLOTS) {
            (Some(block), 0..4) => Some(block.resize(size)),
            (None, operation) => Block::new(layout, step[3], operation % 2 == 1),
            (Some(_freed), _) => None,
        };
    }
});
