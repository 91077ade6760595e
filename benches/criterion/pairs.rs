// SPDX-License-Identifier: MIT OR Apache-2.0

//! One allocation and its release at once: the shortest path an allocator has, with the same block
//! over and over.

use criterion::measurement::WallTime;
use criterion::{AxisScale, BenchmarkGroup, BenchmarkId, Criterion, PlotConfiguration, Throughput};

use crate::block::{Allocator, Block, layout};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// The alignment of malloc.
const ALIGN: usize = 16;

/// A group whose benchmarks differ in size: its chart has a logarithmic axis.
fn group_by_size<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Elements(1))
        .plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    group
}

pub(crate) fn plain(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "pair");
    for size in [16, 64, 256, KIB, 8 * KIB, 32 * KIB, 128 * KIB, MIB] {
        compare!(pair(&mut group, size, ALIGN));
    }
    group.finish();
}

pub(crate) fn aligned(criterion: &mut Criterion) {
    for (align, sizes) in [(64, [64, 192, 4 * KIB]), (4096, [64, 4 * KIB, 64 * KIB])] {
        let mut group = group_by_size(criterion, &format!("aligned to {align}"));
        for size in sizes {
            compare!(pair(&mut group, size, align));
        }
        group.finish();
    }
}

pub(crate) fn zeroed(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "zeroed pair");
    for size in [64, 4 * KIB, 64 * KIB, MIB] {
        compare!(zeroed_pair(&mut group, size));
    }
    group.finish();
}

fn pair<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
    align: usize,
) {
    let layout = layout(size, align);
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| drop(Block::new(allocator, layout)));
    });
}

fn zeroed_pair<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    size: usize,
) {
    let layout = layout(size, ALIGN);
    group.bench_function(BenchmarkId::new(name, size), |bencher| {
        bencher.iter(|| drop(Block::zeroed(allocator, layout)));
    });
}
