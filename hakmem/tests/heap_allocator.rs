//! Private heaps as the allocator of collections, with the feature `allocator-api2`.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::alloc::Layout;
use std::thread;

use allocator_api2::alloc::{AllocError, Allocator};
use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use hakmem::Heap;
use hakmem::heap::Options;
use hashbrown::{DefaultHashBuilder, HashMap};

const MIB: usize = 1 << 20;

fn new_heap() -> Heap {
    Heap::new().expect("memory")
}

#[test]
fn collections_live_in_their_heap_and_return_their_blocks() {
    let heap = new_heap();
    let mut vec = Vec::new_in(&heap);
    vec.extend(0..10_000_u32);
    vec.truncate(10);
    vec.shrink_to_fit();
    assert_eq!(vec.as_slice(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let boxed = Box::new_in([7_u64; 300], &heap);
    assert_eq!(boxed.iter().sum::<u64>(), 2100);
    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
    map.extend((0..1000).map(|i| (i, Box::new_in(i * i, &heap))));
    assert_eq!(*map[&31], 961);
    assert_eq!(heap.stats().blocks_live, 1003);
    drop((vec, boxed, map));
    assert_eq!(heap.stats().blocks_live, 0);
}

#[test]
fn a_dropped_heap_gives_the_memory_of_forgotten_collections_back() {
    for _ in 0..200 {
        let heap = new_heap();
        let mut bytes = Vec::new_in(&heap);
        bytes.resize(8 * MIB, 1_u8);
        std::mem::forget(bytes);
    }
    // All of them together would be 1600 MiB.
    assert!(hakmem::stats().bytes_mapped < 400 * MIB as u64);
}

#[test]
fn the_limit_refuses_with_an_error_and_the_rest_stays_usable() {
    // The vector grows to 1 MiB, and the rest is for the map.
    let limit = MIB + MIB / 16;
    let heap = Heap::with(Options::default().limit(limit as u64)).expect("memory");
    let layout = Layout::new::<[u8; 2 * MIB]>();
    assert_eq!(heap.allocate(layout), Err(AllocError));
    let mut numbers = Vec::new_in(&heap);
    let refused = (0..MIB as u64).find(|&i| {
        let grown = numbers.try_reserve(1).is_ok();
        if grown {
            numbers.push(i);
        }
        !grown
    });
    let count = refused.expect("eight MiB do not fit");
    assert_eq!(numbers.len() as u64, count);
    assert!(numbers.iter().copied().eq(0..count));
    let mut map = HashMap::<u64, u64, _, _>::with_hasher_in(DefaultHashBuilder::default(), &heap);
    assert!(map.try_reserve(MIB).is_err());
    assert!(map.try_reserve(10).is_ok());
    assert!(heap.stats().refused >= 2);
}

#[test]
fn no_bytes_and_every_alignment_grow_and_are_shrunk_to() {
    let heap = new_heap();
    for align in [1, 8, 16, 64, 4096] {
        let of = |size| Layout::from_size_align(size, align).expect("it is small");
        let empty = heap.allocate_zeroed(of(0)).expect("nothing is needed");
        // SAFETY: a live block of the first layout; the second is larger.
        let some = unsafe { heap.grow_zeroed(empty.cast(), of(0), of(7)) }.expect("memory");
        // SAFETY: as above.
        let more = unsafe { heap.grow_zeroed(some.cast(), of(7), of(9000)) }.expect("memory");
        assert_eq!(more.cast::<u8>().addr().get() % align, 0);
        // SAFETY: a live block of 9000 bytes.
        assert!(unsafe { more.as_ref() }.iter().all(|&byte| byte == 0));
        // SAFETY: a live block of the first layout; the second is smaller.
        let less = unsafe { heap.shrink(more.cast(), of(9000), of(3)) }.expect("memory");
        assert_eq!(less.len(), 3);
        // SAFETY: a live block of that layout.
        unsafe { heap.deallocate(less.cast(), of(3)) };
    }
    assert_eq!(heap.stats().blocks_live, 0);
    assert_eq!(hakmem::stats().errors, 0);
}

#[test]
fn a_collection_may_own_its_heap_and_end_it_in_another_thread() {
    let mut bytes = Vec::new_in(new_heap());
    bytes.resize(64 * MIB, 1_u8);
    assert!(bytes.allocator().stats().bytes_live >= 64 * MIB as u64);
    thread::spawn(move || drop(bytes)).join().unwrap();
    // The other tests have less.
    assert!(hakmem::stats().bytes_private < 64 * MIB as u64);
}
