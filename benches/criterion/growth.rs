// SPDX-License-Identifier: MIT OR Apache-2.0

//! Doubles the size of blocks until they have their final size. This is the sequence of
//! reallocations of `Vec::push` and `String::push_str`.

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, SamplingMode, Throughput};

use crate::block::{Allocator, Block};
use crate::sizes::{ALIGN, KIB, MIB, group_by_size, layout};

const VECTOR_FIRST_BYTES: usize = 64;
const STRING_FIRST_BYTES: usize = 8;

/// Number of strings that grow alternately. With a single string, growth in place would be too
/// easy.
const STRINGS: usize = 16;

pub(crate) fn of_vectors(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "vec growth");
    group.sampling_mode(SamplingMode::Flat); // large blocks take a long time
    for bytes in [64 * KIB, MIB, 16 * MIB, 64 * MIB] {
        group.throughput(Throughput::Bytes(bytes as u64));
        compare!(grow_vector(&mut group, bytes));
    }
    group.finish();
}

pub(crate) fn of_strings(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "string growth");
    for bytes in [128, 4 * KIB] {
        group.throughput(Throughput::Elements(STRINGS as u64));
        compare!(grow_strings(&mut group, bytes));
    }
    group.finish();
}

fn grow_vector<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    bytes: usize,
) {
    group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
        bencher.iter(|| {
            let mut block = Block::new(allocator, layout(VECTOR_FIRST_BYTES, ALIGN));
            let mut size = VECTOR_FIRST_BYTES;
            while size < bytes {
                size *= 2;
                block.grow(size);
            }
        });
    });
}

fn grow_strings<A: Allocator>(
    name: &str,
    allocator: &'static A,
    group: &mut BenchmarkGroup<'_, WallTime>,
    bytes: usize,
) {
    let first = layout(STRING_FIRST_BYTES, 1);
    group.bench_function(BenchmarkId::new(name, bytes), |bencher| {
        bencher.iter(|| {
            let mut strings: [_; STRINGS] = std::array::from_fn(|_| Block::new(allocator, first));
            let mut size = STRING_FIRST_BYTES;
            while size < bytes {
                size *= 2;
                strings.iter_mut().for_each(|string| string.grow(size));
            }
        });
    });
}
