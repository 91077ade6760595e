// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs benchmarks of hakmem beside other allocators, and reports on them.

mod allocators;
mod bench_c;
mod chart;
mod compare;
mod document;
mod machine;
mod memory;
mod process;
mod progress;
mod scaling;
mod statistics;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A result with an error that is a message for the user.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Benchmarks of hakmem beside other allocators. `QUICK=1` in the environment shortens all runs:
/// they then show that things work, not how fast.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    report: Report,
}

#[derive(Subcommand)]
enum Report {
    /// Time and memory of many programs, on all allocators: `make compare`.
    Compare {
        /// Render the last run again.
        #[arg(long)]
        render: bool,
        /// Words that the part and the name of a row must contain.
        words: Vec<String>,
    },
    /// Resident memory over time: `make memory`.
    Memory {
        /// Names of scenarios. The default is all of them.
        scenarios: Vec<String>,
    },
    /// The C programs on the system's allocator and on hakmem: `make bench-c`.
    BenchC {
        /// The library of another allocator in place of hakmem.
        library: Option<PathBuf>,
    },
    /// Throughput, memory and locks with many threads: `make scaling`.
    Scaling {
        /// Names of allocators. The default is all of them.
        allocators: Vec<String>,
    },
    /// Touches and releases memory.
    #[command(hide = true)]
    Touch { bytes: usize },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().report {
        Report::Compare { render: true, .. } => compare::render(),
        Report::Compare { words, .. } => compare::compare(words),
        Report::Memory { scenarios } => memory::run(&scenarios),
        Report::BenchC { library } => bench_c::run(library.as_deref()),
        Report::Scaling { allocators } => scaling::run(&allocators),
        Report::Touch { bytes } => compare::touch(bytes),
    };
    done.unwrap_or_else(|error| {
        eprintln!("hakmem-reports: {error}");
        ExitCode::FAILURE
    })
}

/// The folder of the whole project.
fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Reads a file with a row in each line, and comments after `#`.
fn read_rows<T>(file: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>> {
    let rows = std::fs::read_to_string(root().join(file))?;
    let lines = rows.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).ok_or_else(|| format!("{file}: {line}").into())).collect()
}

/// Whether `QUICK=1` asks for a short run.
fn is_quick() -> bool {
    std::env::var_os("QUICK").is_some_and(|quick| !quick.is_empty())
}
