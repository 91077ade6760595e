// SPDX-License-Identifier: MIT OR Apache-2.0

//! An HTTP service that keeps JSON documents in memory and searches them.
//!
//! | request | answer |
//! |---|---|
//! | `POST /documents` with JSON objects that have an `id` (JSON lines) | 201 and counts |
//! | `GET /documents/{id}` | the document |
//! | `DELETE /documents/{id}` | 204 |
//! | `DELETE /documents` | 204, all documents are deleted |
//! | `GET /search?q=words&limit=10` | up to `limit` (at most 1000) documents with all words |
//! | `GET /words?limit=10` | on hakmem: the words in the most documents, see [`words`] |
//! | `GET /stats` | documents, memory of the process, the allocator's statistics |
//! | `GET /metrics` | the same numbers, in the text format of Prometheus |
//! | `GET /debug/pprof/heap` | on hakmem: a heap profile in the format of pprof, see [`profile`] |

pub mod child;
mod http;
pub mod index;
pub mod metrics;
pub mod profile;
pub mod words;

use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

pub use http::router;

/// Maximum time for requests in progress after the signal to stop.
const GRACE_PERIOD: Duration = Duration::from_secs(10);

/// The allocator of the program. The executable must choose it, not this library.
#[derive(Debug, Clone, Copy)]
pub struct Allocator {
    /// Name in the answer to `/stats`.
    pub name: &'static str,
    /// Returns the allocator's statistics, or null if it has none.
    pub statistics: fn() -> serde_json::Value,
    /// Returns the statistics in the text format of Prometheus, or nothing if there are none.
    pub metrics: fn() -> String,
    /// Whether the allocator can profile the heap.
    pub profiles: bool,
    /// Whether it has private heaps.
    pub heaps: bool,
}

/// Keeps JSON documents in memory and answers searches over HTTP.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Address to listen on. With port 0, the system chooses a free port, which is printed.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Number of threads that serve requests. The default is one per CPU.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Maximum size of a request body, in bytes.
    #[arg(long, default_value_t = 16 << 20)]
    max_body_bytes: usize,
}

/// The main function of the service. It parses the arguments and serves until SIGTERM or SIGINT.
pub fn main(allocator: Allocator) -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    if let Some(threads) = arguments.threads {
        runtime.worker_threads(threads.into());
    }
    runtime
        .enable_all()
        .build()?
        .block_on(serve(arguments, allocator))
}

async fn serve(arguments: Arguments, allocator: Allocator) -> anyhow::Result<()> {
    let ended = end_signal()?;
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("cannot listen on {}", arguments.listen))?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on http://{}", listener.local_addr()?)?;
    stdout.flush()?;

    let router = http::router(allocator, arguments.max_body_bytes);
    let server = axum::serve(listener, router).with_graceful_shutdown(wait(ended.clone()));
    tokio::select! {
        result = server => result.context("the server failed"),
        () = async { wait(ended).await; tokio::time::sleep(GRACE_PERIOD).await } => {
            anyhow::bail!("requests still in progress after {GRACE_PERIOD:?} were cut off")
        }
    }
}

/// Returns a value that becomes true on the first SIGTERM or SIGINT.
fn end_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    let (ended, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ended.send_replace(true);
        // A second Ctrl-C ends the process at once.
        interrupt.recv().await;
        std::process::exit(130);
    });
    Ok(receiver)
}

async fn wait(mut ended: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = ended.wait_for(|ended| *ended).await;
}
