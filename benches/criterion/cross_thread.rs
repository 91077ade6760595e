// SPDX-License-Identifier: MIT OR Apache-2.0

//! One thread allocates, another frees: what a queue between two stages of a service does.

use std::array;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput};

use crate::block::{Allocator, Block, layout};

const ALIGN: usize = 8;

/// Blocks go over in batches, by value: the channel must not cost more than the allocator, nor
/// allocate.
const BATCH_BLOCKS: u64 = 64;
type Batch<A> = [Option<Block<A>>; BATCH_BLOCKS as usize];

/// Batches on their way at most: the producer cannot run ahead.
const CHANNEL_BATCHES: usize = 16;

pub(crate) fn producer_consumer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("cross thread");
    group.throughput(Throughput::Elements(1));
    for size in [64, 4096] {
        compare!(hand_over(&mut group, size));
    }
    group.finish();
}

fn hand_over<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
) {
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter_custom(|blocks| produce(allocator, size, blocks));
    });
}

/// The time from the first allocation to the last release of `blocks` blocks.
fn produce<A: Allocator>(allocator: &'static A, size: usize, blocks: u64) -> Duration {
    let layout = layout(size, ALIGN);
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel::<Batch<A>>(CHANNEL_BATCHES);
        let consumer = scope.spawn(move || receiver.into_iter().for_each(drop));
        let start = Instant::now();
        let mut left = blocks;
        while left > 0 {
            let count = left.min(BATCH_BLOCKS);
            let batch =
                array::from_fn(|i| ((i as u64) < count).then(|| Block::new(allocator, layout)));
            sender
                .send(batch)
                .expect("the consumer ends after the producer");
            left -= count;
        }
        drop(sender);
        consumer.join().expect("the consumer does not panic");
        start.elapsed()
    })
}
