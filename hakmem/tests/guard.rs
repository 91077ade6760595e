//! Guard pages. A process has one guard, so this is a single test in its own process. It runs
//! itself again as a child that makes a mistake.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::env;
use std::hint::black_box;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::ptr;
use std::thread;

use hakmem::guard::{self, Error};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

const MISTAKE: &str = "GUARD_TEST_MISTAKE";
const SIGSEGV: i32 = 11;
const BYTES: usize = 100;

/// Reads a vector after it was dropped.
fn read_after_free() {
    let bytes = black_box(vec![1_u8; BYTES]);
    let first = bytes.as_ptr();
    drop(bytes);
    // SAFETY: this is the mistake that the test makes. The pages are inaccessible.
    black_box(unsafe { ptr::read_volatile(black_box(first)) });
}

fn make_mistake() {
    guard::start(1, guard::DEFAULT_SLOTS).unwrap();
    thread::spawn(read_after_free).join().unwrap();
}

/// Grows vectors while all allocations are guarded, up to the number of slots.
fn work() -> u64 {
    let mut kept = Vec::new();
    for i in 0..1000_u64 {
        let mut values = Vec::new();
        for k in 0..i % 50 {
            values.push(i + k);
        }
        kept.push(values);
    }
    kept.iter().flatten().sum()
}

#[test]
fn a_program_works_while_its_blocks_are_guarded_and_a_use_after_free_is_reported() {
    if env::var_os(MISTAKE).is_some() {
        make_mistake();
        return;
    }

    let expected = work();
    assert_eq!(guard::start(0, 128), Err(Error::Invalid));
    assert_eq!(guard::start(1, 0), Err(Error::Invalid));
    guard::start(1, 1000).unwrap();
    assert!(guard::is_running());
    assert_eq!(guard::start(1, 1000), Err(Error::Running));
    let block = black_box(Box::new([1_u8; BYTES]));
    assert!(hakmem::stats().bytes_guarded >= BYTES as u64);
    assert_eq!(thread::spawn(work).join().unwrap(), expected);
    assert_eq!(work(), expected);
    guard::stop();
    assert!(!guard::is_running());
    drop(block);
    assert_eq!(hakmem::stats().errors, 0);
    assert_eq!(hakmem::validate(), 0);

    let output = Command::new(env::current_exe().unwrap())
        .arg("--nocapture")
        .env(MISTAKE, "1")
        .output()
        .unwrap();
    let report = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.signal(), Some(SIGSEGV), "{report}");
    assert!(report.contains("hakmem: use after free: "), "{report}");
    assert!(
        report.contains(", 0 bytes into the block of 100 bytes at 0x"),
        "{report}"
    );
    for line in [
        "  access by thread ",
        "  allocated by thread ",
        "  freed by thread ",
        "module guard-",
    ] {
        assert!(report.contains(&format!("\n{line}")), "{report}");
    }
}
