// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on jemalloc.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static GLOBAL: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    hakmem_benches::main()
}
