// SPDX-License-Identifier: MIT OR Apache-2.0

//! The macro benchmarks: a program for each allocator, which does any of the workloads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cargo;
use super::driver::{Measured, Source};
use super::samples::{Row, Sample};
use crate::Result;
use crate::allocators::remove_options;
use crate::process::{self, Outcome, number_after, word_after};

/// The programs' names: this, and that of the allocator.
const PREFIX: &str = "macro-";

pub(crate) struct Workloads {
    /// Allocators and their programs.
    programs: Vec<(String, PathBuf)>,
    names: Vec<String>,
    folder: PathBuf,
    quick: bool,
    has_strace: bool,
}

impl Workloads {
    /// Builds the programs and lists their workloads.
    pub(crate) fn new(folder: &Path, quick: bool, has_strace: bool) -> Result<Self> {
        let programs: Vec<_> = cargo::build(&["build", "--release", "--bins"])?
            .into_iter()
            .filter_map(|(name, path)| Some((name.strip_prefix(PREFIX)?.to_owned(), path)))
            .collect();
        let (_, first) = programs.first().ok_or("cargo has built no macro program")?;
        let list = process::run(Command::new(first), folder)?.output;
        Ok(Self {
            programs,
            names: list.lines().map(str::to_owned).collect(),
            folder: folder.to_owned(),
            quick,
            has_strace,
        })
    }

    fn command(&self, row: &str, allocator: &str, quick: bool) -> Result<Command> {
        let program = self.programs.iter().find(|(name, _)| name == allocator);
        let (_, path) = program.ok_or("no such program")?;
        let mut command = Command::new(path);
        command.arg(row).args(quick.then_some("--quick"));
        remove_options(&mut command);
        Ok(command)
    }
}

impl Source for Workloads {
    fn title(&self) -> &str {
        "Macro benchmarks: Rust programs with real crates, one process for each allocator"
    }

    fn notes(&self) -> Vec<String> {
        vec!["time of the work alone; CPU time of the whole process".to_owned()]
    }

    fn rows(&self) -> Vec<Row> {
        let quick = if self.quick { " --quick" } else { "" };
        let row = |name: &String| {
            let command = format!("target/release/{PREFIX}hakmem {name}{quick}");
            Row::new(name, command, self.programs.iter().map(|(name, _)| name.as_str()))
        };
        self.names.iter().map(row).collect()
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let command = self.command(row, allocator, self.quick)?;
        let outcome = process::run(command, &self.folder)?;
        let checksum = word_after(&outcome.output, "checksum").map(str::to_owned);
        let checksum = checksum.ok_or_else(|| format!("no checksum in: {}", outcome.output))?;
        Ok((reported(outcome)?, Some(checksum)))
    }

    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>> {
        if !self.has_strace {
            return Ok(None);
        }
        let command = self.command(row, allocator, true)?;
        process::count_calls(&command, &self.folder).map(Some)
    }
}

/// The sample of a program that reports the time of its work and its memory.
pub(crate) fn reported(outcome: Outcome) -> Result<Sample> {
    let number = |name| number_after(&outcome.output, name);
    let seconds = number("seconds");
    Ok(Sample {
        seconds: seconds.ok_or_else(|| format!("no time in: {}", outcome.output.trim()))?,
        peak_rss_kb: number("peak-rss-kb").map(|kb| kb as u64),
        ..outcome.sample
    })
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Sample, reported};

    #[test]
    fn result_line_is_read() {
        let outcome = |output: &str| Outcome {
            sample: Sample {
                seconds: 9.0,
                peak_rss_kb: Some(7),
                minor_faults: Some(6),
                ..Sample::default()
            },
            output: output.to_owned(),
        };
        let line = "seconds 0.5  checksum 00ff  peak-rss-kb 100  minor-faults 5\n";
        let sample = reported(outcome(line)).expect("there is a time");
        assert_eq!((sample.seconds, sample.peak_rss_kb), (0.5, Some(100)));
        assert_eq!(sample.minor_faults, Some(6));
        assert!(reported(outcome("nothing")).is_err());
    }
}
