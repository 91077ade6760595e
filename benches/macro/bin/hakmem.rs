// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on hakmem.

use std::process::ExitCode;

use hakmem::Hakmem;

#[global_allocator]
static GLOBAL: Hakmem = Hakmem;

fn main() -> ExitCode {
    hakmem_benches::main()
}
