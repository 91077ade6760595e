// SPDX-License-Identifier: MIT OR Apache-2.0

//! The samples of a comparison, and the figures of a row that follow from them.

use std::collections::BTreeMap;

use itertools::Itertools;
use serde::{Deserialize, Serialize};

use crate::allocators::{HAKMEM, SYSTEM};
use crate::statistics;

/// All of a run. It is kept as JSON, from which the page can be rendered again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// `YYYY-MM-DD`.
    pub(crate) date: String,
    pub(crate) cpu: String,
    /// Whether every row was measured at its full length.
    pub(crate) is_full: bool,
    /// How to measure the same again.
    pub(crate) command: String,
    /// Machine, versions, commit.
    pub(crate) facts: Vec<String>,
    pub(crate) parts: Vec<Part>,
}

impl Comparison {
    /// The rows of all parts.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().flat_map(|part| &part.rows)
    }

    /// The allocators of all parts, in the order of their first appearance.
    pub(crate) fn allocators(&self) -> Vec<&str> {
        self.parts.iter().flat_map(Part::allocators).unique().collect()
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) title: String,
    /// How it was measured: rounds, noise, missing counts.
    pub(crate) notes: Vec<String>,
    pub(crate) rows: Vec<Row>,
}

impl Part {
    pub(crate) fn new(name: &str, title: &str, notes: Vec<String>, rows: Vec<Row>) -> Self {
        Self { name: name.to_owned(), title: title.to_owned(), notes, rows }
    }

    /// The allocators of all rows, in the order of their first appearance.
    pub(crate) fn allocators(&self) -> Vec<&str> {
        self.cells().map(|cell| cell.allocator.as_str()).unique().collect()
    }

    pub(crate) fn has(&self, quantity: Quantity) -> bool {
        self.cells().any(|cell| cell.median(quantity).is_some())
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.rows.iter().flat_map(|row| &row.cells)
    }
}

/// The same work on each allocator.
#[derive(Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    /// How to run it by hand.
    pub(crate) command: String,
    /// Why it was not measured at all.
    pub(crate) missing: Option<String>,
    pub(crate) cells: Vec<Cell>,
}

impl Row {
    /// A row without samples. The allocators are put into the order of all tables.
    pub(crate) fn new<T: Into<String>>(
        name: &str,
        command: String,
        allocators: impl IntoIterator<Item = T>,
    ) -> Self {
        let mut cells: Vec<_> = allocators.into_iter().map(|one| Cell::new(&one.into())).collect();
        cells.sort_by_key(|cell| rank(&cell.allocator));
        Self { name: name.to_owned(), command, missing: None, cells }
    }

    pub(crate) fn cell(&self, allocator: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.allocator == allocator)
    }

    /// The most that a run on any allocator has needed so far.
    pub(crate) fn peak_rss_kb(&self) -> Option<u64> {
        let samples = self.cells.iter().flat_map(|cell| &cell.samples);
        samples.filter_map(|sample| sample.peak_rss_kb).max()
    }

    /// Whether others disturbed so many runs on an allocator that its median rests on one of them.
    pub(crate) fn is_noisy(&self) -> bool {
        self.cells.iter().any(Cell::is_noisy)
    }

    pub(crate) fn median(&self, allocator: &str, quantity: Quantity) -> Option<f64> {
        self.cell(allocator)?.median(quantity)
    }

    /// The peer with the least of a quantity.
    pub(crate) fn best_peer(&self, quantity: Quantity) -> Option<(&str, f64)> {
        let peers = self.cells.iter().filter(|cell| is_peer(&cell.allocator));
        peers
            .filter_map(|cell| Some((cell.allocator.as_str(), cell.median(quantity)?)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// An allocator's share of the best peer's quantity.
    pub(crate) fn to_best_peer(&self, allocator: &str, quantity: Quantity) -> Option<f64> {
        let (_, best) = self.best_peer(quantity)?;
        ratio(self.median(allocator, quantity)?, best)
    }

    /// hakmem's share of another allocator's quantity.
    pub(crate) fn hakmem_to(&self, other: &str, quantity: Quantity) -> Option<f64> {
        ratio(self.median(HAKMEM, quantity)?, self.median(other, quantity)?)
    }
}

/// Nothing where a ratio would mean nothing.
fn ratio(part: f64, whole: f64) -> Option<f64> {
    (part > 0.0 && whole > 0.0).then(|| part / whole)
}

/// One row on one allocator.
#[derive(Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) allocator: String,
    /// One a round.
    pub(crate) samples: Vec<Sample>,
    /// How many system calls a short run made, by name.
    pub(crate) calls: Option<BTreeMap<String, u64>>,
    /// Instructions of one operation, counted. Samples of older runs have none.
    #[serde(default)]
    pub(crate) instructions: Option<f64>,
    pub(crate) failure: Option<String>,
}

impl Cell {
    pub(crate) fn new(allocator: &str) -> Self {
        Self {
            allocator: allocator.to_owned(),
            samples: Vec::new(),
            calls: None,
            instructions: None,
            failure: None,
        }
    }

    fn is_noisy(&self) -> bool {
        let disturbed = self.samples.iter().filter(|sample| sample.is_disturbed);
        let disturbed = disturbed.count();
        disturbed > 0 && 2 * disturbed >= self.samples.len()
    }

    /// Nothing for a failed cell, even if some rounds went well.
    fn values(&self, quantity: Quantity) -> Vec<f64> {
        if self.failure.is_some() {
            return Vec::new();
        }
        let samples =
            |value: fn(&Sample) -> Option<f64>| self.samples.iter().filter_map(value).collect();
        let calls = |calls: &BTreeMap<_, u64>| calls.values().sum::<u64>() as f64;
        match quantity {
            Quantity::Time => samples(|sample| Some(sample.seconds)),
            Quantity::CpuTime => samples(|sample| sample.cpu_seconds),
            Quantity::PeakRss => samples(|sample| sample.peak_rss_kb.map(|kb| kb as f64)),
            Quantity::PageFaults => samples(|sample| sample.minor_faults.map(|count| count as f64)),
            Quantity::HugePages => samples(|sample| sample.huge_share.map(|share| share * 100.0)),
            Quantity::SystemCalls => self.calls.iter().map(calls).collect(),
            Quantity::Instructions => self.instructions.into_iter().collect(),
        }
    }

    pub(crate) fn median(&self, quantity: Quantity) -> Option<f64> {
        statistics::median(self.values(quantity))
    }

    /// The least and the most of all rounds.
    pub(crate) fn range(&self, quantity: Quantity) -> Option<(f64, f64)> {
        self.values(quantity).into_iter().minmax().into_option()
    }
}

/// One run. Unknown values are missing.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: Option<f64>,
    pub(crate) peak_rss_kb: Option<u64>,
    pub(crate) minor_faults: Option<u64>,
    /// The share of resident memory that is in huge pages, when most is resident. Older samples
    /// have none.
    #[serde(default)]
    pub(crate) huge_share: Option<f64>,
    /// Whether other programs used the processors meanwhile.
    #[serde(default)]
    pub(crate) is_disturbed: bool,
}

/// A compared quantity. Less is better, but for the share of huge pages, which explains the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Quantity {
    Time,
    CpuTime,
    PeakRss,
    PageFaults,
    HugePages,
    SystemCalls,
    Instructions,
}

impl Quantity {
    pub(crate) const ALL: [Self; 7] = [
        Self::Time,
        Self::CpuTime,
        Self::PeakRss,
        Self::PageFaults,
        Self::HugePages,
        Self::SystemCalls,
        Self::Instructions,
    ];
}

/// Neither the system's allocator nor hakmem, prepared or not, is a peer.
pub(crate) fn is_peer(allocator: &str) -> bool {
    allocator != SYSTEM && !allocator.starts_with(HAKMEM)
}

/// The order of allocators in all tables: the base, hakmem, and the peers.
pub(crate) fn rank(allocator: &str) -> usize {
    let order =
        [SYSTEM, HAKMEM, "mimalloc", "mimalloc2", "jemalloc", "snmalloc", "rpmalloc", "tcmalloc"];
    let place = order.iter().position(|name| *name == allocator);
    place.unwrap_or(order.len())
}

#[cfg(test)]
mod tests {
    use super::{Cell, Row, Sample};

    fn row(peaks_and_disturbed: &[(u64, bool)]) -> Row {
        let sample = |(peak, disturbed): &(u64, bool)| Sample {
            peak_rss_kb: Some(*peak),
            is_disturbed: *disturbed,
            ..Sample::default()
        };
        Row {
            name: "row".to_owned(),
            command: "run".to_owned(),
            missing: None,
            cells: vec![Cell {
                samples: peaks_and_disturbed.iter().map(sample).collect(),
                ..Cell::new("a")
            }],
        }
    }

    #[test]
    fn peak_of_a_row_is_that_of_all_runs() {
        assert_eq!(row(&[]).peak_rss_kb(), None);
        assert_eq!(row(&[(5, false), (7, true), (6, false)]).peak_rss_kb(), Some(7));
    }

    #[test]
    fn row_is_noisy_if_half_of_the_runs_on_an_allocator_are_disturbed() {
        assert!(!row(&[]).is_noisy());
        assert!(!row(&[(1, true), (1, false), (1, false)]).is_noisy());
        assert!(row(&[(1, true), (1, false)]).is_noisy());
    }
}
