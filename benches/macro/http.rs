// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTTP service of the examples under load. This process is the service. The load comes from
//! another process, which uses the system allocator.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use axum::http::{Method, StatusCode};
use hakmem_examples::client::Connection;
use hakmem_examples::load::{self, Plan, Report};
use hakmem_examples::service::{Allocator, router};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::Size;
use crate::measure::{Outcome, hash};

/// The argument that selects [`put_load`].
pub(crate) const LOAD: &str = "http-load";
/// The executable that generates the load, in the same folder as this one.
const LOAD_EXECUTABLE: &str = "macro-system";

const DOCUMENTS: usize = 8_000;
const REQUESTS: usize = 20_000;
const CONNECTIONS: usize = 16;
const SEED: u64 = 7;
const SECONDS_MAX: u64 = 60;
const BODY_BYTES_MAX: usize = 16 << 20;

pub(crate) fn run(size: Size) -> anyhow::Result<Outcome> {
    // A multi-threaded runtime with one thread per CPU. This thread only waits for the load.
    let runtime = Runtime::new()?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    let allocator = Allocator {
        name: "global",
        statistics: || Value::Null,
        metrics: String::new,
        profiles: false,
        heaps: false,
    };
    runtime.spawn(async move { axum::serve(listener, router(allocator, BODY_BYTES_MAX)).await });

    let report = load(address, size)?;
    ensure!(report.complete, "the load took over {SECONDS_MAX} s");
    ensure!(report.failed == 0, "{} wrong answers", report.failed);
    let state = runtime.block_on(state(address))?;
    Ok(Outcome {
        time: Duration::from_secs_f64(report.loading_seconds + report.seconds),
        checksum: hash(format!("{} {state}", report.requests).as_bytes()),
    })
}

/// Returns the final state of the service. Individual answers depend on the order of requests, so
/// they are not part of the checksum.
async fn state(address: SocketAddr) -> anyhow::Result<String> {
    let mut connection = Connection::open(address).await?;
    let (status, stats) = connection.ask(Method::GET, "/stats", String::new()).await?;
    ensure!(status == StatusCode::OK, "/stats answered {status}");
    let stats: Value = serde_json::from_slice(&stats)?;
    Ok(format!("{} {}", stats["documents"], stats["words"]))
}

fn load(address: SocketAddr, size: Size) -> anyhow::Result<Report> {
    let executable = std::env::current_exe()?.with_file_name(LOAD_EXECUTABLE);
    let output = Command::new(&executable)
        .args([LOAD, &address.to_string()])
        .args(size.argument())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run {}", executable.display()))?;
    ensure!(output.status.success(), "{LOAD}: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Generates the load in its own process, and prints the report.
pub(crate) fn put_load(target: SocketAddr, size: Size) -> anyhow::Result<()> {
    let plan = Plan {
        target,
        documents: size.of(DOCUMENTS),
        requests: size.of(REQUESTS),
        connections: CONNECTIONS,
        seed: SEED,
        seconds_max: SECONDS_MAX,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(load::run(&plan))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}
