// SPDX-License-Identifier: MIT OR Apache-2.0

//! Work of the kinds that programs do, to be run on an allocator: the program's global one. Nothing
//! in here chooses it: that is up to each executable, in `bin/`.
//!
//! A workload does the same work on every allocator, with inputs from fixed seeds, and shows it by
//! a checksum of its results. The order of what threads do at the same time does not count in it.

mod cache;
mod expressions;
mod graph;
mod http;
mod images;
mod input;
mod json;
mod maps;
mod measure;
mod messages;
mod records;
mod tasks;
mod text;

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, bail};

use measure::{Outcome, Usage};

/// How much work to do.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    /// One to four seconds.
    Full,
    /// Shows that it works and, roughly, how fast.
    Quick,
    /// Shows that it works, also in a debug build.
    Tiny,
}

impl Size {
    /// The argument that asks for it; there is none for [`Size::Full`].
    fn argument(self) -> Option<&'static str> {
        match self {
            Self::Full => None,
            Self::Quick => Some("--quick"),
            Self::Tiny => Some("--tiny"),
        }
    }

    fn from_argument(argument: &str) -> anyhow::Result<Self> {
        [Self::Quick, Self::Tiny]
            .into_iter()
            .find(|size| size.argument() == Some(argument))
            .with_context(|| format!("unknown argument {argument}; try --quick"))
    }

    /// The part to do of what the full size does.
    fn of(self, full: usize) -> usize {
        let divisor = match self {
            Self::Full => 1,
            Self::Quick => 8,
            Self::Tiny => 512,
        };
        (full / divisor).max(1)
    }
}

type Workload = fn(Size) -> anyhow::Result<Outcome>;

/// All workloads, by name.
const WORKLOADS: [(&str, Workload); 11] = [
    ("json", json::run),
    ("text", text::run),
    ("maps", maps::run),
    ("expressions", expressions::run),
    ("graph", graph::run),
    ("images", images::run),
    ("tokio", tasks::run),
    ("rayon", records::run),
    ("lru", cache::run),
    ("messages", messages::run),
    ("http", http::run),
];

/// The main function of each executable: runs the workload that the arguments name and prints what
/// it took; without arguments it prints the names of all.
pub fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> anyhow::Result<()> {
    let (name, target, size) = match *arguments {
        [] => {
            WORKLOADS.iter().for_each(|(name, _)| println!("{name}"));
            return Ok(());
        }
        [name] => (name, None, Size::Full),
        [http::LOAD, target] => (http::LOAD, Some(target), Size::Full),
        [http::LOAD, target, size] => (http::LOAD, Some(target), Size::from_argument(size)?),
        [name, size] => (name, None, Size::from_argument(size)?),
        _ => bail!("usage: [WORKLOAD [--quick]]"),
    };
    if let Some(target) = target {
        let target: SocketAddr = target.parse().context("bad address of the service")?;
        return http::put_load(target, size);
    }
    let (_, workload) = WORKLOADS
        .iter()
        .find(|workload| workload.0 == name)
        .with_context(|| format!("no workload {name:?}; without arguments they are listed"))?;
    let outcome = workload(size).with_context(|| format!("{name} failed"))?;
    println!("{outcome}  {}", Usage::of_this_process()?);
    Ok(())
}
