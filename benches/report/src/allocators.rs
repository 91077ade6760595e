// SPDX-License-Identifier: MIT OR Apache-2.0

//! The allocators to compare: those whose libraries can be preloaded here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::machine::output;

/// The name hakmem has in all tables.
pub const HAKMEM: &str = "hakmem";
/// The same for the system's.
pub const SYSTEM: &str = "system";

/// Names, libraries and Debian packages of the others.
const OTHERS: [(&str, &[&str], &str); 3] = [
    ("jemalloc", &["libjemalloc.so.2"], "libjemalloc2"),
    (
        "tcmalloc",
        &["libtcmalloc_minimal.so.4"],
        "libtcmalloc-minimal4",
    ),
    (
        "mimalloc",
        &["libmimalloc.so.2", "libmimalloc.so.2.0"],
        "libmimalloc2.0",
    ),
];

/// An allocator, and what else to set for it.
pub struct Allocator {
    /// Its name in tables.
    pub name: String,
    /// The version, or the file that holds it in its name.
    pub version: String,
    library: PathBuf,
    environment: Vec<(&'static str, &'static str)>,
}

impl Allocator {
    fn new(name: &str, library: &Path) -> Result<Self> {
        let file = library.canonicalize()?;
        let version = file.file_name().unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            version: version.to_string_lossy().into_owned(),
            library: library.to_owned(),
            environment: Vec::new(),
        })
    }

    /// The C library is preloaded too: a program that is linked with an allocator runs on the system's.
    fn system() -> Self {
        Self {
            name: SYSTEM.to_owned(),
            version: output("getconf", &["GNU_LIBC_VERSION"]),
            library: "libc.so.6".into(),
            environment: Vec::new(),
        }
    }

    /// The same with an environment; `what` tells it apart.
    pub fn variant(&self, what: &str, environment: &[(&'static str, &'static str)]) -> Self {
        Self {
            name: format!("{}, {what}", self.name),
            version: self.version.clone(),
            library: self.library.clone(),
            environment: environment.to_vec(),
        }
    }

    /// Whether this is hakmem, without variation.
    pub fn is_hakmem(&self) -> bool {
        self.name == HAKMEM
    }

    /// What `LD_PRELOAD` is for it.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// Lets the command run on it, with default options but for those of the variant.
    pub fn preload_into(&self, command: &mut Command) {
        remove_options(command);
        command.env("LD_PRELOAD", &self.library);
        command.envs(self.environment.iter().copied());
    }

    /// The loader only warns of a library that it cannot load.
    fn check(&self) -> Result<()> {
        let mut command = Command::new("true");
        self.preload_into(&mut command);
        let output = command.stdin(Stdio::null()).output()?;
        if output.status.success() && output.stderr.is_empty() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        Err(format!("{}: {}: {message}", self.library.display(), output.status).into())
    }
}

/// Takes hakmem's options out of a command's environment.
pub fn remove_options(command: &mut Command) {
    let options = std::env::vars_os().map(|(name, _)| name);
    for name in options.filter(|name| name.to_string_lossy().starts_with("HAKMEM_")) {
        command.env_remove(name);
    }
}

/// What there is, hakmem first and the system's second, and what is not.
pub struct Found {
    /// Those that can be preloaded.
    pub allocators: Vec<Allocator>,
    /// The others, with what to install.
    pub missing: Vec<String>,
}

impl Found {
    /// Lines that tell the versions and what is missing.
    pub fn describe(&self) -> Vec<String> {
        let versions = self.allocators.iter();
        let versions = versions.map(|one| format!("{} {}", one.name, one.version));
        let mut lines = vec![format!(
            "preloaded: {}",
            versions.collect::<Vec<_>>().join(", ")
        )];
        if !self.missing.is_empty() {
            lines.push(format!("not installed: {}", self.missing.join(", ")));
        }
        lines
    }
}

/// Looks for all allocators; hakmem's library is in `build` of the project's folder.
pub fn find(root: &Path) -> Result<Found> {
    let own = root.join("build/libhakmem.so");
    if !own.exists() {
        return Err(format!("{} is missing: run make first", own.display()).into());
    }
    let own = Allocator::new(HAKMEM, &own)?;
    own.check()?;
    let mut found = Found {
        allocators: vec![own, Allocator::system()],
        missing: Vec::new(),
    };
    for (name, files, package) in OTHERS {
        let Some(library) = files.iter().find_map(|file| find_library(file)) else {
            found
                .missing
                .push(format!("{name} (Debian package {package})"));
            continue;
        };
        let other = Allocator::new(name, &library)?;
        match other.check() {
            Ok(()) => found.allocators.push(other),
            Err(error) => found.missing.push(format!("{name}: {error}")),
        }
    }
    Ok(found)
}

fn find_library(file: &str) -> Option<PathBuf> {
    let folders = [
        format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH),
        "/usr/lib64".to_owned(),
        "/usr/lib".to_owned(),
        "/usr/local/lib".to_owned(),
    ];
    folders
        .iter()
        .map(|folder| Path::new(folder).join(file))
        .find(|path| path.exists())
}
