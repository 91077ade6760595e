// SPDX-License-Identifier: MIT OR Apache-2.0

//! `make demo` completes, and its table has all rows. Like `make demo`, this test needs a C
//! compiler and make.

use std::process::Command;

#[test]
fn the_demo_compares_all_programs() {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../demo"))
        .args(["--rounds", "1", "--program-rounds", "1"])
        .args(["--documents", "300", "--requests", "500"])
        .env("DEMO_PROFILE", "dev") // already built for this test
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
