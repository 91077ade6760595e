// SPDX-License-Identifier: MIT OR Apache-2.0

//! The criterion benchmarks. Each is run alone, for a short time, and read from criterion's files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use itertools::Itertools;
use serde_json::Value;
use walkdir::WalkDir;

use super::cargo::{self, PACKAGE};
use super::driver::{Measured, Source};
use super::samples::{Part, Row, Sample};
use crate::allocators::HAKMEM;
use crate::{Result, process};

/// Seconds of warm-up and of measurement, in full and quick runs.
const FULL: [&str; 2] = ["0.15", "0.35"];
const QUICK: [&str; 2] = ["0.02", "0.04"];

pub(crate) struct Micro {
    program: PathBuf,
    folder: PathBuf,
    times: [&'static str; 2],
    benchmarks: Vec<Benchmark>,
}

/// `group/allocator/parameter` in criterion's list.
#[derive(Debug, PartialEq, Eq)]
struct Benchmark {
    row: String,
    allocator: String,
    id: String,
}

impl Benchmark {
    fn read(line: &str) -> Option<Self> {
        let id = line.strip_suffix(": benchmark")?;
        let (group, rest) = id.split_once('/')?;
        let (allocator, parameter) = rest.split_once('/').unwrap_or((rest, ""));
        Some(Self {
            row: format!("{group} {parameter}").trim_end().to_owned(),
            allocator: allocator.to_owned(),
            id: id.to_owned(),
        })
    }

    /// The identity of the same on hakmem.
    fn on_hakmem(&self) -> String {
        self.id.replacen(&format!("/{}", self.allocator), &format!("/{HAKMEM}"), 1)
    }
}

impl Micro {
    /// Builds the benchmarks and lists them. Files go into `folder`.
    pub(crate) fn new(folder: &Path, quick: bool) -> Result<Self> {
        let programs = cargo::build(&["bench", "--no-run"])?;
        let program = programs
            .into_iter()
            .find(|(name, _)| name == "global_alloc")
            .map(|(_, path)| path)
            .ok_or("cargo bench has built no program global_alloc")?;
        let mut list = Command::new(&program);
        list.args(["--bench", "--list"]);
        let list = process::run(list, folder)?.output;
        Ok(Self {
            program,
            folder: folder.to_owned(),
            times: if quick { QUICK } else { FULL },
            benchmarks: list.lines().filter_map(Benchmark::read).collect(),
        })
    }
}

impl Source for Micro {
    fn part(&self) -> Part {
        let [warm_up, time] = self.times;
        let note = format!(
            "each value is criterion's median of 10 samples within {time} s after {warm_up} s of \
             warm-up; in one process memory cannot be attributed, so there is time only"
        );
        let rows = self.benchmarks.iter().unique_by(|one| &one.row).map(|one| {
            let command = format!("cargo bench -p {PACKAGE} -- --exact '{}'", one.on_hakmem());
            let same = self.benchmarks.iter().filter(|other| other.row == one.row);
            Row::new(&one.row, command, same.map(|other| other.allocator.as_str()))
        });
        let title = "Micro benchmarks: one kind of call, through Rust's GlobalAlloc";
        Part::new("micro", title, vec![note], rows.collect())
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let mut benchmarks = self.benchmarks.iter();
        let benchmark = benchmarks.find(|one| one.row == row && one.allocator == allocator);
        let id = &benchmark.ok_or("no such benchmark")?.id;
        // A folder of its own: the report of cargo bench stays as it is. Always a new one, so that
        // criterion compares with nothing and the only files are those of this run.
        let home = self.folder.join("criterion");
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let [warm_up, time] = self.times;
        let mut command = Command::new(&self.program);
        command.args(["--bench", "--exact", id, "--noplot"]);
        command.args(["--sample-size", "10", "--nresamples", "1000"]);
        command.args(["--warm-up-time", warm_up, "--measurement-time", time]);
        command.env("CRITERION_HOME", &home);
        process::run(command, &self.folder)?;
        let seconds =
            read_results(&home)?.ok_or_else(|| format!("criterion wrote nothing of {id}"))?;
        Ok((Sample { seconds, ..Sample::default() }, None))
    }
}

/// The median, in seconds, in the only results of a folder of criterion's files. Criterion makes
/// the names of folders from that of the benchmark, but shortens them.
fn read_results(folder: &Path) -> Result<Option<f64>> {
    let mut files = WalkDir::new(folder).into_iter().filter_map(std::result::Result::ok);
    let Some(file) = files.find(|file| file.path().ends_with("new/estimates.json")) else {
        return Ok(None);
    };
    let estimates: Value = serde_json::from_str(&fs::read_to_string(file.path())?)?;
    // Criterion's times are nanoseconds.
    Ok(estimates["median"]["point_estimate"].as_f64().map(|ns| ns / 1e9))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_have_group_allocator_and_parameter() {
        let read = |line| Benchmark::read(line).map(|one| (one.row, one.allocator));
        let named = |row: &str, allocator: &str| Some((row.to_owned(), allocator.to_owned()));
        let expected = named("working set mixed", "hakmem");
        assert_eq!(read("working set/hakmem/mixed: benchmark"), expected);
        assert_eq!(read("churn/system: benchmark"), named("churn", "system"));
        let benchmark = Benchmark::read("pair/system/system 8: benchmark");
        let id = benchmark.map(|one| one.on_hakmem());
        assert_eq!(id.as_deref(), Some("pair/hakmem/system 8"));
        assert_eq!(read("3 tests, 3 benchmarks"), None);
    }

    #[test]
    fn median_is_found_in_the_files_of_criterion() {
        let home = std::env::temp_dir().join(format!("hakmem-criterion-{}", std::process::id()));
        let folder = home.join("one/hakmem/new");
        fs::create_dir_all(&folder).expect("there is room for files");
        assert_eq!(read_results(&home).expect("there is nothing to read"), None);
        let estimates = r#"{"mean":{"point_estimate":3.0}, "median":{"point_estimate":25.5}}"#;
        fs::write(folder.join("estimates.json"), estimates).expect("there is room");
        assert_eq!(read_results(&home).expect("they are JSON"), Some(25.5e-9));
        fs::remove_dir_all(&home).expect("the folder is ours");
    }
}
