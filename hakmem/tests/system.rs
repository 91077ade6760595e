//! The functions of the crate where the system allocator replaces hakmem.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(hakmem_system)]

use std::time::Duration;

use hakmem::options::{self, Error};
use hakmem::{Format, Heap, Prewarm, Stats, guard, heap, profile};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
hakmem::conf!("purge_delay_ms=123");

#[test]
fn nothing_is_counted() {
    let held = vec![1_u8; 1 << 20];
    assert_eq!(hakmem::stats(), Stats::default());
    assert_eq!(hakmem::class_stats().len(), 0);
    assert_eq!(held.len(), 1 << 20);
    assert_eq!(hakmem::trim(), 0);
    assert_eq!(hakmem::prewarm(Prewarm::All), 0);
    assert_eq!(hakmem::validate(), 0);
    assert_eq!(hakmem::report(Format::Json).to_string(), "{}\n");
    assert_eq!(hakmem::report(Format::Prometheus).to_string(), "");
}

#[test]
fn there_are_no_options() {
    assert_eq!(options::all().count(), 0);
    assert_eq!(options::get("purge_delay_ms"), Err(Error::Unknown));
    assert_eq!(options::set("purge_delay_ms", "5"), Err(Error::Unknown));
    assert_eq!(options::PURGE_DELAY.get(), Err(Error::Unknown));
    let delay = Duration::from_millis(5);
    assert_eq!(options::PURGE_DELAY.set(delay), Err(Error::Unknown));
}

#[test]
fn there_are_no_profiles() {
    let started = profile::start(profile::Options::default());
    assert_eq!(started.err(), Some(profile::Error::Unsupported));
    assert!(!profile::is_running());
    let written = profile::pprof(|_| panic!("nothing is written"));
    assert_eq!(written, Err(profile::Error::Unsupported));
    profile::stop();
}

#[test]
fn there_are_no_guard_pages() {
    assert_eq!(guard::start(1000, 128), Err(guard::Error::Unsupported));
    assert!(!guard::is_running());
    guard::stop();
}

#[test]
fn there_are_no_private_heaps() {
    assert_eq!(Heap::new().err(), Some(heap::Error::Unsupported));
}
