// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on mimalloc.

use std::process::ExitCode;

use mimalloc::MiMalloc;

#[global_allocator]
static GLOBAL: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    hakmem_benches::main()
}
