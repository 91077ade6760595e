//! Compiles the allocator into libhakmem.a. One C file includes all others. Where the system
//! allocator replaces the C core, there is nothing to compile.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::exit;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(hakmem_mallinfo2)");
    println!("cargo::rustc-check-cfg=cfg(hakmem_system)");

    if system_replaces_hakmem() {
        println!("cargo::rustc-cfg=hakmem_system");
        println!("cargo::metadata=system=1");
    } else {
        compile();
    }
}

/// Returns whether there is no C core in this build, so that the crate `hakmem` uses the system
/// allocator. Notes this fact if it follows from the target.
fn system_replaces_hakmem() -> bool {
    // Miri cannot run C code, and users ask for the system allocator with the other cfg.
    if is_set("CARGO_CFG_MIRI") || is_set("CARGO_CFG_HAKMEM_SYSTEM") {
        return true;
    }
    if is_supported() {
        return false;
    }
    let target = variable("TARGET");
    if is_set("CARGO_FEATURE_REQUIRE_NATIVE") {
        fail(&format!(
            "hakmem does not run on {target}, and the feature require-native forbids the system \
             allocator in its place"
        ));
    }
    println!(
        "cargo::warning=hakmem does not run on {target}, so the system allocator is used; the \
         feature require-native makes this an error"
    );
    true
}

/// Returns whether the C core runs on the target.
fn is_supported() -> bool {
    let is_one_of = |name: &str, values: &[&str]| {
        let value = env::var(name).unwrap_or_default();
        values.contains(&&*value)
    };
    is_one_of("CARGO_CFG_TARGET_OS", &["linux"])
        && is_one_of("CARGO_CFG_TARGET_ARCH", &["x86_64", "aarch64"])
        && is_one_of("CARGO_CFG_TARGET_POINTER_WIDTH", &["64"])
        && is_one_of("CARGO_CFG_TARGET_ENV", &["gnu", "musl"])
}

fn compile() {
    let c = sources();
    for part in ["include", "src"] {
        println!("cargo::rerun-if-changed={}", c.join(part).display());
    }
    println!("cargo::metadata=include={}", c.join("include").display());

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
        fail(&format!("{}: {error}", file.display()));
    }
    let expanded = cc::Build::new().file(&file).try_expand();
    expanded.is_ok_and(|text| String::from_utf8_lossy(&text).contains("hakmem_mallinfo2"))
}

fn is_set(name: &str) -> bool {
    env::var_os(name).is_some()
}

/// Returns the value of an environment variable that Cargo always sets for build scripts.
fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("{name}: {error}")))
}

fn fail(message: &str) -> ! {
    eprintln!("hakmem-sys: {message}");
    exit(1)
}
