// SPDX-License-Identifier: MIT OR Apache-2.0

//! The scenarios that are C programs of this folder.

use std::fs;
use std::process::Command;

use hakmem_reports::Result;
use hakmem_reports::allocators::Allocator;

use crate::run::{Figure, Run, Scenario, run as run_one};
use crate::{Plan, Progress};

struct Program {
    name: &'static str,
    title: &'static str,
    command: &'static [&'static str],
    quick: &'static [&'static str],
}

impl Program {
    fn words(&self, plan: &Plan) -> &'static [&'static str] {
        if plan.quick { self.quick } else { self.command }
    }
}

const PROGRAMS: [Program; 8] = [
    Program {
        name: "burst",
        title: "Burst: 4 threads allocate mixed sizes, free all, and sleep",
        command: &["burst", "512", "0", "5"],
        quick: &["burst", "256", "0", "5"],
    },
    Program {
        name: "fragmented",
        title: "Fragmented: the same, but every 16th block is kept",
        command: &["burst", "512", "16", "5"],
        quick: &["burst", "256", "16", "5"],
    },
    Program {
        name: "handover",
        title: "Hand-over: one thread only allocates, another only frees",
        command: &["handover", "10"],
        quick: &["handover", "3"],
    },
    Program {
        name: "threads",
        title: "Threads: 1000 of them each allocate and free 1 MB, and sleep",
        command: &["threads", "1000", "1024", "5"],
        quick: &["threads", "1000", "1024", "3"],
    },
    Program {
        name: "phases",
        title: "Drift: block sizes change each second, the live bytes do not",
        command: &["phases", "60", "128"],
        quick: &["phases", "12", "128"],
    },
    Program {
        name: IDLE,
        title: "Small: a program of some hundred KiB that sleeps",
        command: &["idle", "3000"],
        quick: &["idle", "1000"],
    },
    Program {
        name: "growth",
        title: "Growth: a vector doubles, up to 1 GiB",
        command: &["growth", "1024"],
        quick: &["growth", "256"],
    },
    Program {
        name: DENSE,
        title: "Dense: a large heap of blocks of 256 B, read at random",
        command: &["dense", "1024", "4000"],
        quick: &["dense", "512", "1000"],
    },
];
const IDLE: &str = "idle";
const DENSE: &str = "dense";

/// Rounds of the one scenario that is about time; the fastest counts.
const DENSE_ROUNDS: usize = 3;
/// KiB that a small program may hold above one on the system allocator.
const IDLE_MORE_KB: i64 = 512;
/// Huge pages make `dense` at least 1.2 times as fast, for at most 3 % more memory.
const DENSE_TIME_PERCENT: i64 = 83;
const DENSE_RSS_PERCENT: i64 = 103;

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PROGRAMS.iter().map(|program| program.name)
}

fn wanted(plan: &Plan) -> impl Iterator<Item = &'static Program> {
    PROGRAMS.iter().filter(|program| plan.wants(program.name))
}

/// How many times a program is started.
pub(crate) fn steps(plan: &Plan, allocators: &[Allocator]) -> usize {
    let runs = |program: &Program| match program.name {
        DENSE => (allocators.len() + usize::from(huge_pages_are_asked_for())) * DENSE_ROUNDS,
        _ => allocators.len(),
    };
    wanted(plan).map(runs).sum()
}

pub(crate) fn run(
    plan: &Plan,
    allocators: &[Allocator],
    progress: &mut Progress,
) -> Result<Vec<Scenario>> {
    let mut scenarios = Vec::new();
    for program in wanted(plan) {
        let mut runs = match program.name {
            DENSE => run_dense(plan, program, allocators, progress)?,
            _ => run_on_all(
                plan,
                program,
                &allocators.iter().collect::<Vec<_>>(),
                progress,
            )?,
        };
        for run in &mut runs {
            add_peak(run);
        }
        if program.name == IDLE {
            compare_idle(&mut runs)?;
        }
        scenarios.push(Scenario {
            name: program.name,
            title: format!("{} ({})", program.title, program.words(plan).join(" ")),
            runs,
        });
    }
    Ok(scenarios)
}

fn run_on_all(
    plan: &Plan,
    program: &Program,
    allocators: &[&Allocator],
    progress: &mut Progress,
) -> Result<Vec<Run>> {
    let words = program.words(plan);
    let mut runs = Vec::new();
    for allocator in allocators {
        progress.step(&format!("{} on {}", program.name, allocator.name));
        let mut command = Command::new(plan.root.join("build/memory").join(words[0]));
        command.args(&words[1..]);
        runs.push(run_one(command, allocator)?);
    }
    Ok(runs)
}

fn add_peak(run: &mut Run) {
    let peak = run
        .samples
        .iter()
        .map(|sample| sample.rss_kb)
        .max()
        .unwrap_or(0);
    let last = run.samples.last().map_or(0, |sample| sample.rss_kb);
    for (name, kb) in [("peak_RSS", peak), ("RSS_at_the_end", last)] {
        let mib = i64::try_from(kb / 1024).unwrap_or(i64::MAX);
        run.figures.push(Figure::new(name, mib, None, "MiB"));
    }
}

fn compare_idle(runs: &mut [Run]) -> Result<()> {
    let [own, system] = [runs[0].value("rss")?, runs[1].value("rss")?];
    let figure = Figure::new("RSS_above_system", own - system, Some(IDLE_MORE_KB), "KiB");
    runs[0].figures.push(figure);
    Ok(())
}

/// Whether the kernel gives huge pages to those who ask, and to nobody else.
fn huge_pages_are_asked_for() -> bool {
    let setting = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled");
    setting.is_ok_and(|setting| setting.contains("[madvise]"))
}

/// In turn on all allocators, and on hakmem without huge pages.
fn run_dense(
    plan: &Plan,
    program: &Program,
    allocators: &[Allocator],
    progress: &mut Progress,
) -> Result<Vec<Run>> {
    let mut all: Vec<&Allocator> = allocators.iter().collect();
    let without = allocators[0].variant("small pages", &[("HAKMEM_HUGE_PAGE_MB", "0")]);
    let compares = huge_pages_are_asked_for();
    if compares {
        all.insert(1, &without);
    }
    let mut best = run_on_all(plan, program, &all, progress)?;
    for _ in 1..DENSE_ROUNDS {
        for (best, run) in best
            .iter_mut()
            .zip(run_on_all(plan, program, &all, progress)?)
        {
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
