//! Exhausted memory. The limit applies to the whole process, so this is a single test in its own
//! process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

mod common;

use std::alloc::{GlobalAlloc as _, Layout};

use common::Block;
use hakmem::Hakmem;

const LIMIT: usize = 1 << 30;

#[test]
fn exhausted_memory_gives_null_leaves_live_blocks_intact_and_comes_back_when_freed() {
    limit_address_space();
    let layout = |bytes| Layout::from_size_align(bytes, 8).expect("it is small");
    let mut held = Vec::with_capacity(LIMIT / 1024);

    // All sizes, the largest first. Once 1 KiB is refused, no other size can be allocated either.
    for bytes in [16 << 20, 1 << 20, 100 << 10, 8 << 10, 1 << 10] {
        while has_memory_for(layout(bytes)) {
            assert!(held.len() < held.capacity(), "the limit is not in force");
            held.push(Block::new(layout(bytes), held.len()));
        }
    }
    // SAFETY: the size is not 0.
    assert!(unsafe { Hakmem.alloc_zeroed(layout(1 << 20)) }.is_null());
    let small = held.last().expect("some fitted");
    // SAFETY: a live block of that layout.
    assert!(unsafe { Hakmem.realloc(small.as_ptr(), small.layout(), 64 << 20) }.is_null());

    held.drain(..).for_each(Block::free); // also checks that the contents are intact
    hakmem::trim();
    Block::new(layout(256 << 20), 1).free();
    assert_eq!(hakmem::validate(), 0);
}

/// Returns whether a block can be allocated. The block is freed at once, and the next allocation of
/// this size gets it again.
fn has_memory_for(layout: Layout) -> bool {
    // SAFETY: the size is not 0.
    let block = unsafe { Hakmem.alloc(layout) };
    if block.is_null() {
        return false;
    }
    // SAFETY: a live block of that layout.
    unsafe { Hakmem.dealloc(block, layout) };
    true
}

fn limit_address_space() {
    let limit = libc::rlimit {
        rlim_cur: LIMIT as u64,
        rlim_max: LIMIT as u64,
    };
    // SAFETY: setrlimit only reads `limit`.
    let status = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
    assert_eq!(status, 0);
}
