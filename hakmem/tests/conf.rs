//! Options that a program sets at link time.
//
// SPDX-License-Identifier: MIT OR Apache-2.0
#![cfg(not(hakmem_system))]

use std::env;
use std::process::Command;
use std::time::Duration;

use hakmem::options;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;
hakmem::conf!("purge_delay_ms=123,heaps=3");

#[test]
fn conf_sets_options_before_the_first_allocation() {
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::from_millis(123)));
    assert_eq!(options::HEAPS.get(), Ok(3));
}

/// Runs itself again, because the environment is read at the start of a process.
#[test]
fn the_environment_takes_precedence() {
    let program = env::current_exe().expect("a test has a path");
    let output = Command::new(program)
        .args(["--ignored", "--exact", "what_the_environment_left"])
        .env("HAKMEM_PURGE_DELAY_MS", "456")
        .output()
        .expect("the test runs again");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}

#[test]
#[ignore = "runs in the environment that the test above sets"]
fn what_the_environment_left() {
    assert_eq!(options::PURGE_DELAY.get(), Ok(Duration::from_millis(456)));
    assert_eq!(options::HEAPS.get(), Ok(3));
}
