// SPDX-License-Identifier: MIT OR Apache-2.0

//! Each workload runs on each allocator, and gives the same results.

use std::process::Command;

/// The executables. The first one uses the system allocator.
const EXECUTABLES: &[&str] = &[
    env!("CARGO_BIN_EXE_macro-system"),
    env!("CARGO_BIN_EXE_macro-hakmem"),
    #[cfg(feature = "peers")]
    env!("CARGO_BIN_EXE_macro-mimalloc"),
    #[cfg(feature = "peers")]
    env!("CARGO_BIN_EXE_macro-jemalloc"),
    #[cfg(feature = "peers")]
    env!("CARGO_BIN_EXE_macro-snmalloc"),
    #[cfg(feature = "peers")]
    env!("CARGO_BIN_EXE_macro-rpmalloc"),
    #[cfg(feature = "peers")]
    env!("CARGO_BIN_EXE_macro-tcmalloc"),
];

fn run(executable: &str, arguments: &[&str]) -> String {
    let output = Command::new(executable).args(arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{executable} {arguments:?}: {}: {errors}",
        output.status
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn workloads_do_the_same_on_all_allocators() {
    for workload in run(EXECUTABLES[0], &[]).lines() {
        let mut checksums = Vec::new();
        for executable in EXECUTABLES {
            let line = run(executable, &[workload, "--tiny"]);
            let words: Vec<&str> = line.split_whitespace().collect();
            let [
                "seconds",
                seconds,
                "checksum",
                checksum,
                "peak-rss-kb",
                rss,
                "minor-faults",
                faults,
            ] = words[..]
            else {
                panic!("{executable} {workload}: {line}");
            };
            assert!(seconds.parse::<f64>().unwrap() > 0.0, "{line}");
            assert!(rss.parse::<u64>().unwrap() > 0, "{line}");
            assert!(faults.parse::<u64>().unwrap() > 0, "{line}");
            checksums.push(checksum.to_owned());
        }
        checksums.dedup();
        assert_eq!(checksums.len(), 1, "{workload}: {checksums:?}");
    }
}

#[test]
fn what_is_unknown_is_refused() {
    for arguments in [
        &["nothing"][..],
        &["json", "--fast"],
        &["json", "--tiny", "--tiny"],
        &["http-load", "nowhere"],
    ] {
        let output = Command::new(EXECUTABLES[0]).args(arguments).output();
        let output = output.unwrap();
        assert!(!output.status.success(), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
}
