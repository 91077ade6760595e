// SPDX-License-Identifier: MIT OR Apache-2.0

//! Block sizes: units, random sizes, and groups of benchmarks with different sizes.

use std::alloc::Layout;

use criterion::measurement::WallTime;
use criterion::{AxisScale, BenchmarkGroup, Criterion, PlotConfiguration};

use crate::random::Random;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// The alignment of most Rust types.
pub(crate) const ALIGN: usize = 8;

/// Returns a layout of `size` bytes, aligned to `align`, which must be a power of two.
pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("sizes and alignments of the benchmarks are valid")
}

/// A distribution of sizes.
#[derive(Clone, Copy)]
pub(crate) enum Mix {
    /// 16 to 255 bytes, with smaller sizes more likely. These are most allocations of most
    /// programs.
    Small,
    /// 16 bytes to 64 KiB, with smaller sizes more likely.
    Mixed,
    /// 8 to 52 KiB, all sizes equally likely, as for buffers.
    Buffers,
}

impl Mix {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Mixed => "mixed",
            Self::Buffers => "8-52 KiB",
        }
    }

    pub(crate) fn layout(self, random: &mut Random) -> Layout {
        let size = match self {
            Self::Small => octave(4, 8, random),
            Self::Mixed => octave(4, 16, random),
            Self::Buffers => 8 * KIB + random.below(44 * KIB + 1),
        };
        layout(size, ALIGN)
    }
}

/// Returns a number from 2^e to 2^(e+1) - 1. All e from `least` to `end` - 1 are equally likely.
fn octave(least: usize, end: usize, random: &mut Random) -> usize {
    let base = 1 << (least + random.below(end - least));
    base + random.below(base)
}

/// Creates a group of benchmarks with different sizes. Its chart has a logarithmic axis.
pub(crate) fn group_by_size<'a>(
    criterion: &'a mut Criterion,
    name: &str,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    group
}
