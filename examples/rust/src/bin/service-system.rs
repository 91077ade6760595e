// SPDX-License-Identifier: MIT OR Apache-2.0

//! The same service on the system allocator, for comparison.

use hakmem_examples::service::{self, Allocator};

fn main() -> anyhow::Result<()> {
    service::main(Allocator {
        name: "system",
        statistics: || serde_json::Value::Null,
        metrics: String::new,
        profiles: false,
        heaps: false,
    })
}
