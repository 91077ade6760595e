// SPDX-License-Identifier: MIT OR Apache-2.0

//! Doubles the size of blocks until they have their final size. This is the sequence of
//! reallocations of `Vec::push` and `String::push_str`.

use std::array;

use criterion::{Criterion, SamplingMode, Throughput};

use crate::block::Block;
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
        compare!(group, bytes, |allocator, bencher| bencher.iter(|| {
            let mut block = Block::new(allocator, layout(VECTOR_FIRST_BYTES, ALIGN));
            let mut size = VECTOR_FIRST_BYTES;
            while size < bytes {
                size *= 2;
                block.grow(size);
            }
        }));
    }
    group.finish();
}

pub(crate) fn of_strings(criterion: &mut Criterion) {
    let mut group = group_by_size(criterion, "string growth");
    let first = layout(STRING_FIRST_BYTES, 1);
    for bytes in [128, 4 * KIB] {
        group.throughput(Throughput::Elements(STRINGS as u64));
        compare!(group, bytes, |allocator, bencher| bencher.iter(|| {
            let mut strings: [_; STRINGS] = array::from_fn(|_| Block::new(allocator, first));
            let mut size = STRING_FIRST_BYTES;
            while size < bytes {
                size *= 2;
                strings.iter_mut().for_each(|string| string.grow(size));
            }
        }));
    }
    group.finish();
}
