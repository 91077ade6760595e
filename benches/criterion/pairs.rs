// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocates a block and frees it at once. This is an allocator's shortest path, because it reuses
//! the same block again and again.

use std::alloc::Layout;
use std::marker::PhantomData;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

use crate::block::{Allocator, Block};
use crate::sizes::{ALIGN, KIB, MIB, group_by_size, layout};

const SIZES: [usize; 12] = [
    8,
    16,
    64,
    256,
    KIB,
    4 * KIB,
    8 * KIB,
    32 * KIB,
    128 * KIB,
    512 * KIB,
    MIB,
    4 * MIB,
];

pub(crate) fn plain(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "pair");
    for size in SIZES {
        compare!(pair(&mut group, size, ALIGN));
    }
    group.finish();
}

/// Like `Box`, where the compiler knows the layout.
pub(crate) fn constant(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "box");
    compare!(boxed(&mut group, PhantomData::<[u64; 2]>));
    compare!(boxed(&mut group, PhantomData::<[u64; 32]>));
    group.finish();
}

pub(crate) fn zeroed(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "zeroed pair");
    for size in [64, 4 * KIB, 64 * KIB, MIB] {
        compare!(zeroed_pair(&mut group, size));
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

fn boxed<A: Allocator, T>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    _contents: PhantomData<T>,
) {
    let layout = const { Layout::new::<T>() };
    group.bench_function(BenchmarkId::new(name, layout.size()), |bencher| {
        bencher.iter(|| drop(Block::new(allocator, const { Layout::new::<T>() })));
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
