// SPDX-License-Identifier: MIT OR Apache-2.0

//! An HTTP service on hakmem. See [`hakmem_examples::service`].

use hakmem_examples::service::{self, Allocator};
use serde_json::{Value, json};

#[global_allocator]
static GLOBAL: hakmem::Hakmem = hakmem::Hakmem;

fn main() -> anyhow::Result<()> {
    service::main(Allocator {
        name: "hakmem",
        statistics,
        metrics: || hakmem::report(hakmem::Format::Prometheus).to_string(),
        profiles: true,
        heaps: true,
    })
}

fn statistics() -> Value {
    let report = hakmem::report(hakmem::Format::Json).to_string();
    serde_json::from_str(&report).unwrap_or_else(|error| json!({ "error": error.to_string() }))
}
