// SPDX-License-Identifier: MIT OR Apache-2.0

//! What giving memory back costs programs that are busy: the C benchmarks with purging and without.

use std::process::{Command, Stdio};

use crate::allocators::Allocator;
use crate::run::{Figure, Run, Scenario};
use crate::{Plan, Progress, Result};

pub(crate) const NAME: &str = "purging";

/// A benchmark program and its arguments; the second number of iterations is for a quick run.
const PROGRAMS: [(&str, &str, &str); 5] = [
    ("bench_random_mixed", "30000000 256 42", "2000000 256 42"),
    ("bench_random_mixed", "20000000 1024 42", "2000000 1024 42"),
    ("bench_pool_tls", "2 4000000 256 42", "2 200000 256 42"),
    ("bench_mid_large_mt", "2 2000000 256 42", "2 100000 256 42"),
    (
        "bench_larson",
        "2 100 100000 5000 42",
        "2 100 10000 5000 42",
    ),
];

/// A day, and no thread: nothing goes back.
const OFF: [(&str, &str); 2] = [
    ("HAKMEM_PURGE_DELAY_MS", "86400000"),
    ("HAKMEM_PURGE_THREAD_MB", "0"),
];

/// Throughput is at least 0.98 of that without purging.
const TIME_PERMILLE: i64 = 1020;

fn rounds(plan: &Plan) -> usize {
    if plan.quick { 3 } else { 9 }
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
        let mut speeds = [Vec::new(), Vec::new()];
        let both = [hakmem, &off];
        // The order alternates; the first round warms up.
        for round in 0..=rounds(plan) {
            for which in [round % 2, 1 - round % 2] {
                let speed = measure(plan, both[which], program, arguments)?;
                if round > 0 {
                    speeds[which].push(speed);
                }
            }
        }
        // Neighbours in time are compared: the machine's load changes.
        let pairs = speeds[0].iter().zip(&speeds[1]);
        let permille = median(pairs.map(|(on, off)| off * 1000.0 / on).collect()).round() as i64;
        let [on, off] = speeds.map(median);
        figures[0].push(Figure::new(&name, on as i64, None, "operations/s"));
        figures[1].push(Figure::new(&name, off as i64, None, "operations/s"));
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
        title: "Purging: the benchmark programs with it and without, medians of pairs".to_owned(),
        runs: runs.collect(),
    }))
}

fn measure(plan: &Plan, allocator: &Allocator, program: &str, arguments: &str) -> Result<f64> {
    let mut command = Command::new(plan.root.join("build/bench").join(program));
    command.args(arguments.split(' ')).stdin(Stdio::null());
    allocator.preload_into(&mut command);
    let output = command
        .output()
        .map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text
        .split_whitespace()
        .skip_while(|word| *word != "ops/s")
        .skip(1);
    let speed = words
        .next()
        .ok_or_else(|| format!("{command:?}: {}", output.status))?;
    Ok(speed.parse()?)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
