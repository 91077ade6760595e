// SPDX-License-Identifier: MIT OR Apache-2.0

//! Allocates a block and frees it at once. This is an allocator's shortest path, because it reuses
//! the same block again and again.

use std::alloc::Layout;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};

use crate::block::Block;
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
        pair(&mut group, size, ALIGN);
    }
    group.finish();
}

pub(crate) fn aligned(criterion: &mut Criterion) {
    for (align, sizes) in [(64, [64, 192, 4 * KIB]), (4096, [64, 4 * KIB, 64 * KIB])] {
        let mut group = group_by_size(criterion, &format!("aligned to {align}"));
        for size in sizes {
            pair(&mut group, size, align);
        }
        group.finish();
    }
}

fn pair(group: &mut BenchmarkGroup<'_, WallTime>, size: usize, align: usize) {
    let layout = layout(size, align);
    compare!(group, size, |allocator, bencher| {
        bencher.iter(|| drop(Block::new(allocator, layout)))
    });
}

/// Like `Box`, where the compiler knows the layout.
pub(crate) fn constant(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "box");
    boxed::<[u64; 2]>(&mut group);
    boxed::<[u64; 32]>(&mut group);
    group.finish();
}

fn boxed<T>(group: &mut BenchmarkGroup<'_, WallTime>) {
    compare!(group, size_of::<T>(), |allocator, bencher| {
        bencher.iter(|| drop(Block::new(allocator, const { Layout::new::<T>() })))
    });
}

pub(crate) fn zeroed(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "zeroed pair");
    for size in [64, 4 * KIB, 64 * KIB, MIB] {
        let layout = layout(size, ALIGN);
        compare!(group, size, |allocator, bencher| {
            bencher.iter(|| drop(Block::zeroed(allocator, layout)))
        });
    }
    group.finish();
}
