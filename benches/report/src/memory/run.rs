// SPDX-License-Identifier: MIT OR Apache-2.0

//! One run of a program on an allocator: its samples and figures.

use std::process::{Command, Stdio};

use hakmem_reports::Result;
use hakmem_reports::allocators::Allocator;

/// Memory at one moment.
pub(crate) struct Sample {
    pub(crate) ms: u64,
    pub(crate) rss_kb: u64,
    pub(crate) live_kb: u64,
}

/// A number that a scenario ends with.
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: i64,
    /// What hakmem promises: at most this.
    pub(crate) limit: Option<i64>,
    pub(crate) unit: String,
}

impl Figure {
    pub(crate) fn new(name: &str, value: i64, limit: Option<i64>, unit: &str) -> Self {
        Self {
            name: name.to_owned(),
            value,
            limit,
            unit: unit.to_owned(),
        }
    }

    /// Whether the limit holds; nothing where there is none.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.limit.map(|limit| self.value <= limit)
    }

    pub(crate) fn label(&self) -> String {
        let name = self.name.replace('_', " ");
        match self.unit.as_str() {
            "" => name,
            unit => format!("{name}, {unit}"),
        }
    }
}

/// One column of a scenario.
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) samples: Vec<Sample>,
    pub(crate) figures: Vec<Figure>,
}

impl Run {
    pub(crate) fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    pub(crate) fn value(&self, name: &str) -> Result<i64> {
        let figure = self.figure(name);
        Ok(figure
            .ok_or_else(|| format!("{} has no figure {name}", self.name))?
            .value)
    }
}

/// A scenario and its runs, hakmem's first.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: String,
    pub(crate) runs: Vec<Run>,
}

impl Scenario {
    /// The names of all figures in the order of their first appearance.
    pub(crate) fn figure_names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for figure in self.runs.iter().flat_map(|run| &run.figures) {
            if !names.contains(&figure.name) {
                names.push(figure.name.clone());
            }
        }
        names
    }
}

/// Runs a program that prints `sample` and `figure` lines (see `memory.h`).
pub(crate) fn run(mut command: Command, allocator: &Allocator) -> Result<Run> {
    allocator.preload_into(&mut command);
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() || !output.stderr.is_empty() {
        return Err(format!(
            "{command:?} on {}: {}: {}",
            allocator.name,
            output.status,
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    let mut run = Run {
        name: allocator.name.clone(),
        samples: Vec::new(),
        figures: Vec::new(),
    };
    for line in std::str::from_utf8(&output.stdout)?.lines() {
        run.read_line(line)
            .ok_or_else(|| format!("{command:?}: unexpected line: {line}"))?;
    }
    Ok(run)
}

impl Run {
    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_whitespace();
        match words.next()? {
            "sample" => {
                let mut number = || words.next()?.parse().ok();
                self.samples.push(Sample {
                    ms: number()?,
                    rss_kb: number()?,
                    live_kb: number()?,
                });
            }
            "figure" => self.figures.push(Figure {
                name: words.next()?.to_owned(),
                value: words.next()?.parse().ok()?,
                limit: match words.next()? {
                    "-" => None,
                    limit => Some(limit.parse().ok()?),
                },
                unit: words.next().unwrap_or_default().to_owned(),
            }),
            _ => return None,
        }
        Some(())
    }
}
