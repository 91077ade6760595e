// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on rpmalloc.

use std::process::ExitCode;

use rpmalloc::RpMalloc;

#[global_allocator]
static GLOBAL: RpMalloc = RpMalloc;

fn main() -> ExitCode {
    hakmem_benches::main()
}
