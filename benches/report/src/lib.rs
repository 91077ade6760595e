// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the programs that report on allocators share: the allocators to preload, the machine, and the
//! page.

use std::error::Error;
use std::path::{Path, PathBuf};

pub mod allocators;
pub mod machine;
pub mod page;

/// A result whose error is a message for the one who started the program.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folder of the whole project.
pub fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.ancestors().nth(2).unwrap_or(package).to_owned()
}

/// Whether `QUICK=1` asks for a short run, which shows that things work, not how fast.
pub fn is_quick() -> bool {
    std::env::var_os("QUICK").is_some_and(|quick| !quick.is_empty())
}
