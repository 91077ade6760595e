// SPDX-License-Identifier: MIT OR Apache-2.0

//! Builds the benchmarks with cargo, which names the programs.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::{Result, root};

/// The package of the micro and macro benchmarks.
pub(crate) const PACKAGE: &str = "hakmem-benches";

fn cargo(arguments: &[&str]) -> Result<String> {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .args(["--package", PACKAGE])
        .current_dir(root())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit());
    let output = command.output()?;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("cargo {}: {}", arguments.join(" "), output.status).into()),
    }
}

/// Names and places of the programs that `cargo ARGUMENTS` builds.
pub(crate) fn build(arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let messages = cargo(&[arguments, &["--quiet", "--message-format=json"]].concat())?;
    messages.lines().filter_map(|line| executable(line).transpose()).collect()
}

fn executable(message: &str) -> Result<Option<(String, PathBuf)>> {
    let message: Value = serde_json::from_str(message)?;
    let name = message["target"]["name"].as_str();
    let path = message["executable"].as_str();
    Ok(name.zip(path).map(|(name, path)| (name.to_owned(), path.into())))
}

/// The crates with the other allocators that the benchmarks depend on, and their versions.
pub(crate) fn allocator_crates() -> Result<Vec<String>> {
    let tree = cargo(&["tree", "--edges=normal", "--depth=1", "--prefix=none"])?;
    let crates = tree.lines().skip(1).filter(|line| {
        let package = line.split(' ').next().unwrap_or_default();
        package.contains("malloc")
    });
    Ok(crates.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn executables_are_read_from_messages() {
        let program = r#"{"reason":"compiler-artifact","target":{"name":"macro-system"},
                          "executable":"/target/release/macro-system"}"#;
        let library =
            r#"{"reason":"compiler-artifact","target":{"name":"libc"},"executable":null}"#;
        let expected = ("macro-system".to_owned(), "/target/release/macro-system".into());
        assert_eq!(executable(program).expect("it is JSON"), Some(expected));
        assert_eq!(executable(library).expect("it is JSON"), None);
        assert!(executable("warning: text").is_err());
    }
}
