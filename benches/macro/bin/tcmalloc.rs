// SPDX-License-Identifier: MIT OR Apache-2.0

//! The workloads on tcmalloc.

use std::process::ExitCode;

use tcmalloc_better::TCMalloc;

#[global_allocator]
static GLOBAL: TCMalloc = TCMalloc;

fn main() -> ExitCode {
    hakmem_benches::main()
}
