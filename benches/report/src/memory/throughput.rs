// SPDX-License-Identifier: MIT OR Apache-2.0

//! What giving memory back costs programs that are busy: the C benchmarks with purging and without.

use std::fs;
use std::process::{Command, Stdio};

use hakmem_reports::Result;
use hakmem_reports::allocators::Allocator;

use crate::run::{Figure, Run, Scenario};
use crate::{Plan, Progress};

pub(crate) const NAME: &str = "purging";

/// A benchmark program and its arguments, for a run of seconds, in which there are several looks at
/// what is free, and for a short one.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("bench_random_mixed", "300000000 256 42", "2000000 256 42"),
    ("bench_random_mixed", "300000000 1024 42", "2000000 1024 42"),
    ("bench_pool_tls", "2 80000000 256 42", "2 200000 256 42"),
    ("bench_mid_large_mt", "2 80000000 256 42", "2 100000 256 42"),
    (
        "bench_larson",
        "2 100 500000 5000 42",
        "2 100 10000 5000 42",
    ),
];

/// A day, and no thread: nothing goes back.
const OFF: [(&str, &str); 2] = [
    ("HAKMEM_PURGE_DELAY_MS", "86400000"),
    ("HAKMEM_PURGE_THREAD_MB", "0"),
];

/// Throughput is at least 0.98 of that without purging: so much more time.
const TIME_PERMILLE: i64 = 1020;

fn rounds(plan: &Plan) -> usize {
    if plan.quick { 3 } else { 15 }
}

pub(crate) fn steps(plan: &Plan) -> usize {
    if plan.wants(NAME) { PROGRAMS.len() } else { 0 }
}

pub(crate) fn run(
    plan: &Plan,
    hakmem: &Allocator,
    progress: &mut Progress,
) -> Result<Option<Scenario>> {
    if !plan.wants(NAME) {
        return Ok(None);
    }
    let off = hakmem.variant("not purging", &OFF);
    let mut figures = [Vec::new(), Vec::new()];
    for (program, full, quick) in PROGRAMS {
        let arguments = if plan.quick { quick } else { full };
        let name = format!("{program} {arguments}");
        progress.step(&format!("{NAME}: {name}"));
        let both = [hakmem, &off];
        let mut least = [Cost::MOST; 2];
        // The order alternates; the first round warms up.
        for round in 0..=rounds(plan) {
            for which in [round % 2, 1 - round % 2] {
                let cost = measure(plan, both[which], program, arguments)?;
                if round > 0 {
                    least[which] = least[which].least(cost);
                }
            }
        }
        for (figures, cost) in figures.iter_mut().zip(least) {
            figures.push(Figure::new(&name, cost.ticks * MS_PER_TICK, None, "CPU ms"));
            figures.push(Figure::new(
                &format!("{name}: page faults"),
                cost.faults,
                None,
                "",
            ));
        }
        let permille = (least[0].ticks * 1000 + least[1].ticks / 2) / least[1].ticks.max(1);
        // Short runs say that it works, not how fast.
        let limit = (!plan.quick).then_some(TIME_PERMILLE);
        figures[0].push(Figure::new(
            &format!("{name}: time"),
            permille,
            limit,
            "1/1000",
        ));
    }
    let names = [hakmem.name.clone(), off.name.clone()];
    let runs = names.into_iter().zip(figures).map(|(name, figures)| Run {
        name,
        samples: Vec::new(),
        figures,
    });
    Ok(Some(Scenario {
        name: NAME,
        title: "Purging: the benchmark programs with it and without, the least cost of each"
            .to_owned(),
        runs: runs.collect(),
    }))
}

/// What a run takes of the machine, the thread that gives memory back included. Other programs change
/// the CPU time less than the time that passes.
#[derive(Clone, Copy)]
struct Cost {
    ticks: i64,
    faults: i64,
}

/// Linux counts in hundredths of a second in `/proc/PID/stat`, whatever its own clock does.
const MS_PER_TICK: i64 = 10;

impl Cost {
    const MOST: Self = Self {
        ticks: i64::MAX / 1000,
        faults: i64::MAX,
    };

    /// What disturbs a run only ever adds to its cost.
    fn least(self, other: Self) -> Self {
        Self {
            ticks: self.ticks.min(other.ticks),
            faults: self.faults.min(other.faults),
        }
    }

    /// Of all children that have ended.
    fn of_children() -> Result<Self> {
        let stat = fs::read_to_string("/proc/self/stat")?;
        // The name, in brackets, may hold anything; it is field 2 of those that proc(5) numbers.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let fields: Vec<_> = fields.split_whitespace().collect();
        let field = |number: usize| -> Result<i64> {
            let field = fields.get(number - 3).copied();
            Ok(field.unwrap_or_default().parse()?)
        };
        let [cminflt, cutime, cstime] = [field(11)?, field(16)?, field(17)?];
        Ok(Self {
            ticks: cutime + cstime,
            faults: cminflt,
        })
    }
}

fn measure(plan: &Plan, allocator: &Allocator, program: &str, arguments: &str) -> Result<Cost> {
    let mut command = Command::new(plan.root.join("build/bench").join(program));
    command
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    allocator.preload_into(&mut command);
    let before = Cost::of_children()?;
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let after = Cost::of_children()?;
    Ok(Cost {
        ticks: after.ticks - before.ticks,
        faults: after.faults - before.faults,
    })
}
