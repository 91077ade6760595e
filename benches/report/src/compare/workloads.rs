// SPDX-License-Identifier: MIT OR Apache-2.0

//! The macro benchmarks: a program for each allocator, which does any of the workloads.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::cargo;
use super::programs::{Job, Programs, Runner, read_checked_work};
use crate::allocators::remove_options;
use crate::{Result, process};

/// Builds the programs and lists their workloads.
pub(super) fn new(folder: &Path, quick: bool, has_strace: bool) -> Result<Programs<'static>> {
    let programs: Vec<_> = cargo::build(&["build", "--release", "--bins"])?
        .into_iter()
        .filter_map(|(name, path)| Some((name.strip_prefix("macro-")?.to_owned(), path)))
        .collect();
    let (_, first) = programs.first().ok_or("cargo has built no macro program")?;
    let list = process::run(Command::new(first), folder)?.output;
    Ok(Programs {
        name: "macro",
        title: "Macro benchmarks: Rust programs with real crates, one process for each allocator",
        notes: vec!["time of the work alone; CPU time of the whole process".to_owned()],
        jobs: list.lines().map(|name| job(name, quick)).collect(),
        runners: programs.into_iter().map(|(name, path)| (name, runner(path))).collect(),
        has_strace,
        counter: None,
    })
}

fn job(name: &str, quick: bool) -> Job {
    let counted = format!("{name} --quick");
    Job {
        name: name.to_owned(),
        command: if quick { counted.clone() } else { name.to_owned() },
        counted,
        instructions: None,
        missing: None,
        prefix: "target/release/macro-hakmem ",
        read: read_checked_work,
    }
}

fn runner(program: PathBuf) -> Runner<'static> {
    Box::new(move |arguments| {
        let mut command = Command::new(&program);
        command.args(arguments.split(' '));
        remove_options(&mut command);
        command
    })
}
