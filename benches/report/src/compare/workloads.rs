// SPDX-License-Identifier: MIT OR Apache-2.0

//! The macro benchmarks: a program for each allocator, which does any of the workloads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hakmem_reports::Result;
use hakmem_reports::allocators::remove_options;

use crate::cargo;
use crate::driver::{Measured, Planned, Source};
use crate::process::{self, Outcome, number_after};
use crate::samples::Sample;

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
    /// Builds the programs and lists what they can do.
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

    fn rows(&self) -> Vec<Planned> {
        let allocators: Vec<_> = self.programs.iter().map(|(name, _)| name.clone()).collect();
        let quick = if self.quick { " --quick" } else { "" };
        let row = |name: &String| Planned {
            name: name.clone(),
            command: format!("target/release/{PREFIX}hakmem {name}{quick}"),
            allocators: allocators.clone(),
            missing: None,
        };
        self.names.iter().map(row).collect()
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let command = self.command(row, allocator, self.quick)?;
        let outcome = process::run(command, &self.folder)?;
        let answer = checksum(&outcome.output);
        if answer.is_none() {
            return Err(format!("no checksum in: {}", outcome.output.trim()).into());
        }
        Ok(Measured {
            sample: reported(outcome)?,
            answer,
        })
    }

    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>> {
        let command = self.command(row, allocator, true)?;
        count_calls(&command, &self.folder, self.has_strace)
    }
}

fn checksum(output: &str) -> Option<String> {
    let mut words = output.split_whitespace();
    words.find(|word| *word == "checksum")?;
    words.next().map(str::to_owned)
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

/// Runs a command once more under strace.
pub(crate) fn count_calls(
    command: &Command,
    folder: &Path,
    has_strace: bool,
) -> Result<Option<BTreeMap<String, u64>>> {
    if !has_strace {
        return Ok(None);
    }
    let counts = folder.join("strace.txt");
    process::run(process::traced(command, &counts), folder)?;
    Ok(Some(process::read_counts(&fs::read_to_string(&counts)?)))
}

#[cfg(test)]
mod tests {
    use super::{checksum, reported};
    use crate::process::Outcome;
    use crate::samples::Sample;

    #[test]
    fn result_line_is_read() {
        let outcome = |output: &str| Outcome {
            sample: Sample {
                seconds: 9.0,
                cpu_seconds: Some(8.0),
                peak_rss_kb: Some(7),
                minor_faults: Some(6),
                huge_share: Some(0.5),
                ..Sample::default()
            },
            output: output.to_owned(),
        };
        let line = "seconds 0.5  checksum 00ff  peak-rss-kb 100  minor-faults 5\n";
        let sample = reported(outcome(line)).expect("there is a time");
        assert_eq!(sample.seconds, 0.5);
        assert_eq!(sample.peak_rss_kb, Some(100));
        assert_eq!(sample.minor_faults, Some(6));
        assert_eq!(sample.huge_share, Some(0.5));
        assert_eq!(checksum(line).as_deref(), Some("00ff"));
        assert!(reported(outcome("nothing")).is_err());
    }
}
