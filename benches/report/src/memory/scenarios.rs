// SPDX-License-Identifier: MIT OR Apache-2.0

//! The scenarios, most of which are C programs in `benches/memory`.

use std::fs;

use itertools::Itertools;

use super::run::{Figure, Run, Scenario, run as run_one};
use super::{Plan, service, throughput};
use crate::allocators::Allocator;
use crate::process::command;
use crate::{Result, read_rows};

const IDLE: &str = "idle";
const DENSE: &str = "dense";

/// Rounds of the one scenario that measures time. The fastest round counts.
const DENSE_ROUNDS: usize = 3;
/// KiB of anonymous memory that a small program may hold above one on the system allocator. Pages
/// of files are left out, because their number differs by 200 KiB from run to run.
const IDLE_MORE_KB: i64 = 256;
/// Huge pages make `dense` at least 1.2 times as fast, for at most 3 % more memory.
const DENSE_TIME_PERCENT: i64 = 83;
const DENSE_RSS_PERCENT: i64 = 103;

/// A line of `benches/memory/rows.txt`.
pub(crate) struct Program {
    pub(crate) name: String,
    pub(crate) title: String,
    command: String,
}

/// Reads the lines of all scenarios.
pub(crate) fn read(quick: bool) -> Result<Vec<Program>> {
    read_rows("benches/memory/rows.txt", |line| {
        let fields = line.split('|').map(|field| field.trim().to_owned());
        let (name, title, full, short) = fields.collect_tuple()?;
        Some(Program { name, title, command: if quick { short } else { full } })
    })
}

impl Program {
    /// The number of runs.
    pub(crate) fn steps(&self, allocators: &[Allocator]) -> usize {
        match self.name.as_str() {
            throughput::NAME => throughput::PROGRAMS.len(),
            DENSE => (allocators.len() + usize::from(huge_pages_are_asked_for())) * DENSE_ROUNDS,
            _ => allocators.len(),
        }
    }

    pub(crate) fn run(&self, plan: &Plan<'_>) -> Result<Scenario> {
        let mut title = self.title.clone();
        let runs = match self.name.as_str() {
            service::NAME => service::run(plan)?,
            throughput::NAME => throughput::run(plan)?,
            _ => {
                title += &format!(" ({})", self.command);
                self.run_program(plan)?
            }
        };
        Ok(Scenario { name: self.name.clone(), title, runs })
    }

    fn run_program(&self, plan: &Plan<'_>) -> Result<Vec<Run>> {
        let run = |allocators: &[&Allocator]| -> Result<Vec<Run>> {
            let one = |allocator: &&Allocator| {
                plan.progress.step(&format!("{} on {}", self.name, allocator.name));
                run_one(command(&format!("build/memory/{}", self.command)), allocator)
            };
            allocators.iter().map(one).collect()
        };
        let mut runs = match self.name.as_str() {
            DENSE => run_dense(plan.allocators, &run)?,
            _ => run(&plan.allocators.iter().collect::<Vec<_>>())?,
        };
        runs.iter_mut().for_each(add_peak);
        if self.name == IDLE {
            let more = runs[0].value("anonymous")? - runs[1].value("anonymous")?;
            let figure = Figure::new("anonymous_above_system", more, Some(IDLE_MORE_KB), "KiB");
            runs[0].figures.push(figure);
        }
        Ok(runs)
    }
}

fn add_peak(run: &mut Run) {
    let last = run.samples.last().map_or(0, |sample| sample.rss_kb);
    for (name, kb) in [("peak_RSS", run.peak_kb()), ("RSS_at_the_end", last)] {
        run.figures.push(Figure::new(name, (kb / 1024) as i64, None, "MiB"));
    }
}

/// Whether the kernel gives huge pages only to programs that ask for them.
fn huge_pages_are_asked_for() -> bool {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    setting.is_ok_and(|setting| setting.contains("[madvise]"))
}

/// Runs in turn on all allocators, and on hakmem without huge pages.
fn run_dense(
    allocators: &[Allocator],
    run: &dyn Fn(&[&Allocator]) -> Result<Vec<Run>>,
) -> Result<Vec<Run>> {
    let mut all: Vec<&Allocator> = allocators.iter().collect();
    let without = allocators[0].variant("small pages", &[("HAKMEM_HUGE_PAGE_MB", "0")]);
    let compares = huge_pages_are_asked_for();
    if compares {
        all.insert(1, &without);
    }
    let mut best = run(&all)?;
    for _ in 1..DENSE_ROUNDS {
        for (best, run) in best.iter_mut().zip(run(&all)?) {
            if run.value("ps_per_access")? < best.value("ps_per_access")? {
                *best = run;
            }
        }
    }
    if compares {
        let percent =
            |name| -> Result<i64> { Ok(best[0].value(name)? * 100 / best[1].value(name)?) };
        let time = percent("ps_per_access")?;
        let rss = percent("rss_permille_of_live")?;
        best[0].figures.extend([
            Figure::new("time_of_small_pages", time, Some(DENSE_TIME_PERCENT), "%"),
            Figure::new("RSS_of_small_pages", rss, Some(DENSE_RSS_PERCENT), "%"),
        ]);
    }
    Ok(best)
}
