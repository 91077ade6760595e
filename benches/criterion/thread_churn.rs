// SPDX-License-Identifier: MIT OR Apache-2.0

//! Short-lived threads. Each frees the blocks of its predecessor, allocates blocks, frees half of
//! them in random order, leaves the other half to its successor, and exits.

use std::array;
use std::thread;

use criterion::{Criterion, SamplingMode};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::Mix;

/// Number of concurrent threads.
const THREADS: usize = 2;

/// The blocks and random numbers that a thread passes to its successor.
struct Estate<A: Allocator> {
    random: Random,
    blocks: Vec<Block<A>>,
}

impl<A: Allocator> Estate<A> {
    /// Runs the work of a thread that allocates `count` blocks.
    fn live(&mut self, allocator: &'static A, count: usize) {
        self.blocks.clear();
        for _ in 0..count {
            let layout = Mix::Small.layout(&mut self.random);
            self.blocks.push(Block::new(allocator, layout));
        }
        for left in (count / 2 + 1..=count).rev() {
            self.blocks.swap_remove(self.random.below(left));
        }
    }
}

pub(crate) fn generations(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("thread churn");
    group.sampling_mode(SamplingMode::Flat);
    for count in [100, 2000] {
        compare!(group, count, |allocator, bencher| {
            let estate = |stream| Estate {
                random: Random::new(stream),
                blocks: Vec::with_capacity(count),
            };
            let mut estates: [_; THREADS] = array::from_fn(estate);
            bencher.iter(|| {
                thread::scope(|scope| {
                    for estate in &mut estates {
                        scope.spawn(move || estate.live(allocator, count));
                    }
                });
            });
        });
    }
    group.finish();
}
