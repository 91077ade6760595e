// SPDX-License-Identifier: MIT OR Apache-2.0

//! Threads apply operations to images. Each operation creates a new buffer, mostly of
//! 64 KiB to 4 MiB.

use std::collections::VecDeque;

use fastrand::Rng;

use crate::Size;
use crate::input::log_uniform;
use crate::measure::{Outcome, hash, sum_of_threads, timed};

const THREADS: usize = 2;
const IMAGES_PER_THREAD: usize = 400;
const SIDE_MIN: usize = 256;
const SIDE_MAX: usize = 1200;
/// Number of recent results that a thread keeps.
const KEPT: usize = 8;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    let images = size.of(IMAGES_PER_THREAD);
    timed(|| sum_of_threads(THREADS, |random| edit(random, images)))
}

fn edit(mut random: Rng, images: usize) -> u64 {
    let mut results = VecDeque::new();
    let mut sum: u64 = 0;
    for _ in 0..images {
        let grey = Image::new(&mut random).grey();
        let soft = grey.smoothed().turned().smoothed().turned();
        let edges = soft.difference(&grey);
        sum = sum.wrapping_add(hash(&edges.packed()));
        results.push_back([grey.halved(), edges]);
        if results.len() > KEPT {
            results.pop_front();
        }
    }
    sum
}

/// Red, green and blue values of each pixel.
struct Image {
    width: usize,
    pixels: Vec<[u8; 3]>,
}

impl Image {
    /// Creates an image with bands of colour.
    fn new(random: &mut Rng) -> Self {
        let width = log_uniform(random, SIDE_MIN, SIDE_MAX + 1);
        let height = log_uniform(random, SIDE_MIN, SIDE_MAX + 1);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            pixels
                .extend((0..width).map(|x| [(x / 16) as u8, (y / 8) as u8, ((x + y) / 32) as u8]));
        }
        Self { width, pixels }
    }

    fn grey(&self) -> Grey {
        let levels = self.pixels.iter();
        Grey {
            width: self.width,
            levels: levels
                .map(|&[r, g, b]| ((u16::from(r) + 2 * u16::from(g) + u16::from(b)) / 4) as u8)
                .collect(),
        }
    }
}

/// The brightness of each pixel.
struct Grey {
    width: usize,
    levels: Vec<u8>,
}

impl Grey {
    /// Replaces each pixel by the mean of its neighbours in the row. The first and the last pixel
    /// become black.
    fn smoothed(&self) -> Self {
        let mut levels = vec![0; self.levels.len()];
        let rows = self.levels.chunks_exact(self.width);
        for (row, result) in rows.zip(levels.chunks_exact_mut(self.width)) {
            for (near, level) in row.windows(3).zip(&mut result[1..]) {
                let total: u16 = near.iter().map(|&level| u16::from(level)).sum();
                *level = (total / 3) as u8;
            }
        }
        Self { levels, ..*self }
    }

    fn turned(&self) -> Self {
        let height = self.levels.len() / self.width;
        let mut levels = vec![0; self.levels.len()];
        for (y, row) in self.levels.chunks_exact(self.width).enumerate() {
            for (x, &level) in row.iter().enumerate() {
                levels[x * height + y] = level;
            }
        }
        Self {
            width: height,
            levels,
        }
    }

    fn difference(&self, other: &Self) -> Self {
        let pairs = self.levels.iter().zip(&other.levels);
        Self {
            levels: pairs.map(|(a, b)| a.abs_diff(*b)).collect(),
            ..*self
        }
    }

    /// Keeps every second pixel of every second row.
    fn halved(&self) -> Self {
        let rows = self.levels.chunks_exact(self.width).step_by(2);
        Self {
            width: self.width.div_ceil(2),
            levels: rows
                .flat_map(|row| row.iter().step_by(2))
                .copied()
                .collect(),
        }
    }

    /// Returns run lengths and their levels, as in a file. The buffer grows as needed.
    fn packed(&self) -> Vec<u8> {
        let mut packed = Vec::new();
        for run in self.levels.chunk_by(|a, b| a == b) {
            for part in run.chunks(usize::from(u8::MAX)) {
                packed.extend([part.len() as u8, part[0]]);
            }
        }
        packed
    }
}
