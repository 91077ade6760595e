//! The bytes that a thread allocates and frees.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::thread;

use hakmem::thread::{Counters, Measure, counters, is_counting};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

/// Work of all kinds that frees all its blocks.
fn work() {
    let mut map = BTreeMap::new();
    for i in 0..2000_usize {
        map.insert(i * 7919 % 2000, "x".repeat(i));
        if i % 3 == 0 {
            map.remove(&(i / 2));
        }
    }
    let mut large = Vec::new();
    for i in 0..1_000_000_u64 {
        large.push(i);
    }
    black_box((map, large));
}

#[test]
fn a_scope_that_frees_its_blocks_adds_the_same_to_both_sums() {
    let measure = Measure::start();
    work();
    let counters = measure.counters();
    assert!(counters.bytes_allocated > 8_000_000);
    assert_eq!(counters.bytes_allocated, counters.bytes_freed);
    assert_eq!(counters.blocks_allocated, counters.blocks_freed);
}

#[test]
fn a_measure_counts_from_its_start_to_its_end() {
    thread::spawn(|| {
        assert!(!is_counting());
        let outer = Measure::start();
        let first = black_box(Box::new([0_u8; 112]));
        let inner = Measure::start();
        assert_eq!(inner.counters(), Counters::default());
        drop(first);
        assert_eq!(inner.counters().bytes_freed, 112);
        assert_eq!(inner.counters().bytes_allocated, 0);
        drop(inner);
        assert!(is_counting());
        assert_eq!(outer.counters().bytes_allocated, 112);
        drop(outer);

        assert!(!is_counting());
        let before = counters();
        drop(black_box(Box::new([0_u8; 112])));
        assert_eq!(counters(), before);
    })
    .join()
    .unwrap();
}

#[test]
fn a_block_that_another_thread_frees_counts_there() {
    let measure = Measure::start();
    let block = black_box(vec![1_u8; 100_000]);
    let allocated = measure.counters();
    assert_eq!(allocated.blocks_allocated, 1);

    let freed = thread::spawn(move || {
        let measure = Measure::start();
        drop(block);
        measure.counters()
    })
    .join()
    .unwrap();
    assert_eq!(freed.blocks_freed, 1);
    assert_eq!(freed.bytes_freed, allocated.bytes_allocated);
}
