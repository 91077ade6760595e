// SPDX-License-Identifier: MIT OR Apache-2.0

//! A minimal program with hakmem as its global allocator, which takes two lines. It prints
//! statistics as proof.

use std::collections::HashMap;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

fn main() {
    let numbers: Vec<u64> = (0..1_000_000).collect();
    let mut words: HashMap<String, Vec<u64>> = HashMap::new();
    for number in &numbers {
        let word = format!("remainder {}", number % 1000);
        words.entry(word).or_default().push(*number);
    }

    let stats = hakmem::stats();
    println!("{} numbers under {} words", numbers.len(), words.len());
    println!("live:   {:>9} bytes", stats.bytes_live);
    println!("cached: {:>9} bytes", stats.bytes_cached);
    println!(
        "mapped: {:>9} bytes in {} calls of mmap",
        stats.bytes_mapped, stats.map_calls
    );
}
