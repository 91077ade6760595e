// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on the system allocator.

use std::process::ExitCode;

use std::alloc::System;

#[global_allocator]
static GLOBAL: System = System;

fn main() -> ExitCode {
    hakmem_benches::main()
}
