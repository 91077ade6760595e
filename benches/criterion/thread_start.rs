// SPDX-License-Identifier: MIT OR Apache-2.0

//! The time that a new thread takes to allocate its first blocks.

use std::array;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkId, Criterion, SamplingMode};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::Mix;

const FIRST_BLOCKS: usize = 16;

/// Number of threads that are alive at the same time, like workers. A thread therefore cannot reuse
/// the cache of the previous one.
const POOL_THREADS: usize = 16;

pub(crate) fn first_blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("thread start");
    group.sampling_mode(SamplingMode::Flat); // thread start takes longer than the measured work
    for mix in [Mix::Small, Mix::Buffers] {
        compare!(group, mix.name(), |allocator, bencher| {
            start(bencher, allocator, mix, || ())
        });
        let id = BenchmarkId::new("hakmem pre-warmed", mix.name());
        let prewarm = || _ = hakmem::prewarm(hakmem::Prewarm::All);
        group.bench_function(id, |bencher| start(bencher, &hakmem::Hakmem, mix, prewarm));
    }
    group.finish();
}

/// Measures the first allocations of a thread. The thread calls `prepare` before the measurement.
fn start<A: Allocator>(
    bencher: &mut Bencher<'_, WallTime>,
    allocator: &'static A,
    mix: Mix,
    prepare: fn(),
) {
    let mut random = Random::new(0);
    let layouts: [_; FIRST_BLOCKS] = array::from_fn(|_| mix.layout(&mut random));
    let wait_for_blocks = || {
        prepare();
        let start = Instant::now();
        let blocks = black_box(layouts.map(|layout| Block::new(allocator, layout)));
        (start.elapsed(), blocks)
    };
    bencher.iter_custom(|threads| {
        (0..threads)
            .step_by(POOL_THREADS)
            .map(|started| POOL_THREADS.min((threads - started) as usize))
            .map(|count| pool(count, wait_for_blocks))
            .sum()
    });
}

/// Starts `count` threads one after the other, and returns the sum of their times. All threads stay
/// alive until the last one has finished its work.
fn pool<T>(count: usize, work: impl Fn() -> (Duration, T) + Copy + Send) -> Duration {
    let finished = Barrier::new(count + 1);
    let (sender, reports) = sync_channel(count);
    thread::scope(|scope| {
        let waited = (0..count)
            .map(|_| {
                let (sender, finished) = (sender.clone(), &finished);
                scope.spawn(move || {
                    let (elapsed, blocks) = work();
                    sender.send(elapsed).expect("the receiver outlives it");
                    finished.wait();
                    drop(blocks);
                });
                reports.recv().expect("a thread reports before it ends")
            })
            .sum();
        finished.wait();
        waited
    })
}
