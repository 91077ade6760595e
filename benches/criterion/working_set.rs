// SPDX-License-Identifier: MIT OR Apache-2.0

//! Replaces random blocks of a working set with blocks of random size, as in a long-running
//! program.

use criterion::Criterion;

use crate::block::Block;
use crate::random::Random;
use crate::sizes::Mix;

/// The mixes with the numbers of blocks in their working sets.
const WORKING_SETS: [(Mix, usize); 4] = [
    (Mix::Small, 4096),
    (Mix::Small, 100_000), // exceeds the processor's caches
    (Mix::Mixed, 1024),
    (Mix::Buffers, 256),
];

/// Average number of replacements of each block before the measurement. After these, the order of
/// allocation and the order in memory are unrelated.
const AGE: usize = 4;

pub(crate) fn replace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("working set");
    for (mix, count) in WORKING_SETS {
        compare!(
            group,
            format!("{count} x {}", mix.name()),
            |allocator, bencher| {
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
            }
        );
    }
    group.finish();
}
