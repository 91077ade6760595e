//! Compiles the allocator into libhakmem.a. One C file includes all others. Instead of that, the
//! script can link an installed library, or leave out the C core where the system allocator
//! replaces it.
//
// SPDX-License-Identifier: MIT OR Apache-2.0

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Chooses an installed library.
const USE_PKG_CONFIG: &str = "HAKMEM_SYS_USE_PKG_CONFIG";

/// Variables that influence the program pkg-config.
const PKG_CONFIG_VARIABLES: [&str; 5] = [
    "PKG_CONFIG",
    "PKG_CONFIG_ALLOW_CROSS",
    "PKG_CONFIG_LIBDIR",
    "PKG_CONFIG_PATH",
    "PKG_CONFIG_SYSROOT_DIR",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    for variable in PKG_CONFIG_VARIABLES.iter().chain(&[USE_PKG_CONFIG]) {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    println!("cargo::rustc-check-cfg=cfg(hakmem_mallinfo2)");
    println!("cargo::rustc-check-cfg=cfg(hakmem_system)");

    if system_replaces_hakmem() {
        println!("cargo::rustc-cfg=hakmem_system");
        println!("cargo::metadata=system=1");
    } else if env::var_os(USE_PKG_CONFIG).is_some_and(|value| !value.is_empty() && value != "0") {
        link_installed();
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

/// Links the library that pkg-config finds, and prints where it is.
fn link_installed() {
    let (host, target) = (variable("HOST"), variable("TARGET"));
    if host != target && !is_set("PKG_CONFIG") && !is_set("PKG_CONFIG_ALLOW_CROSS") {
        fail(&format!(
            "{USE_PKG_CONFIG} is set, but pkg-config finds libraries for {host}, not for {target}; \
             set PKG_CONFIG to one for the target, or PKG_CONFIG_ALLOW_CROSS=1 if it is one already"
        ));
    }

    let found = pkg_config(&["--modversion"]);
    let (found, wanted) = (found.trim(), variable("CARGO_PKG_VERSION"));
    if !is_compatible(found, &wanted) {
        fail(&format!(
            "{USE_PKG_CONFIG} is set, but the installed hakmem {found} does not fit hakmem-sys \
             {wanted}; install a version that fits, or unset the variable to compile the C sources"
        ));
    }

    for flag in flags(&pkg_config(&["--cflags", "--libs"])) {
        match flag.split_at_checked(2) {
            Some(("-I", directory)) => println!("cargo::metadata=include={directory}"),
            Some(("-L", directory)) => {
                println!("cargo::rustc-link-search=native={directory}");
                println!("cargo::metadata=root={directory}");
            }
            Some(("-l", library)) => println!("cargo::rustc-link-lib={library}"),
            // Other flags concern C compilers.
            _ => {}
        }
    }
}

/// Runs pkg-config for hakmem, and returns its output.
fn pkg_config(arguments: &[&str]) -> String {
    let program = PathBuf::from(env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into()));
    let output = Command::new(&program)
        .args(arguments)
        .arg("hakmem")
        // The output then has the directories of the system, too.
        .env("PKG_CONFIG_ALLOW_SYSTEM_CFLAGS", "1")
        .env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1")
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        Ok(output) => fail(&format!(
            "{USE_PKG_CONFIG} is set, but {} does not find hakmem; install it (make install), set \
             PKG_CONFIG_PATH to the directory of hakmem.pc, or unset the variable to compile the C \
             sources\n{}",
            program.display(),
            String::from_utf8_lossy(&output.stderr)
        )),
        Err(error) => fail(&format!(
            "{USE_PKG_CONFIG} is set, but {} cannot be run ({error}); install pkg-config, or unset \
             the variable to compile the C sources",
            program.display()
        )),
    }
}

/// Splits the output of pkg-config at spaces. A backslash protects a space.
fn flags(output: &str) -> Vec<String> {
    let mut flags = vec![String::new()];
    let mut letters = output.chars();
    while let Some(letter) = letters.next() {
        let flag = flags.last_mut().expect("the vector is never empty");
        match letter {
            '\\' => flag.extend(letters.next()),
            _ if letter.is_whitespace() => flags.push(String::new()),
            _ => flag.push(letter),
        }
    }
    flags
}

/// Returns whether the version `found` has everything that `wanted` has, by the rules of Cargo:
/// versions with the same leftmost number that is not 0 are compatible upwards.
fn is_compatible(found: &str, wanted: &str) -> bool {
    let numbers = |version: &str| -> Option<[u64; 3]> {
        let numbers: Option<Vec<u64>> = version.split('.').map(|part| part.parse().ok()).collect();
        numbers?.try_into().ok()
    };
    let (Some(found), Some(wanted)) = (numbers(found), numbers(wanted)) else {
        return false;
    };
    let leftmost = wanted.iter().position(|&number| number != 0).unwrap_or(2);
    found[..=leftmost] == wanted[..=leftmost] && found >= wanted
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
