// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random blocks of a working set are replaced by blocks of random size, as in a program that runs
//! for long.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::Mix;

/// Each mix with the number of blocks in its working set.
const WORKING_SETS: [(Mix, usize); 4] = [
    (Mix::Small, 4096),
    (Mix::Small, 100_000), // beyond the processor's caches
    (Mix::Mixed, 1024),
    (Mix::Buffers, 256),
];

/// Replacements of each block, on average, before the time is taken: neighbours in the order of
/// allocation are no longer neighbours in memory.
const AGE: usize = 4;

pub(crate) fn replace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("working set");
    for (mix, blocks) in WORKING_SETS {
        compare!(replace_in(&mut group, mix, blocks));
    }
    group.finish();
}

fn replace_in<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    mix: Mix,
    count: usize,
) {
    let id = BenchmarkId::new(name, format!("{count} x {}", mix.name()));
    group.bench_function(id, |bencher| {
        let mut random = Random::new(0);
        let mut blocks: Vec<_> = (0..count)
            .map(|_| Some(Block::new(allocator, mix.layout(&mut random))))
            .collect();
        let mut replace_one = || {
            let slot = random.below(count);
            blocks[slot] = None; // frees the old block first
            blocks[slot] = Some(Block::new(allocator, mix.layout(&mut random)));
        };
        for _ in 0..AGE * count {
            replace_one();
        }
        bencher.iter(replace_one);
    });
}
