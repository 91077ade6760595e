// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on snmalloc.

use std::process::ExitCode;

use snmalloc_rs::SnMalloc;

#[global_allocator]
static GLOBAL: SnMalloc = SnMalloc;

fn main() -> ExitCode {
    hakmem_benches::main()
}
