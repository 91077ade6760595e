// SPDX-License-Identifier: MIT OR Apache-2.0

//! Realistic workloads for the program's global allocator. Nothing in here chooses the allocator.
//! Each executable in `bin/` chooses its own.
//!
//! A workload does the same work on every allocator, with inputs from fixed seeds. A checksum of
//! its results proves this. The checksum does not depend on the order in which threads run.

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

/// The amount of work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Size {
    /// Takes one to four seconds.
    Full,
    /// Tests the workload, and gives a rough idea of its speed.
    Quick,
    /// Tests the workload, even in a debug build.
    Tiny,
}

impl Size {
    /// Returns the command-line argument for this size. There is none for [`Size::Full`].
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

    /// Scales `full`, the amount of work of the full size.
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

/// Defines the main function of an executable, and its global allocator.
#[macro_export]
macro_rules! main_on {
    ($($allocator:tt)+) => {
        #[global_allocator]
        static GLOBAL: $($allocator)+ = $($allocator)+;

        fn main() -> std::process::ExitCode {
            $crate::main()
        }
    };
}

/// The main function of each executable. It runs the workload given in the arguments, and prints
/// the time and memory used. Without arguments, it prints the names of all workloads.
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
