// SPDX-License-Identifier: MIT OR Apache-2.0

//! Sizes of blocks: units, random ones, groups of benchmarks that differ in the size.

use std::alloc::Layout;

use criterion::measurement::WallTime;
use criterion::{AxisScale, BenchmarkGroup, Criterion, PlotConfiguration};

use crate::random::Random;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// The alignment of most Rust types.
pub(crate) const ALIGN: usize = 8;

/// The layout of `size` bytes, aligned to `align`, a power of two.
pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).expect("sizes and alignments of the benchmarks are valid")
}

/// A distribution of sizes.
#[derive(Clone, Copy)]
pub(crate) enum Mix {
    /// 16 to 255 bytes, the smaller ones the more likely: what most programs ask for most.
    Small,
    /// 16 bytes to 64 KiB, the smaller ones the more likely.
    Mixed,
    /// 8 to 52 KiB, each as likely: buffers.
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

/// 2^e to 2^(e+1) - 1, each e from `least` to `end` - 1 as likely.
fn octave(least: usize, end: usize, random: &mut Random) -> usize {
    let base = 1 << (least + random.below(end - least));
    base + random.below(base)
}

/// A group whose benchmarks differ in size: its chart has a logarithmic axis.
pub(crate) fn group_by_size<'a>(
    criterion: &'a mut Criterion,
    name: &str,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.plot_config(PlotConfiguration::default().summary_scale(AxisScale::Logarithmic));
    group
}
