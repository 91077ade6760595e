// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocates many blocks, then frees all of them: last in first out, first in first out, or in
//! random order.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

use crate::block::{Allocator, Batch};
use crate::random::Random;
use crate::sizes::{ALIGN, KIB, layout};

/// Number of blocks in a batch, and size of a block. The cases fit into the L1 cache, fit into the
/// thread cache or not, exceed the processor's caches, and are buffers.
const BATCHES: [(usize, usize); 4] = [(100, 64), (1000, KIB), (100_000, 64), (100, 16 * KIB)];

#[derive(Clone, Copy)]
enum Order {
    Lifo,
    Fifo,
    Random,
}

impl Order {
    fn name(self) -> &'static str {
        match self {
            Self::Lifo => "batch lifo",
            Self::Fifo => "batch fifo",
            Self::Random => "batch random",
        }
    }

    /// Returns the order in which `count` blocks are freed. It is always a list, so that all orders
    /// take the same work.
    fn indices(self, count: usize) -> Vec<usize> {
        let mut indices: Vec<_> = (0..count).collect();
        match self {
            Self::Fifo => {}
            Self::Lifo => indices.reverse(),
            Self::Random => {
                let mut random = Random::new(0);
                for last in (1..count).rev() {
                    indices.swap(last, random.below(last + 1));
                }
            }
        }
        indices
    }
}

pub(crate) fn in_order(criterion: &mut Criterion) {
    for order in [Order::Lifo, Order::Fifo, Order::Random] {
        let mut group = criterion.benchmark_group(order.name());
        group.sampling_mode(SamplingMode::Flat); // large batches take a long time
        for (count, size) in BATCHES {
            group.throughput(Throughput::Elements(count as u64));
            let indices = order.indices(count);
            compare!(fill_and_free(&mut group, size, &indices));
        }
        group.finish();
    }
}

fn fill_and_free<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
    indices: &[usize],
) {
    let id = BenchmarkId::new(name, format!("{} x {size}", indices.len()));
    group.bench_function(id, |bencher| {
        let mut batch = Batch::new(allocator, layout(size, ALIGN), indices.len());
        bencher.iter(|| {
            batch.fill();
            for &index in indices {
                batch.free(index);
            }
        });
    });
}
