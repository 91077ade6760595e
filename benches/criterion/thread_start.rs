// SPDX-License-Identifier: MIT OR Apache-2.0

//! How long a new thread waits for its first blocks.

use std::array;
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode};

use crate::block::{Allocator, Block};
use crate::random::Random;
use crate::sizes::Mix;

const FIRST_BLOCKS: usize = 16;

pub(crate) fn first_blocks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("thread start");
    group.sampling_mode(SamplingMode::Flat); // starting the thread takes longer than what is timed
    for mix in [Mix::Small, Mix::Buffers] {
        compare!(start(&mut group, mix, || ()));
        start(
            "hakmem pre-warmed",
            &hakmem::Hakmem,
            &mut group,
            mix,
            || _ = hakmem::prewarm(hakmem::Prewarm::All),
        );
    }
    group.finish();
}

/// `prepare` is what a thread does before it is measured.
fn start<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    mix: Mix,
    prepare: fn(),
) {
    let mut random = Random::new(0);
    let layouts: [_; FIRST_BLOCKS] = array::from_fn(|_| mix.layout(&mut random));
    let thread = move || {
        prepare();
        let start = Instant::now();
        let blocks = black_box(layouts.map(|layout| Block::new(allocator, layout)));
        let elapsed = start.elapsed();
        drop(blocks);
        elapsed
    };
    group.bench_function(BenchmarkId::new(name, mix.name()), |bencher| {
        bencher.iter_custom(|threads| {
            (0..threads)
                .map(|_| thread::spawn(thread).join().expect("it does not panic"))
                .sum::<Duration>()
        });
    });
}
