// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the C programs on the system's allocator and on another one, in turn, and prints a table of
//! medians.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::allocators::Allocator;
use crate::compare::programs::Job;
use crate::document::{Block, Entry, MISSING, Table, to_text};
use crate::process::{self, command, number_after};
use crate::progress::Progress;
use crate::statistics::{geometric_mean, median};
use crate::{Result, is_quick, read_rows, root};

/// A quick run does this share of the work.
const QUICK_DIVISOR: u64 = 20;

const NOTE: &str = "Operations/s: more is better; peak RSS: less is.\nSystem calls: \
                    mmap/munmap/madvise of a shorter run, those of the loader included.";

struct Bench {
    /// The system's, and the other one.
    allocators: [Allocator; 2],
    folder: PathBuf,
    rounds: usize,
    progress: Progress,
}

/// The outputs of all rounds of a program on both allocators.
struct Outputs([Vec<String>; 2]);

impl Outputs {
    /// The medians of a quantity, which may be missing.
    fn medians(&self, quantity: &str) -> [Option<f64>; 2] {
        let median = |outputs: &Vec<String>| {
            median(outputs.iter().filter_map(|output| number_after(output, quantity)))
        };
        self.0.each_ref().map(median)
    }
}

/// Measures on the system's allocator and on the library, or on hakmem.
pub(crate) fn run(library: Option<&Path>) -> Result<ExitCode> {
    let other = match library {
        Some(library) => Allocator::of_file(library)?,
        None => Allocator::hakmem(&root())?,
    };
    let divisor = if is_quick() { QUICK_DIVISOR } else { 1 };
    let jobs = read_rows("benches/c/rows.txt", |line| Job::of_c_program(line, divisor))?;
    let rounds = if is_quick() { 2 } else { 5 };
    let bench = Bench {
        allocators: [Allocator::system(), other],
        folder: root().join("build/bench"),
        rounds,
        progress: Progress::new((jobs.len() + 2) * (rounds + 1)),
    };
    let blocks = [Block::Table(bench.table(&jobs)?), Block::Text(bench.threads()?)];
    drop(bench.progress);
    print!("{}", to_text(&blocks));
    println!("\nMedians of {rounds} rounds after a warm-up. {NOTE}");
    Ok(ExitCode::SUCCESS)
}

impl Bench {
    /// Runs a command on both allocators, round after round. Round 0 warms up, and the allocator
    /// that goes first alternates.
    fn measure(&self, text: &str) -> Result<Outputs> {
        let mut outputs = [Vec::new(), Vec::new()];
        for round in 0..=self.rounds {
            self.progress.step(text);
            for which in [round % 2, 1 - round % 2] {
                let mut command = command(text);
                self.allocators[which].preload_into(&mut command);
                let outcome = process::run(command, &self.folder)?;
                if round > 0 {
                    outputs[which].push(outcome.output);
                }
            }
        }
        Ok(Outputs(outputs))
    }

    /// The system calls of a short run, if they can be counted.
    fn calls(&self, text: &str, allocator: &Allocator) -> Entry {
        let mut command = command(text);
        allocator.preload_into(&mut command);
        let Ok(calls) = process::count_calls(&command, &self.folder) else {
            return MISSING.into();
        };
        let number = |name| calls.get(name).unwrap_or(&0).to_string();
        ["mmap", "munmap", "madvise"].map(number).join("/").into()
    }

    fn table(&self, jobs: &[Job]) -> Result<Table> {
        let [base, other] = self.allocators.each_ref().map(|one| one.name.as_str());
        let mut head = vec!["\nprogram".to_owned()];
        for unit in ["M ops/s", "RSS MB"] {
            head.extend([base, other].map(|name| format!("{unit}\n{name}")));
            head.push("\nratio".to_owned());
        }
        head.extend([base, other].map(|name| format!("system calls\n{name}")));
        let mut rows = Vec::new();
        let mut ratios = [Vec::new(), Vec::new()];
        for job in jobs {
            let outputs = self.measure(&job.command)?;
            let mut entries = vec![job.name.as_str().into()];
            let quantities = [("ops/s", 1e6, 2), ("peak-rss-kb", 1024.0, 1)];
            for ((quantity, unit, digits), ratios) in quantities.into_iter().zip(&mut ratios) {
                let [Some(base), Some(other)] = outputs.medians(quantity) else {
                    return Err(format!("{} does not report {quantity}", job.command).into());
                };
                entries
                    .extend([base, other].map(|value| format!("{:.digits$}", value / unit).into()));
                entries.push(format!("{:.2}", other / base).into());
                ratios.push(other / base);
            }
            entries.extend(self.allocators.each_ref().map(|one| self.calls(&job.counted, one)));
            rows.push(entries);
        }
        let means = ratios.map(|ratios| format!("{:.2}", geometric_mean(ratios).unwrap_or(1.0)));
        let [speed, rss] = means.each_ref().map(String::as_str);
        let mean = ["geometric mean", "", "", speed, "", "", rss, "", ""];
        rows.push(mean.map(Entry::from).into());
        Ok(Table { title: String::new(), head, rows })
    }

    /// The cost of the first block of a thread, and the memory of its cache.
    fn threads(&self) -> Result<String> {
        let first = self.measure("build/bench/bench_first_alloc")?;
        let rss = self.measure("build/bench/bench_thread_rss")?;
        let [base, other] = self.allocators.each_ref().map(|one| &one.name);
        let both = |outputs: &Outputs, quantity, unit, digits: usize| {
            let [from, to] = outputs.medians(quantity).map(Option::unwrap_or_default);
            format!("{base} {from:.digits$} {unit}, {other} {to:.digits$} {unit}")
        };
        let warm = |outputs: &Outputs, [value, cost]: [&str; 2]| {
            outputs.medians(value)[1].zip(outputs.medians(cost)[1])
        };
        let mut text =
            format!("first 8 KiB block of a thread: {}", both(&first, "cold-ns", "ns", 0));
        if let Some((ns, cost)) = warm(&first, ["prewarmed-ns", "prewarm-ns"]) {
            text += &format!(", pre-warmed {ns:.0} ns (pre-warming took {cost:.0} ns)");
        }
        let used = both(&rss, "first-alloc-kb-per-thread", "KB", 1);
        text += &format!("\nRSS of a thread cache in use: {used}");
        if let Some((kb, blocks)) = warm(&rss, ["prewarmed-kb-per-thread", "prewarmed-blocks-kb"]) {
            text += &format!(", pre-warmed {kb:.1} KB (with {blocks:.0} KB of blocks)");
        }
        Ok(text)
    }
}
