// SPDX-License-Identifier: MIT OR Apache-2.0

//! What giving memory back costs programs that are busy: the C benchmarks with purging and without.

use std::fs;
use std::process::{Command, Stdio};

use crate::allocators::Allocator;
use crate::run::{Figure, Run, Scenario};
use crate::{Plan, Progress, Result};

pub(crate) const NAME: &str = "purging";

/// A benchmark program and its arguments, for a run of seconds, in which there are several looks at
/// what is free, and for a short one.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("bench_random_mixed", "150000000 256 42", "2000000 256 42"),
    ("bench_random_mixed", "150000000 1024 42", "2000000 1024 42"),
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
    if plan.quick { 3 } else { 7 }
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
        let mut times = [Vec::new(), Vec::new()];
        let both = [hakmem, &off];
        // The order alternates; the first round warms up.
        for round in 0..=rounds(plan) {
            for which in [round % 2, 1 - round % 2] {
                let time = measure(plan, both[which], program, arguments)?;
                if round > 0 {
                    times[which].push(time);
                }
            }
        }
        // Neighbours in time are compared: the machine's clock changes.
        let pairs = times[0].iter().zip(&times[1]);
        let permille = median(pairs.map(|(on, off)| on * 1000.0 / off).collect()).round() as i64;
        let [on, off] = times.map(median);
        figures[0].push(Figure::new(&name, (on * 1000.0) as i64, None, "CPU ms"));
        figures[1].push(Figure::new(&name, (off * 1000.0) as i64, None, "CPU ms"));
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
        title: "Purging: the benchmark programs with it and without, medians".to_owned(),
        runs: runs.collect(),
    }))
}

/// The CPU time of a run, in seconds, the thread's that gives memory back included. Other programs on
/// the machine change it less than the time that passes.
fn measure(plan: &Plan, allocator: &Allocator, program: &str, arguments: &str) -> Result<f64> {
    let mut command = Command::new(plan.root.join("build/bench").join(program));
    command
        .args(arguments.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    allocator.preload_into(&mut command);
    let before = children_seconds()?;
    let status = command
        .status()
        .map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    // A short run may take no tick of the kernel's clock.
    Ok((children_seconds()? - before).max(SECONDS_PER_TICK))
}

/// Of `/proc/PID/stat`: Linux counts there in hundredths, whatever its own clock does.
const SECONDS_PER_TICK: f64 = 0.01;

/// CPU time of the children that have ended.
fn children_seconds() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name, in brackets, may hold anything; cutime and cstime are fields 16 and 17 of all.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let mut fields = fields.split_whitespace().skip(13);
    let mut ticks = || -> Result<f64> { Ok(fields.next().unwrap_or_default().parse()?) };
    Ok((ticks()? + ticks()?) * SECONDS_PER_TICK)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
