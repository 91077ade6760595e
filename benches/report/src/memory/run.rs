// SPDX-License-Identifier: MIT OR Apache-2.0

//! One run of a program on an allocator: its samples and figures.

use std::process::{Command, Stdio};

use itertools::Itertools;
use serde::Serialize;

use crate::Result;
use crate::allocators::Allocator;

/// Memory at one moment.
#[derive(Serialize)]
pub(crate) struct Sample {
    pub(crate) ms: u64,
    pub(crate) rss_kb: u64,
    pub(crate) live_kb: u64,
}

/// A number at the end of a scenario.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: i64,
    /// The promise of hakmem: at most this.
    pub(crate) limit: Option<i64>,
    pub(crate) unit: String,
}

impl Figure {
    pub(crate) fn new(name: &str, value: i64, limit: Option<i64>, unit: &str) -> Self {
        Self { name: name.to_owned(), value, limit, unit: unit.to_owned() }
    }

    /// Whether the limit holds, if there is one.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.limit.map(|limit| self.value <= limit)
    }

    pub(crate) fn label(&self) -> String {
        let name = self.name.replace('_', " ");
        if self.unit.is_empty() { name } else { format!("{name}, {}", self.unit) }
    }
}

/// One column of a scenario.
#[derive(Default, Serialize)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    pub(crate) figures: Vec<Figure>,
}

impl Run {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    pub(crate) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    pub(crate) fn value(&self, name: &str) -> Result<i64> {
        let figure = self.figure(name).map(|figure| figure.value);
        figure.ok_or_else(|| format!("{} has no figure {name}", self.name).into())
    }

    pub(crate) fn peak_kb(&self) -> u64 {
        self.samples.iter().map(|sample| sample.rss_kb).max().unwrap_or(0)
    }

    /// Reads a line of `memory.h`.
    fn read_line(&mut self, line: &str) -> Option<()> {
        match *line.split_whitespace().collect::<Vec<_>>() {
            ["sample", ms, rss_kb, live_kb] => self.samples.push(Sample {
                ms: ms.parse().ok()?,
                rss_kb: rss_kb.parse().ok()?,
                live_kb: live_kb.parse().ok()?,
            }),
            ["figure", name, value, limit, ref unit @ ..] => {
                let limit = if limit == "-" { None } else { Some(limit.parse().ok()?) };
                self.figures.push(Figure::new(name, value.parse().ok()?, limit, &unit.join(" ")));
            }
            _ => return None,
        }
        Some(())
    }
}

/// A scenario and its runs, that of hakmem first.
#[derive(Serialize)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) runs: Vec<Run>,
}

impl Scenario {
    /// The names of all figures in the order of their first appearance.
    pub(crate) fn figure_names(&self) -> impl Iterator<Item = &str> {
        let figures = self.runs.iter().flat_map(|run| &run.figures);
        figures.map(|figure| figure.name.as_str()).unique()
    }
}

/// Runs a program that prints `sample` and `figure` lines (see `memory.h`).
pub(crate) fn run(mut command: Command, allocator: &Allocator) -> Result<Run> {
    allocator.preload_into(&mut command);
    let output = command.stdin(Stdio::null()).output()?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() || !errors.is_empty() {
        let status = output.status;
        return Err(format!("{command:?} on {}: {status}: {errors}", allocator.name).into());
    }
    let mut run = Run::new(&allocator.name);
    for line in std::str::from_utf8(&output.stdout)?.lines() {
        let read = run.read_line(line);
        read.ok_or_else(|| format!("{command:?}: unexpected line: {line}"))?;
    }
    Ok(run)
}

#[cfg(test)]
mod tests {
    use super::Run;

    #[test]
    fn samples_and_figures_are_read() {
        let mut run = Run::default();
        for line in ["sample 100 2048 1024", "figure rss 7 5 KiB", "figure peak 9 - %"] {
            run.read_line(line).expect("the line is valid");
        }
        assert_eq!(run.peak_kb(), 2048);
        let held: Vec<_> = run.figures.iter().map(super::Figure::holds).collect();
        assert_eq!(held, [Some(false), None]);
        assert_eq!(run.figures[1].label(), "peak, %");
        assert!(run.read_line("other").is_none());
    }
}
