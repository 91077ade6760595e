// SPDX-License-Identifier: MIT OR Apache-2.0

//! The cost of returning memory in busy programs: the C benchmarks with purging and without.

use std::process::Stdio;

use nix::sys::resource::UsageWho;

use super::Plan;
use super::run::{Figure, Run};
use crate::Result;
use crate::allocators::Allocator;
use crate::machine::Usage;
use crate::process::command;

pub(crate) const NAME: &str = "purging";

/// A benchmark program and its arguments, for a run of seconds, in which there are several scans of
/// free memory, and for a short one.
pub(crate) const PROGRAMS: [[&str; 3]; 5] = [
    ["bench_random_mixed", "300000000 256 42", "2000000 256 42"],
    ["bench_random_mixed", "300000000 1024 42", "2000000 1024 42"],
    ["bench_pool_tls", "2 80000000 256 42", "2 200000 256 42"],
    ["bench_mid_large_mt", "2 80000000 256 42", "2 100000 256 42"],
    ["bench_larson", "2 100 500000 5000 42", "2 100 10000 5000 42"],
];

/// A day, and no thread: nothing is purged.
const OFF: [(&str, &str); 2] =
    [("HAKMEM_PURGE_DELAY_MS", "86400000"), ("HAKMEM_PURGE_THREAD_MB", "0")];

/// Throughput is at least 0.98 of that without purging, so the time is at most this much.
const TIME_PERMILLE: i64 = 1020;

pub(crate) fn run(plan: &Plan<'_>) -> Result<Vec<Run>> {
    let hakmem = &plan.allocators[0];
    let both = [hakmem, &hakmem.variant("not purging", &OFF)];
    let rounds = if plan.quick { 3 } else { 15 };
    let mut runs = both.map(|allocator| Run::new(&allocator.name));
    for [program, full, quick] in PROGRAMS {
        let arguments = if plan.quick { quick } else { full };
        let name = format!("{program} {arguments}");
        plan.progress.step(&format!("{NAME}: {name}"));
        // Disturbances only ever add to the cost, so the least one counts.
        let mut least = [[i64::MAX; 2]; 2];
        // The order alternates. The first round warms up.
        for round in 0..=rounds {
            for which in [round % 2, 1 - round % 2] {
                let [ms, faults] = measure(both[which], &name)?;
                if round > 0 {
                    let [least_ms, least_faults] = least[which];
                    least[which] = [least_ms.min(ms), least_faults.min(faults)];
                }
            }
        }
        for (run, [ms, faults]) in runs.iter_mut().zip(least) {
            run.figures.push(Figure::new(&name, ms, None, "CPU ms"));
            run.figures.push(Figure::new(&format!("{name}: page faults"), faults, None, ""));
        }
        let [[with, _], [without, _]] = least;
        let permille = (with * 1000 + without / 2) / without.max(1);
        // Short runs show that it works, not how fast.
        let limit = (!plan.quick).then_some(TIME_PERMILLE);
        runs[0].figures.push(Figure::new(&format!("{name}: time"), permille, limit, "1/1000"));
    }
    Ok(runs.into())
}

/// CPU milliseconds and page faults of a run. They include the thread that returns memory, and
/// other programs change the CPU time less than the time that passes.
fn measure(allocator: &Allocator, program: &str) -> Result<[i64; 2]> {
    let mut command = command(&format!("build/bench/{program}"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    allocator.preload_into(&mut command);
    let before = Usage::of(UsageWho::RUSAGE_CHILDREN)?;
    let status = command.status().map_err(|error| format!("{command:?}: {error}"))?;
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    let after = Usage::of(UsageWho::RUSAGE_CHILDREN)?;
    let ms = (after.cpu_seconds - before.cpu_seconds) * 1000.0;
    Ok([ms.round() as i64, after.minor_faults - before.minor_faults])
}
