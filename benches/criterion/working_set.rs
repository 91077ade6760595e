// SPDX-License-Identifier: MIT OR Apache-2.0

//! Random blocks of a working set are replaced by blocks of random size, as in a program that runs
//! for long.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

use crate::block::{Allocator, Block, layout};
use crate::random::Random;

const ALIGN: usize = 8; // of most Rust types

/// A distribution of sizes: 2^e to 2^(e+1) bytes, each e within the range as likely.
#[derive(Clone, Copy)]
struct Mix {
    name: &'static str,
    blocks: usize,
    exponents: (usize, usize),
}

const MIXES: [Mix; 2] = [
    Mix {
        name: "small",
        blocks: 4096,
        exponents: (4, 8),
    },
    Mix {
        name: "mixed",
        blocks: 1024,
        exponents: (4, 16),
    },
];

impl Mix {
    fn size(&self, random: &mut Random) -> usize {
        let (least, end) = self.exponents;
        let base = 1 << (least + random.below(end - least));
        base + random.below(base)
    }

    fn block<A: Allocator>(&self, allocator: &'static A, random: &mut Random) -> Block<A> {
        Block::new(allocator, layout(self.size(random), ALIGN))
    }
}

pub(crate) fn replace(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("working set");
    group.throughput(Throughput::Elements(1));
    for mix in MIXES {
        compare!(replace_in(&mut group, mix));
    }
    group.finish();
}

fn replace_in<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    mix: Mix,
) {
    group.bench_function(BenchmarkId::new(name, mix.name), |bencher| {
        let mut random = Random::new();
        let mut blocks: Vec<_> = (0..mix.blocks)
            .map(|_| Some(mix.block(allocator, &mut random)))
            .collect();
        bencher.iter(|| {
            let slot = random.below(mix.blocks);
            blocks[slot] = None; // frees the old block first
            blocks[slot] = Some(mix.block(allocator, &mut random));
        });
    });
}
