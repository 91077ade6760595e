// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocates many blocks, then frees all of them: last in first out, first in first out, or in
//! random order.

use criterion::{Criterion, SamplingMode, Throughput};

use crate::block::Batch;
use crate::random::Random;
use crate::sizes::{ALIGN, KIB, layout};

/// Number of blocks in a batch, and size of a block. The cases fit into the L1 cache, fit into the
/// thread cache or not, exceed the processor's caches, and are buffers.
const BATCHES: [(usize, usize); 4] = [(100, 64), (1000, KIB), (100_000, 64), (100, 16 * KIB)];

/// Puts the indices of all blocks into the order in which they are freed.
type Arrange = fn(&mut [usize]);

const ORDERS: [(&str, Arrange); 3] = [
    ("batch lifo", |indices| indices.reverse()),
    ("batch fifo", |_| {}),
    ("batch random", shuffle),
];

fn shuffle(indices: &mut [usize]) {
    let mut random = Random::new(0);
    for last in (1..indices.len()).rev() {
        indices.swap(last, random.below(last + 1));
    }
}

pub(crate) fn in_order(criterion: &mut Criterion) {
    for (name, arrange) in ORDERS {
        let mut group = criterion.benchmark_group(name);
        group.sampling_mode(SamplingMode::Flat); // large batches take a long time
        for (count, size) in BATCHES {
            group.throughput(Throughput::Elements(count as u64));
            // Always a list, so that all orders take the same work.
            let mut indices: Vec<_> = (0..count).collect();
            arrange(&mut indices);
            compare!(group, format!("{count} x {size}"), |allocator, bencher| {
                let mut batch = Batch::new(allocator, layout(size, ALIGN), count);
                bencher.iter(|| {
                    batch.fill();
                    for &index in &indices {
                        batch.free(index);
                    }
                });
            });
        }
        group.finish();
    }
}
