// SPDX-License-Identifier: MIT OR Apache-2.0

//! Private heaps: existing code in a heap of its own, a map that is dropped without a walk over its
//! entries, and a phase with a limit.

use std::mem;

use allocator_api2::vec::Vec;
use anyhow::Context;
use hakmem::Heap;
use hakmem::heap::{Error, Options};
use hashbrown::{DefaultHashBuilder, HashMap};
use serde_json::Value;

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

fn main() -> anyhow::Result<()> {
    let title = existing_code(r#"{"title": "A red fox", "tags": ["animal", "red"]}"#)?;
    println!("title: {title}");
    println!("longest chain: {}", longest_chain(100_000)?);
    println!("primes: {}", primes(1_000_000)?.context("refused")?);
    match primes(100_000_000)? {
        None => println!("primes: refused, as they need more than 4 MiB"),
        Some(count) => anyhow::bail!("{count} primes in 4 MiB"),
    }
    Ok(())
}

/// Runs code that knows nothing of heaps, and shows the memory that it uses. The result stays valid
/// after the heap, and so would everything else that the code keeps.
fn existing_code(text: &str) -> anyhow::Result<String> {
    let heap = Heap::with(Options::default().name("request"))?;
    let document: Value = heap.scope(|| serde_json::from_str(text))?;
    let stats = heap.stats();
    println!(
        "document: {} blocks, {} bytes",
        stats.blocks_live, stats.bytes_live
    );
    let title = document["title"].as_str().context("no title")?;
    Ok(title.to_owned())
}

/// Returns the start of the longest Collatz chain below `end`. The lengths of all chains are in a
/// map in a heap. The entries need no destructors, so the heap frees the map and the numbers in one
/// step.
fn longest_chain(end: u64) -> Result<u64, Error> {
    let heap = Heap::with(Options::default().name("chains"))?;
    let mut lengths = HashMap::with_hasher_in(DefaultHashBuilder::default(), &heap);
    lengths.insert(1, 1);
    let mut chain = Vec::new_in(&heap);
    for start in 1..end {
        let mut number: u64 = start;
        while !lengths.contains_key(&number) {
            chain.push(number);
            number = if number % 2 == 0 {
                number / 2
            } else {
                3 * number + 1
            };
        }
        let mut length = lengths[&number];
        while let Some(number) = chain.pop() {
            length += 1;
            lengths.insert(number, length);
        }
    }
    let longest = (1..end).max_by_key(|start| lengths[start]);
    mem::forget((lengths, chain));
    Ok(longest.unwrap_or(1))
}

/// Returns the number of primes below `end`, or nothing if the sieve would exceed 4 MiB.
fn primes(end: usize) -> Result<Option<usize>, Error> {
    let heap = Heap::with(Options::default().name("sieve").limit(4 << 20))?;
    let mut composite = Vec::new_in(&heap);
    if composite.try_reserve_exact(end).is_err() {
        return Ok(None);
    }

    composite.resize(end, false);
    for number in (2..end).take_while(|number| number * number < end) {
        if !composite[number] {
            for multiple in (number * number..end).step_by(number) {
                composite[multiple] = true;
            }
        }
    }
    Ok(Some(composite.iter().skip(2).filter(|&&c| !c).count()))
}
