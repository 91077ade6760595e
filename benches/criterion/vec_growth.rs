// SPDX-License-Identifier: MIT OR Apache-2.0

//! A vector that doubles until it has its final size: the sequence of reallocations that
//! `Vec::push` makes.

use criterion::measurement::WallTime;
use criterion::{AxisScale, BenchmarkGroup, BenchmarkId, Criterion, PlotConfiguration, Throughput};

use crate::block::{Allocator, Block, layout};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
const FIRST_BYTES: usize = 64;
const ALIGN: usize = 8;

pub(crate) fn doubling(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vec growth");
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    for bytes in [64 * KIB, MIB, 16 * MIB] {
        group.throughput(Throughput::Bytes(bytes as u64));
        compare!(grow_to(&mut group, bytes));
    }
    group.finish();
}

fn grow_to<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    bytes: usize,
) {
    group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
        bencher.iter(|| {
            let mut block = Block::new(allocator, layout(FIRST_BYTES, ALIGN));
            let mut size = FIRST_BYTES;
            while size < bytes {
                size *= 2;
                block.grow(size);
            }
        });
    });
}
