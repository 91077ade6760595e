//! Private heaps as the allocator of the collections of the standard library, with the feature
//! `nightly`.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]
#![feature(allocator_api, btreemap_alloc)]

use std::collections::BTreeMap;
use std::sync::Arc;

use hakmem::heap::Options;
use hakmem::{Hakmem, Heap};

#[test]
fn collections_of_the_standard_library_live_in_their_heap() {
    let heap = Heap::new().expect("memory");
    let mut vec = Vec::new_in(&heap);
    vec.extend(0..1000_u32);
    let mut map = BTreeMap::new_in(&heap);
    map.extend((0..1000).map(|i| (i, i * i)));
    let shared = Arc::new_in([1_u8; 1000], &heap);
    assert_eq!((vec[999], map[&31], shared[999]), (999, 961, 1));
    assert!(heap.stats().blocks_live > 3);
    drop((vec, map, shared));
    assert_eq!(heap.stats().blocks_live, 0);
    assert_eq!(Vec::<u8, _>::with_capacity_in(10, Hakmem).capacity(), 10);
}

#[test]
fn the_limit_refuses_with_an_error() {
    let heap = Heap::with(Options::default().limit(1 << 20)).expect("memory");
    assert!(Box::try_new_in([0_u64; 1000], &heap).is_ok());
    assert!(Vec::<u8, _>::try_with_capacity_in(2 << 20, &heap).is_err());
}
