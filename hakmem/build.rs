//! Passes on whether hakmem-sys has built the C core, or the system allocator replaces it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(hakmem_system)");
    // Cargo sets this variable from the metadata that the build script of hakmem-sys prints.
    if env::var_os("DEP_HAKMEM_SYSTEM").is_some() {
        println!("cargo::rustc-cfg=hakmem_system");
    }
}
