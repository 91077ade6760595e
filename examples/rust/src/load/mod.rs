// SPDX-License-Identifier: MIT OR Apache-2.0

//! Puts load on the service. It first adds documents, then sends a mix of requests over several
//! connections. Each connection sends its next request after it has received the last answer.

mod workload;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::client::Connection;
use workload::{Request, Workload};

/// The amount of load, and the service to put it on.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// Address of the service. It must be a loopback address of this machine.
    #[arg(long, value_parser = parse_loopback)]
    pub target: SocketAddr,
    /// Number of documents to add first.
    #[arg(long, default_value_t = 20_000)]
    pub documents: usize,
    /// Number of requests to measure, over all connections.
    #[arg(long, default_value_t = 50_000)]
    pub requests: usize,
    /// Number of connections, each with one request at a time.
    #[arg(long, default_value_t = 16, value_parser = parse_connections)]
    pub connections: usize,
    /// Seed of the documents and of the mix.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,
    /// Seconds after which the load ends, even if requests are left.
    #[arg(long, default_value_t = 60)]
    pub seconds_max: u64,
}

fn parse_loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text.parse().map_err(|error| format!("{error}"))?;
    match address.ip().is_loopback() {
        true => Ok(address),
        false => Err("not a loopback address".to_owned()),
    }
}

fn parse_connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(connections @ 1..=1024) => Ok(connections),
        _ => Err("not a number from 1 to 1024".to_owned()),
    }
}

/// The measurements of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// Number of documents added first.
    pub documents: usize,
    /// Time to add these documents.
    pub loading_seconds: f64,
    /// Number of answered requests of the mix.
    pub requests: usize,
    /// Duration of the mix.
    pub seconds: f64,
    /// Median time from sending a request to the end of its answer.
    pub p50_ms: f64,
    /// 99th percentile of the same time.
    pub p99_ms: f64,
    /// Number of answers with an unexpected status.
    pub failed: usize,
    /// False if the run exceeded its time limit before all requests were answered.
    pub complete: bool,
}

impl Report {
    /// Returns the throughput.
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stopped = if self.complete {
            ""
        } else {
            " (stopped by the time limit)"
        };
        writeln!(
            f,
            "loaded    {} documents in {:.2} s",
            self.documents, self.loading_seconds
        )?;
        writeln!(
            f,
            "answered  {} requests in {:.2} s{stopped}",
            self.requests, self.seconds
        )?;
        writeln!(f, "requests  {:.0}/s", self.requests_per_second())?;
        writeln!(f, "p50       {:.3} ms", self.p50_ms)?;
        writeln!(f, "p99       {:.3} ms", self.p99_ms)?;
        write!(f, "failed    {}", self.failed)
    }
}

/// Runs the load until it is finished or its time is over.
pub async fn run(plan: &Plan) -> anyhow::Result<Report> {
    // Create all requests before the clock starts, so that this is not measured.
    let mut loaders = Vec::new();
    let mut mixes = Vec::new();
    let share = |total: usize, connection: usize| {
        total * (connection + 1) / plan.connections - total * connection / plan.connections
    };
    for connection in 0..plan.connections {
        let mut workload = Workload::new(plan.seed, connection);
        loaders.push(workload.loading(share(plan.documents, connection)));
        mixes.push(workload.mixed(share(plan.requests, connection)));
    }

    let deadline = Instant::now() + Duration::from_secs(plan.seconds_max);
    let loaded = send_all(plan.target, loaders, deadline).await?;
    ensure!(
        loaded.complete,
        "the documents took longer than {} s",
        plan.seconds_max
    );
    ensure!(
        loaded.failed == 0,
        "{} batches of documents were refused",
        loaded.failed
    );
    let sent = send_all(plan.target, mixes, deadline).await?;

    let quantile_ms = |q| sent.latencies_us.value_at_quantile(q) as f64 / 1e3;
    Ok(Report {
        documents: plan.documents,
        loading_seconds: loaded.elapsed.as_secs_f64(),
        requests: sent.latencies_us.len() as usize,
        seconds: sent.elapsed.as_secs_f64(),
        p50_ms: quantile_ms(0.50),
        p99_ms: quantile_ms(0.99),
        failed: sent.failed,
        complete: sent.complete,
    })
}

struct Sent {
    latencies_us: Histogram<u64>,
    elapsed: Duration,
    failed: usize,
    complete: bool,
}

impl Sent {
    fn nothing() -> Self {
        // Values up to an hour, with three significant digits.
        let latencies_us = Histogram::new_with_max(3_600_000_000, 3).expect("bounds are valid");
        Self {
            latencies_us,
            elapsed: Duration::ZERO,
            failed: 0,
            complete: true,
        }
    }
}

/// Sends each list of requests over its own connection, all at the same time.
async fn send_all(
    target: SocketAddr,
    lists: Vec<Vec<Request>>,
    deadline: Instant,
) -> anyhow::Result<Sent> {
    let start = Instant::now();
    let mut connections = JoinSet::new();
    for requests in lists {
        connections.spawn(send(target, requests, deadline));
    }
    let mut all = Sent::nothing();
    while let Some(sent) = connections.join_next().await {
        let sent = sent??;
        all.latencies_us.add(&sent.latencies_us)?;
        all.failed += sent.failed;
        all.complete &= sent.complete;
    }
    all.elapsed = start.elapsed();
    Ok(all)
}

async fn send(
    target: SocketAddr,
    requests: Vec<Request>,
    deadline: Instant,
) -> anyhow::Result<Sent> {
    let mut connection = Connection::open(target).await?;
    let mut sent = Sent::nothing();
    for Request {
        method,
        path,
        body,
        expected,
    } in requests
    {
        let start = Instant::now();
        let answer = connection.ask(method, &path, body);
        let Ok(answer) = tokio::time::timeout_at(deadline.into(), answer).await else {
            sent.complete = false;
            break;
        };
        let latency = start.elapsed().as_micros();
        sent.latencies_us.saturating_record(u64::try_from(latency)?);
        let (status, _) = answer?;
        sent.failed += usize::from(status != expected);
    }
    Ok(sent)
}
