//! Counters. They are per process, so this is a single test in its own process.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

mod common;

use std::alloc::Layout;
use std::time::Duration;
use std::{fs, process, thread};

use common::Block;
use hakmem::{Format, Prewarm};

const MIB: u64 = 1 << 20;

/// Allocates blocks as the iterator advances. With the feature `override`, the vectors that hold
/// them count as well, so tests create those before they read the counters.
fn blocks(count: usize, bytes: usize) -> impl Iterator<Item = Block> {
    let layout = Layout::from_size_align(bytes, 8).expect("it is small");
    (0..count).map(move |seed| Block::new(layout, seed))
}

/// Returns the numbers of live and cached blocks in the class of `bytes`.
fn class(bytes: u64) -> (u64, u64) {
    let class = hakmem::class_stats().find(|class| class.block_bytes == bytes);
    let class = class.expect("there is such a class");
    (class.blocks_live, class.blocks_cached)
}

/// Waits until the thread of the test harness sleeps, because it still allocates for a moment after
/// it has started the test. With the feature `override`, these allocations count. Gives up after a
/// second, because with --test-threads=1 that thread runs the test itself.
fn wait_for_the_harness() {
    let stat = format!("/proc/self/task/{}/stat", process::id());
    for _ in 0..1000 {
        let text = fs::read_to_string(&stat).expect("the first thread is there");
        if text
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(" S"))
        {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_counters_follow_what_the_program_does() {
    wait_for_the_harness();
    live_bytes_rise_by_what_is_allocated_and_fall_when_it_is_freed();
    each_class_counts_its_own_blocks();
    all_classes_come_from_one_snapshot();
    large_blocks_are_counted_as_large();
    prewarming_adds_cached_blocks_and_nothing_live();
    trimming_empties_the_cache_and_returns_memory();
    the_report_contains_the_numbers_in_each_format();
    a_formatter_that_fails_is_told_so();
    no_error_was_counted_and_the_structures_are_sound();
}

fn live_bytes_rise_by_what_is_allocated_and_fall_when_it_is_freed() {
    let mut held = Vec::with_capacity(1000);
    let before = hakmem::stats();
    held.extend(blocks(1000, 1024));
    let during = hakmem::stats();
    assert_eq!(during.bytes_live - before.bytes_live, 1000 * 1024);
    assert!(during.bytes_slabs >= during.bytes_live);
    assert!(during.bytes_mapped >= during.bytes_slabs);
    assert!(during.bytes_mapped_peak >= during.bytes_mapped);
    assert!(during.threads >= 1 && during.heaps >= 1 && during.map_calls >= 1);
    assert!(during.refills > before.refills);
    held.drain(..).for_each(Block::free);
    let after = hakmem::stats();
    assert_eq!(after.bytes_live, before.bytes_live);
    assert!(
        after.flushes > before.flushes,
        "1000 KiB are more than a cache keeps of one class"
    );
}

fn each_class_counts_its_own_blocks() {
    let mut held = Vec::with_capacity(77);
    let (live, _) = class(48);
    let (live_of_next, _) = class(64);
    held.extend(blocks(77, 40));
    assert_eq!(class(48).0, live + 77);
    assert_eq!(class(64).0, live_of_next);
    held.drain(..).for_each(Block::free);
    let (after, cached) = class(48);
    assert_eq!(after, live);
    assert!(cached > 0);
}

fn all_classes_come_from_one_snapshot() {
    let mut held = Vec::with_capacity(1000);
    let before: Vec<_> = hakmem::class_stats().collect();
    let snapshot = hakmem::class_stats();
    held.extend(blocks(1000, 3000));
    let during: Vec<_> = snapshot.collect();
    held.drain(..).for_each(Block::free);

    let live = |classes: &[hakmem::ClassStats]| {
        let class = classes.iter().find(|class| class.block_bytes == 3072);
        class.expect("there is such a class").blocks_live
    };
    assert_eq!(live(&during), live(&before));
    assert_eq!(during.len(), before.len());

    // The blocks of all classes and the large ones are all that is live.
    let classes = hakmem::class_stats();
    let stats = hakmem::stats();
    let small: u64 = classes
        .map(|class| class.blocks_live * class.block_bytes)
        .sum();
    assert_eq!(small + stats.bytes_large, stats.bytes_live);
}

fn large_blocks_are_counted_as_large() {
    let mut held = Vec::with_capacity(3);
    let before = hakmem::stats();
    held.extend(blocks(3, 8 * MIB as usize));
    let during = hakmem::stats();
    assert!(during.bytes_large - before.bytes_large >= 24 * MIB);
    assert!(during.bytes_live - before.bytes_live >= 24 * MIB);
    held.drain(..).for_each(Block::free);
    assert_eq!(hakmem::stats().bytes_large, before.bytes_large);
}

fn prewarming_adds_cached_blocks_and_nothing_live() {
    thread::scope(|scope| scope.spawn(prewarm_this_thread).join()).expect("no panic");
    assert_eq!(hakmem::prewarm(Prewarm::Off), 0);
}

fn prewarm_this_thread() {
    let before = hakmem::stats();
    let added = hakmem::prewarm(Prewarm::Pool) as u64;
    let after = hakmem::stats();
    assert!(added < 2 * MIB, "{added}");
    assert_eq!(after.bytes_live, before.bytes_live);
    assert_eq!(after.bytes_cached - before.bytes_cached, added);
    // Block size in KiB, and the minimum number of cached blocks.
    for (kib, blocks) in [
        (8, 16),
        (16, 16),
        (24, 12),
        (32, 8),
        (40, 8),
        (48, 4),
        (52, 4),
    ] {
        let (_, cached) = class(kib << 10);
        assert!(cached >= blocks, "{cached} blocks of {kib} KiB");
    }
    assert_eq!(hakmem::prewarm(Prewarm::Pool), 0, "nothing is left to add");
}

fn trimming_empties_the_cache_and_returns_memory() {
    let mut held = Vec::with_capacity(4064);
    held.extend(blocks(64, MIB as usize).chain(blocks(4000, 1000)));
    held.drain(..).for_each(Block::free);
    let before = hakmem::stats();
    let returned = hakmem::trim() as u64;
    let after = hakmem::stats();
    assert!(returned > 0);
    assert!(after.bytes_cached < before.bytes_cached);
    assert!(after.bytes_dirty <= before.bytes_dirty);
    assert!(after.purge_calls + after.unmap_calls > before.purge_calls + before.unmap_calls);
}

fn the_report_contains_the_numbers_in_each_format() {
    let held: Vec<_> = blocks(1, 3 * MIB as usize).collect();
    let large = hakmem::stats().bytes_large.to_string();
    let json = hakmem::report(Format::Json).to_string();
    assert!(json.contains("\"bytes_large\""), "{json}");
    assert!(json.contains(&large), "{large} is not in {json}");
    assert!(
        json.trim().starts_with('{') && json.trim().ends_with('}'),
        "{json}"
    );
    assert_eq!(json.matches('{').count(), json.matches('}').count());
    let text = hakmem::report(Format::Text).to_string();
    assert!(text.lines().count() > 10, "{text}");
    let metrics = hakmem::report(Format::Prometheus).to_string();
    let sample = format!("\nhakmem_bytes_large {large}\n");
    assert!(metrics.contains(&sample), "{sample} is not in {metrics}");
    assert!(!metrics.contains("hakmem_class_"), "{metrics}");
    let with_classes = hakmem::report(Format::PrometheusClasses).to_string();
    assert!(with_classes.contains("\nhakmem_class_slabs{block_bytes=\""));
    held.into_iter().for_each(Block::free);
}

fn a_formatter_that_fails_is_told_so() {
    struct Full;
    impl std::fmt::Write for Full {
        fn write_str(&mut self, _: &str) -> std::fmt::Result {
            Err(std::fmt::Error)
        }
    }
    assert!(std::fmt::write(&mut Full, format_args!("{}", hakmem::report(Format::Text))).is_err());
}

fn no_error_was_counted_and_the_structures_are_sound() {
    assert_eq!(hakmem::stats().errors, 0);
    assert_eq!(hakmem::validate(), 0);
    assert_eq!(hakmem::version(), env!("CARGO_PKG_VERSION"));
}
