// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make demo` runs to its end and its table has all rows. Needs what it needs: a C compiler, make.

use std::process::Command;

#[test]
fn the_demo_compares_all_programs() {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo"))
        .args(["--rounds", "1", "--program-rounds", "1"])
        .args(["--documents", "300", "--requests", "500"])
        .env("DEMO_PROFILE", "dev") // built already, for this test
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    for line in [
        "   round 1 of 1  hakmem ",
        "   round 1 of 1  system ",
        "   replace: malloc is that of hakmem ",
        "HTTP service, 1 rounds",
        "  requests/s ",
        "  latency p50, ms ",
        "  latency p99, ms ",
        "  peak RSS, MiB ",
        "bench_random_mixed ",
        "  operations/s, million ",
        "Done in ",
    ] {
        let found = text.lines().any(|l| l.starts_with(line));
        assert!(found, "no line {line:?} in:\n{text}");
    }
}
