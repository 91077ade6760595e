//! Compiles the allocator into libhakmem.a. One C file includes all others.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

fn main() {
    let c = sources();
    for part in ["include", "src"] {
        println!("cargo::rerun-if-changed={}", c.join(part).display());
    }
    println!("cargo::metadata=include={}", c.join("include").display());
    println!("cargo::rustc-check-cfg=cfg(hakmem_mallinfo2)");

    // These builds use the system allocator, so there is nothing to compile.
    if is_set("CARGO_CFG_MIRI") || is_set("CARGO_CFG_HAKMEM_SYSTEM") {
        return;
    }
    let os = variable("CARGO_CFG_TARGET_OS");
    if os != "linux" {
        eprintln!(
            "hakmem-sys: hakmem runs on Linux only, not on {os}; depend on it under \
             [target.'cfg(target_os = \"linux\")'.dependencies], or build with \
             RUSTFLAGS=\"--cfg hakmem_system\" to use the system's allocator"
        );
        exit(1);
    }

    let mut core = cc::Build::new();
    core.file(c.join("src/hakmem.c"))
        .include(c.join("include"))
        .include(c.join("src"))
        .std("gnu11")
        // Optimise in debug builds too. They would be much slower otherwise.
        .opt_level(2)
        .pic(true)
        .warnings(false)
        .flag("-pthread")
        .flag("-fvisibility=hidden")
        // A C++ new-handler may throw an exception through operator new.
        .flag("-fexceptions")
        .flag("-fno-builtin-malloc")
        .flag("-fno-semantic-interposition")
        .flag(if is_set("CARGO_FEATURE_LOCAL_DYNAMIC_TLS") {
            "-ftls-model=local-dynamic"
        } else {
            "-ftls-model=initial-exec"
        });
    if is_set("CARGO_FEATURE_OVERRIDE") {
        core.define("HAK_OVERRIDE", "1");
        if has_mallinfo2() {
            println!("cargo::rustc-cfg=hakmem_mallinfo2");
        }
    }
    if is_set("CARGO_FEATURE_CHECKS") {
        core.define("HK_DEBUG", "1");
    }
    core.compile("hakmem");
    println!("cargo::metadata=root={}", variable("OUT_DIR"));
}

/// Returns the directory of the C sources. It is inside the package (in the repository, this is a
/// symbolic link), or beside the package where symbolic links are not supported.
fn sources() -> PathBuf {
    let package = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let inside = package.join("c");
    if inside.is_dir() {
        inside
    } else {
        package.parent().unwrap_or(Path::new("/")).join("c")
    }
}

/// Returns whether the C library has mallinfo2, which glibc added in version 2.33. The C sources
/// make the same check.
fn has_mallinfo2() -> bool {
    const PROBE: &str = "\
#include <stdlib.h>
#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 33)
hakmem_mallinfo2
#endif
#endif
";
    let file = PathBuf::from(variable("OUT_DIR")).join("has_mallinfo2.c");
    if let Err(error) = fs::write(&file, PROBE) {
        eprintln!("hakmem-sys: {}: {error}", file.display());
        exit(1);
    }
    let expanded = cc::Build::new().file(&file).try_expand();
    expanded.is_ok_and(|text| String::from_utf8_lossy(&text).contains("hakmem_mallinfo2"))
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some()
}

/// Returns the value of an environment variable that Cargo always sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| {
        eprintln!("hakmem-sys: {name}: {error}");
        exit(1)
    })
}
