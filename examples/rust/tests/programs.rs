// SPDX-License-Identifier: MIT OR Apache-2.0

//! The small programs run and print the expected output.

use std::process::Command;

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let word = line.and_then(|line| line.split_whitespace().next());
    word.unwrap_or_else(|| panic!("no {name:?} in {text}"))
        .parse()
        .unwrap()
}

#[test]
fn minimal_runs_on_hakmem() {
    let text = run(&mut Command::new(env!("CARGO_BIN_EXE_minimal")));
    assert!(
        text.starts_with("1000000 numbers under 1000 words\n"),
        "{text}"
    );
    // Both copies of the numbers are in Vecs. Their capacity may be up to twice as large.
    let live = number(&text, "live:");
    assert!((16_000_000..40_000_000).contains(&live), "{text}");
    assert!(number(&text, "mapped:") >= live, "{text}");
}

#[test]
fn options_are_set_read_and_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_options"));
    let text = run(command
        .env_remove("HAKMEM_THREAD_CACHE_KB")
        .env_remove("HAKMEM_PURGE_DELAY_MS"));
    assert_eq!(number(&text, "thread_cache_kb:"), 1024);
    assert_eq!(number(&text, "purge_delay_ms:"), 250);
    assert!(
        text.contains("pool_tls_arena_mb_max: 1 TiB refused\n"),
        "{text}"
    );
    for changed in ["purge_delay_ms=250", "large_cache_mb=32"] {
        assert!(text.contains(&format!("changed: {changed}\n")), "{text}");
    }
    assert!(text.contains("checks: only at start\n"), "{text}");
    assert!(
        (8 << 10..2 << 20).contains(&number(&text, "prewarmed:")),
        "{text}"
    );
    // A single-threaded program has already returned a part of it. How much depends on its chunks:
    // this one keeps 11.6 MiB, and 7.6 if its two threads had two heaps.
    assert!(
        (1 << 20..=12 << 20).contains(&number(&text, "trimmed:")),
        "{text}"
    );
}

#[test]
fn heaps_hold_a_document_a_map_and_a_sieve_and_refuse_at_the_limit() {
    let text = run(&mut Command::new(env!("CARGO_BIN_EXE_heaps")));
    // Two maps or lists, and at least four strings.
    assert!((5..20).contains(&number(&text, "document:")), "{text}");
    for line in [
        "title: A red fox\n",
        "longest chain: 77031\n",
        "primes: 78498\n",
        "primes: refused, as they need more than 4 MiB\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn environment_overrides_the_programs_options() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_options"));
    let text = run(command
        .env("HAKMEM_THREAD_CACHE_KB", "256")
        .env_remove("HAKMEM_PURGE_DELAY_MS"));
    assert_eq!(number(&text, "thread_cache_kb:"), 256);
}
