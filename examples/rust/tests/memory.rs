// SPDX-License-Identifier: MIT OR Apache-2.0

//! Between two loads, the memory of the service on hakmem is little more than its documents.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use hakmem_examples::client::Connection;
use hakmem_examples::load::{self, Plan};
use hakmem_examples::process::Memory;
use hakmem_examples::service::child::ServiceProcess;
use serde_json::Value;

/// Maximum growth of resident memory since the start of the service, relative to live bytes.
const RESIDENT_PERCENT: u64 = 130;
/// Memory is returned a second after it was freed, but the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(10);

async fn put_load_on(service: &ServiceProcess) {
    let plan = Plan {
        target: service.address(),
        documents: 10_000,
        requests: 5_000,
        connections: 8,
        seed: 42,
        seconds_max: 30,
    };
    let report = load::run(&plan).await.unwrap();
    assert!(report.complete, "{report}");
    assert_eq!(report.failed, 0, "{report}");
}

async fn live_bytes(service: &ServiceProcess) -> u64 {
    let mut connection = Connection::open(service.address()).await.unwrap();
    let answer = connection.ask(Method::GET, "/stats", String::new()).await;
    let (status, body) = answer.unwrap();
    assert_eq!(status, StatusCode::OK);
    let stats: Value = serde_json::from_slice(&body).unwrap();
    stats["statistics"]["stats"]["bytes_live"].as_u64().unwrap()
}

fn resident(service: &ServiceProcess) -> u64 {
    Memory::of(service.pid()).unwrap().rss_bytes
}

#[tokio::test]
async fn gives_memory_back_between_loads() {
    let service = ServiceProcess::start(Path::new(env!("CARGO_BIN_EXE_service")), &[]).unwrap();
    let start = resident(&service);
    for _ in 0..2 {
        put_load_on(&service).await;
        let live = live_bytes(&service).await;
        let limit = start + live * RESIDENT_PERCENT / 100;
        let deadline = Instant::now() + PATIENCE;
        while resident(&service) > limit && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let resident = resident(&service);
        assert!(
            resident <= limit,
            "{resident} > {limit}; {live} live, {start} at the start"
        );
    }
    assert!(service.stop().unwrap().success());
}
