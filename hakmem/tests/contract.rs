//! Tests the contract of `GlobalAlloc` for every size class and alignment.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

mod common;

use std::alloc::{GlobalAlloc as _, Layout};
use std::thread;

use common::Block;
use hakmem::Hakmem;

const ALIGNMENTS: std::ops::RangeInclusive<u32> = 0..=21;

/// Sizes around the upper bound of every class, around pages, and of large blocks.
fn sizes() -> Vec<usize> {
    let classes = hakmem::class_stats().map(|class| class.block_bytes as usize);
    let large = (16..=22).map(|shift| 1 << shift);
    let mut sizes: Vec<usize> = classes
        .chain(large)
        .chain([1, 4096, 12_288, 300_000, 1_000_000, 3 << 20])
        .flat_map(|end| [end - 1, end, end + 1])
        .filter(|&size| size > 0)
        .collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
}

fn grid() -> impl Iterator<Item = Layout> {
    sizes()
        .into_iter()
        .flat_map(|size| ALIGNMENTS.map(move |shift| layout(size, shift)))
}

fn layout(size: usize, shift: u32) -> Layout {
    Layout::from_size_align(size, 1 << shift).expect("it is small")
}

#[test]
#[cfg(not(hakmem_system))]
fn the_classes_are_of_rising_sizes_to_256_kib_and_then_8_bytes() {
    let classes: Vec<_> = hakmem::class_stats()
        .map(|class| class.block_bytes)
        .collect();
    let (last, rising) = classes.split_last().expect("there are classes");
    assert_eq!(
        (*last, rising[0], rising[rising.len() - 1]),
        (8, 16, 256 << 10)
    );
    assert!(rising.is_sorted_by(|a, b| a < b), "{classes:?}");
}

#[test]
fn blocks_are_aligned_and_hold_their_size_and_do_not_overlap() {
    for layout in grid() {
        let mut blocks: Vec<_> = (0..3).map(|i| Block::new(layout, i)).collect();
        // Checks the contents. An overlapping block would have the contents of the other block.
        blocks.drain(..).for_each(Block::free);
    }
}

#[test]
fn the_usable_size_is_at_least_the_requested() {
    for layout in grid() {
        let block = Block::new(layout, 0);
        // SAFETY: a live block.
        let usable = unsafe { hakmem::usable_size(block.as_ptr()) };
        assert!(
            usable >= layout.size() || cfg!(hakmem_system),
            "{layout:?}: {usable}"
        );
        block.free();
    }
}

#[test]
fn zeroed_blocks_are_zero_though_the_memory_was_used_before() {
    for layout in grid() {
        let dirty: Vec<_> = (0..4).map(|i| Block::new(layout, i)).collect();
        dirty.into_iter().for_each(Block::free);
        let zeroed: Vec<_> = (0..4).map(|i| Block::new_zeroed(layout, i)).collect();
        zeroed.into_iter().for_each(Block::free);
    }
}

#[test]
fn resizing_up_and_down_keeps_contents_and_alignment() {
    let sizes = sizes();
    for shift in ALIGNMENTS {
        let mut block = Block::new(layout(1, shift), 0);
        let neighbour = Block::new(layout(1, shift), 1);
        for &size in sizes
            .iter()
            .chain(sizes.iter().rev())
            .chain(sizes.iter().step_by(17))
        {
            block.resize(size);
        }
        neighbour.free();
        block.free();
    }
}

#[test]
fn blocks_of_one_thread_may_be_resized_and_freed_by_another() {
    for layout in grid().step_by(11) {
        let mut block = Block::new(layout, 3);
        thread::scope(|scope| {
            scope.spawn(move || {
                block.resize(layout.size() * 2);
                block.free();
            });
        });
    }
}

#[test]
fn an_absurd_layout_gives_null_and_leaves_a_block_that_was_to_grow_intact() {
    for shift in [0, 3, 4, 12, 21, 40] {
        let align = 1_usize << shift;
        let most = (isize::MAX as usize + 1) - align;
        let absurd = Layout::from_size_align(most, align).expect("the largest that there is");
        // SAFETY: the size is not 0.
        let block = unsafe { Hakmem.alloc(absurd) };
        assert!(block.is_null(), "{absurd:?}");
        // SAFETY: the size is not 0.
        let block = unsafe { Hakmem.alloc_zeroed(absurd) };
        assert!(block.is_null(), "{absurd:?}");
        if shift < 22 {
            let block = Block::new(layout(1000, shift), 5);
            // SAFETY: a live block of that layout, and the new size comes from a layout.
            let moved = unsafe { Hakmem.realloc(block.as_ptr(), block.layout(), most) };
            assert!(moved.is_null(), "{absurd:?}");
            block.free();
        }
    }
}

#[test]
fn the_structures_are_sound_with_blocks_of_many_layouts_live_and_after_they_were_freed() {
    let blocks: Vec<_> = grid()
        .step_by(23)
        .map(|layout| Block::new(layout, 9))
        .collect();
    assert_eq!(hakmem::validate(), 0);
    blocks.into_iter().for_each(Block::free);
    hakmem::trim();
    assert_eq!(hakmem::validate(), 0);
}
