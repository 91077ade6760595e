// SPDX-License-Identifier: MIT OR Apache-2.0

//! The criterion benchmarks. Each is run alone, for a short time, and read from criterion's files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use hakmem_reports::Result;
use hakmem_reports::allocators::HAKMEM;
use serde_json::Value;

use crate::cargo::{self, PACKAGE};
use crate::driver::{Measured, Planned, Source};
use crate::process;
use crate::samples::Sample;

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
        self.id
            .replacen(&format!("/{}", self.allocator), &format!("/{HAKMEM}"), 1)
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
    fn title(&self) -> &str {
        "Micro benchmarks: one kind of call, through Rust's GlobalAlloc"
    }

    fn notes(&self) -> Vec<String> {
        vec![format!(
            "each value is criterion's median of 10 samples within {} s after {} s of warm-up; \
             in one process memory cannot be attributed, so there is time only",
            self.times[1], self.times[0]
        )]
    }

    fn rows(&self) -> Vec<Planned> {
        let mut rows: Vec<Planned> = Vec::new();
        for benchmark in &self.benchmarks {
            let allocator = benchmark.allocator.clone();
            match rows.iter_mut().find(|row| row.name == benchmark.row) {
                Some(row) => row.allocators.push(allocator),
                None => rows.push(Planned {
                    name: benchmark.row.clone(),
                    command: format!(
                        "cargo bench -p {PACKAGE} -- --exact '{}'",
                        benchmark.on_hakmem()
                    ),
                    allocators: vec![allocator],
                    missing: None,
                }),
            }
        }
        rows
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let benchmark = self
            .benchmarks
            .iter()
            .find(|one| one.row == row && one.allocator == allocator)
            .ok_or("no such benchmark")?;
        // A folder of its own: the report of cargo bench stays as it is. Always a new one, so that
        // criterion compares with nothing and the only files are those of this run.
        let home = self.folder.join("criterion");
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let [warm_up, time] = self.times;
        let mut command = Command::new(&self.program);
        command.args(["--bench", "--exact", &benchmark.id, "--noplot"]);
        command.args(["--sample-size", "10", "--nresamples", "1000"]);
        command.args(["--warm-up-time", warm_up, "--measurement-time", time]);
        command.env("CRITERION_HOME", &home);
        process::run(command, &self.folder)?;
        let seconds = read_results(&home, &benchmark.id)?;
        Ok(Measured {
            sample: Sample {
                seconds,
                ..Sample::default()
            },
            answer: None,
        })
    }

    fn count_calls(&self, _: &str, _: &str) -> Result<Option<BTreeMap<String, u64>>> {
        Ok(None)
    }
}

/// The seconds of the benchmark with that identity, from a folder of criterion's files.
fn read_results(home: &Path, id: &str) -> Result<f64> {
    let folder =
        find_results(home, id)?.ok_or_else(|| format!("criterion wrote nothing of {id}"))?;
    let estimates = fs::read_to_string(folder.join("estimates.json"))?;
    read_estimates(&estimates).ok_or_else(|| format!("{id}: no median in estimates.json").into())
}

/// Criterion makes folders' names from the benchmark's, but shortens them.
fn find_results(folder: &Path, id: &str) -> Result<Option<PathBuf>> {
    if folder.ends_with("new") {
        let benchmark = fs::read_to_string(folder.join("benchmark.json"))?;
        let benchmark: Value = serde_json::from_str(&benchmark)?;
        return Ok((benchmark["full_id"] == id).then(|| folder.to_owned()));
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if let Some(found) = find_results(&entry.path(), id)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Criterion's times are nanoseconds.
fn read_estimates(estimates: &str) -> Option<f64> {
    let estimates: Value = serde_json::from_str(estimates).ok()?;
    Some(estimates["median"]["point_estimate"].as_f64()? / 1e9)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Benchmark, read_estimates, read_results};

    #[test]
    fn identities_have_group_allocator_and_parameter() {
        let read = |line| Benchmark::read(line).map(|one| (one.row, one.allocator));
        let named = |row: &str, allocator: &str| Some((row.to_owned(), allocator.to_owned()));
        assert_eq!(
            read("working set/hakmem/mixed: benchmark"),
            named("working set mixed", "hakmem")
        );
        assert_eq!(read("churn/system: benchmark"), named("churn", "system"));
        let benchmark = Benchmark::read("pair/system/system 8: benchmark");
        let id = benchmark.map(|one| one.on_hakmem());
        assert_eq!(id.as_deref(), Some("pair/hakmem/system 8"));
        assert_eq!(read("3 tests, 3 benchmarks"), None);
    }

    #[test]
    fn median_is_read_from_estimates() {
        let estimates = r#"{"mean":{"point_estimate":3.0},
                            "median":{"confidence_interval":{},"point_estimate":25.5}}"#;
        assert_eq!(read_estimates(estimates), Some(25.5e-9));
        assert_eq!(read_estimates("{}"), None);
        assert_eq!(read_estimates(""), None);
    }

    #[test]
    fn results_are_found_by_identity() {
        let home = std::env::temp_dir().join(format!("hakmem-criterion-{}", std::process::id()));
        for (group, time) in [("one", 1e9), ("two", 2e9)] {
            let folder = home.join(group).join("hakmem/new");
            fs::create_dir_all(&folder).expect("there is room for files");
            let benchmark = format!(r#"{{"full_id":"{group}/hakmem"}}"#);
            let estimates = format!(r#"{{"median":{{"point_estimate":{time}}}}}"#);
            fs::write(folder.join("benchmark.json"), benchmark).expect("there is room");
            fs::write(folder.join("estimates.json"), estimates).expect("there is room");
        }
        let seconds = read_results(&home, "two/hakmem");
        assert_eq!(seconds.expect("it is there"), 2.0);
        assert!(read_results(&home, "three/hakmem").is_err());
        fs::remove_dir_all(&home).expect("the folder is ours");
    }
}
