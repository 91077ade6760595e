// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTTP service under load: a fresh process for each round and allocator.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use hakmem_examples::client::Connection;
use hakmem_examples::load::Report;
use hakmem_examples::process::{self, Memory};
use hakmem_examples::service::child::ServiceProcess;
use serde::Deserialize;
use serde_json::Value;

use crate::table::{Better, Row, grouped};

/// Connections of the load generator.
pub(crate) const CONNECTIONS: usize = 16;
/// Maximum duration of a load, in seconds.
const SECONDS_PER_LOAD: u64 = 15;
/// Time from the deletion of all documents to the last memory measurement.
const IDLE: Duration = Duration::from_secs(2);
/// Allocators and their executables, which are in the same folder as this one.
const ALLOCATORS: [(&str, &str); 2] = [("system", "service-system"), ("hakmem", "service")];

/// The load of one round.
pub(crate) struct Load {
    pub(crate) documents: usize,
    pub(crate) requests: usize,
}

/// The measurements of one round on one allocator.
struct Round {
    report: Report,
    cpu: Duration,
    memory: Memory,
    memory_idle: Memory,
    /// The allocator's statistics. The system allocator has none.
    statistics: Option<Statistics>,
}

/// The part of hakmem's statistics that is printed, with the names of the JSON report.
#[derive(Deserialize)]
struct Statistics {
    bytes_live: u64,
    bytes_cached: u64,
    bytes_dirty: u64,
    bytes_mapped: u64,
    bytes_mapped_peak: u64,
    bytes_purged: u64,
    refills: u64,
    flushes: u64,
    transfer_puts: u64,
    transfer_takes: u64,
    map_calls: u64,
    unmap_calls: u64,
    remap_calls: u64,
    purge_calls: u64,
    lock_waits: u64,
    errors: u64,
}

/// All rounds, grouped by allocator: system, hakmem.
pub(crate) struct Rounds([Vec<Round>; 2]);

/// Runs the rounds alternately on both allocators. No round starts after `time`.
pub(crate) fn compare(load: &Load, count: usize, time: Duration) -> anyhow::Result<Rounds> {
    let folder = std::env::current_exe()?.with_file_name("");
    let start = Instant::now();
    let mut rounds = Rounds([Vec::new(), Vec::new()]);
    for number in 0..count {
        if number > 0 && start.elapsed() > time {
            println!("   no time for more rounds");
            break;
        }
        // Alternate the order, so that neither allocator always runs second.
        let first = number % 2;
        for (turn, which) in [first, 1 - first].into_iter().enumerate() {
            let (allocator, executable) = ALLOCATORS[which];
            print!("   round {} of {count}  {allocator}  ", number + 1);
            std::io::stdout().flush()?;
            let round = measure(&folder, executable, load, number)?;
            let done = number * 2 + turn + 1;
            let left = start.elapsed().as_secs_f64() * (count * 2 - done) as f64 / done as f64;
            println!(
                "{:>9} requests/s  p99 {:.2} ms  peak {:.1} MiB  {left:>4.0} s left{}",
                grouped(round.report.requests_per_second(), 0),
                round.report.p99_ms,
                mib(round.memory.rss_peak_bytes),
                if round.report.complete {
                    ""
                } else {
                    "  (cut off by time)"
                },
            );
            rounds.0[which].push(round);
        }
    }
    Ok(rounds)
}

fn measure(folder: &Path, executable: &str, load: &Load, seed: usize) -> anyhow::Result<Round> {
    let service = ServiceProcess::start(&folder.join(executable), &[])?;
    let report = run_load(folder.join("load"), &service, load, seed)?;
    let cpu = process::cpu_time(service.pid())?;
    let memory = Memory::of(service.pid())?;
    let statistics = ask(&service, Method::GET, "/stats", StatusCode::OK)?;
    ask(
        &service,
        Method::DELETE,
        "/documents",
        StatusCode::NO_CONTENT,
    )?;
    thread::sleep(IDLE);
    let memory_idle = Memory::of(service.pid())?;
    let status = service.stop()?;
    ensure!(status.success(), "{executable} ended with {status}");
    let statistics = parse_statistics(&statistics)?;
    Ok(Round {
        report,
        cpu,
        memory,
        memory_idle,
        statistics,
    })
}

fn run_load(
    executable: PathBuf,
    service: &ServiceProcess,
    load: &Load,
    seed: usize,
) -> anyhow::Result<Report> {
    let output = Command::new(&executable)
        .arg("--json")
        .args(["--target", &service.address().to_string()])
        .args(["--documents", &load.documents.to_string()])
        .args(["--requests", &load.requests.to_string()])
        .args(["--connections", &CONNECTIONS.to_string()])
        .args(["--seconds-max", &SECONDS_PER_LOAD.to_string()])
        .args(["--seed", &seed.to_string()])
        .output()
        .with_context(|| format!("cannot run {}", executable.display()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "the load failed: {errors}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn ask(
    service: &ServiceProcess,
    method: Method,
    path: &str,
    expected: StatusCode,
) -> anyhow::Result<Bytes> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (status, body) = runtime.block_on(async {
        let mut connection = Connection::open(service.address()).await?;
        connection.ask(method, path, String::new()).await
    })?;
    ensure!(status == expected, "{path} answered {status}");
    Ok(body)
}

fn parse_statistics(stats: &[u8]) -> anyhow::Result<Option<Statistics>> {
    let mut stats: Value = serde_json::from_slice(stats)?;
    match stats["statistics"].take() {
        Value::Null => Ok(None),
        mut statistics => Ok(serde_json::from_value(statistics["stats"].take())?),
    }
}

impl Rounds {
    /// Returns the lines of the table.
    pub(crate) fn rows(&self) -> Vec<Row> {
        let [system, hakmem] = &self.0;
        let row = |name: &str, decimals, better, quantity: fn(&Round) -> f64| {
            Row::medians(name, decimals, better, [system, hakmem], quantity)
        };
        vec![
            Row::Title(format!("HTTP service, {} rounds", system.len())),
            row("documents loaded/s", 0, Better::More, |r| {
                r.report.documents as f64 / r.report.loading_seconds
            }),
            row("requests/s", 0, Better::More, |r| {
                r.report.requests_per_second()
            }),
            row("latency p50, ms", 3, Better::Less, |r| r.report.p50_ms),
            row("latency p99, ms", 3, Better::Less, |r| r.report.p99_ms),
            row("CPU time, s", 2, Better::Less, |r| r.cpu.as_secs_f64()),
            row("peak RSS, MiB", 1, Better::Less, |r| {
                mib(r.memory.rss_peak_bytes)
            }),
            row(
                &format!("RSS {} s after all is deleted, MiB", IDLE.as_secs()),
                1,
                Better::Less,
                |r| mib(r.memory_idle.rss_bytes),
            ),
        ]
    }

    /// Prints hakmem's statistics of the last round.
    pub(crate) fn print_statistics(&self) -> anyhow::Result<()> {
        let last = self.0[1].last().and_then(|round| round.statistics.as_ref());
        let s = last.context("the service on hakmem gave no statistics")?;
        let size = |name: &str, bytes: u64| println!("  {:>10.1} MiB  {name}", mib(bytes));
        let count =
            |name: &str, number: u64| println!("  {:>14}  {name}", grouped(number as f64, 0));
        size("in blocks that the service holds", s.bytes_live);
        size(
            "in free blocks in thread and transfer caches",
            s.bytes_cached,
        );
        size("free, not given back to the system yet", s.bytes_dirty);
        size("given back to the system in all", s.bytes_purged);
        size("of address space mapped", s.bytes_mapped);
        size("of address space mapped at the peak", s.bytes_mapped_peak);
        count("refills of a thread cache from slabs", s.refills);
        count("refills served by a transfer cache", s.transfer_takes);
        count("batches flushed from a full thread cache", s.flushes);
        count("batches put into a transfer cache", s.transfer_puts);
        count("times that a thread slept for a lock", s.lock_waits);
        let calls = s.map_calls + s.unmap_calls + s.remap_calls + s.purge_calls;
        count("calls of mmap, munmap, mremap and madvise", calls);
        count("uses of bad pointers", s.errors);
        Ok(())
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
