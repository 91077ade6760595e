//! The feature `allocator-api2`.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::alloc::Layout;
use std::ptr::NonNull;

use allocator_api2::alloc::Allocator;
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hakmem::Hakmem;

fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("it is small")
}

fn start(block: NonNull<[u8]>) -> NonNull<u8> {
    block.cast()
}

#[test]
fn collections_take_it_as_their_allocator() {
    let mut vec = Vec::new_in(Hakmem);
    vec.extend(0..10_000_u32);
    vec.truncate(10);
    vec.shrink_to_fit();
    assert_eq!(vec.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let boxed = Box::new_in([7_u8; 300], Hakmem);
    assert!(boxed.iter().all(|&byte| byte == 7));
}

#[test]
fn a_block_has_exactly_the_requested_length() {
    for size in [1, 13, 100, 5000, 70_000, 1 << 20] {
        let layout = layout(size, 8);
        let block = Hakmem.allocate(layout).expect("memory");
        assert_eq!(block.len(), size);
        // SAFETY: a live block of that layout.
        unsafe { Hakmem.deallocate(start(block), layout) };
    }
}

#[test]
fn no_bytes_are_an_aligned_block_that_grows_and_is_shrunk_to() {
    for align in [1, 16, 4096] {
        let (none, some) = (layout(0, align), layout(40, align));
        let empty = Hakmem.allocate(none).expect("nothing is needed");
        assert_eq!((empty.len(), start(empty).addr().get() % align), (0, 0));
        // SAFETY: a live block of the first layout; the second is larger.
        let grown = unsafe { Hakmem.grow_zeroed(start(empty), none, some) }.expect("memory");
        // SAFETY: a live block of 40 bytes.
        assert_eq!(unsafe { grown.as_ref() }, [0; 40]);
        // SAFETY: a live block of the second layout; the first is smaller.
        let empty = unsafe { Hakmem.shrink(start(grown), some, none) }.expect("nothing is needed");
        assert_eq!(empty.len(), 0);
        // SAFETY: a live block of that layout.
        unsafe { Hakmem.deallocate(start(empty), none) };
    }
}

#[test]
fn growing_zeroed_keeps_the_old_bytes_and_zeroes_the_new_at_any_alignment() {
    for (old_align, new_align) in [(8, 8), (8, 256), (256, 8)] {
        let (old, new) = (layout(1000, old_align), layout(90_000, new_align));
        let block = Hakmem.allocate(old).expect("memory");
        // SAFETY: a live block of 1000 bytes.
        unsafe { start(block).write_bytes(0xAB, 1000) };
        // SAFETY: a live block of the first layout; the second is larger.
        let grown = unsafe { Hakmem.grow_zeroed(start(block), old, new) }.expect("memory");
        assert_eq!(start(grown).addr().get() % new_align, 0);
        // SAFETY: a live block of 90,000 bytes.
        let (kept, added) = unsafe { grown.as_ref() }.split_at(1000);
        assert!(kept.iter().all(|&byte| byte == 0xAB));
        assert!(added.iter().all(|&byte| byte == 0));
        // SAFETY: a live block of the second layout.
        unsafe { Hakmem.deallocate(start(grown), new) };
    }
}

#[test]
fn an_absurd_layout_is_an_error() {
    let most = isize::MAX as usize;
    assert!(Hakmem.allocate(layout(most, 1)).is_err());
    assert!(Hakmem.allocate_zeroed(layout(most, 1)).is_err());
}
