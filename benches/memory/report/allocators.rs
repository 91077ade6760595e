// SPDX-License-Identifier: MIT OR Apache-2.0

//! The allocators to compare: those whose libraries can be preloaded here.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;
use crate::{Plan, Result};

/// The name hakmem has in all tables.
pub(crate) const HAKMEM: &str = "hakmem";
/// The same for the system's.
pub(crate) const SYSTEM: &str = "glibc";

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
pub(crate) struct Allocator {
    pub(crate) name: String,
    pub(crate) version: String,
    /// Preloaded; none: the system's allocator.
    library: Option<PathBuf>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Allocator {
    /// The same with an environment; `what` tells it apart.
    pub(crate) fn variant(&self, what: &str, environment: &[(&'static str, &'static str)]) -> Self {
        Self {
            name: format!("{}, {what}", self.name),
            version: self.version.clone(),
            library: self.library.clone(),
            environment: environment.to_vec(),
        }
    }

    pub(crate) fn is_hakmem(&self) -> bool {
        self.name == HAKMEM
    }

    /// Lets the command run on it, with default options but for those of the variant.
    pub(crate) fn preload_into(&self, command: &mut Command) {
        let options = std::env::vars_os().map(|(name, _)| name);
        for name in options.filter(|name| name.to_string_lossy().starts_with("HAKMEM_")) {
            command.env_remove(name);
        }
        match &self.library {
            Some(library) => command.env("LD_PRELOAD", library),
            None => command.env_remove("LD_PRELOAD"),
        };
        command.envs(self.environment.iter().copied());
    }
}

/// What there is, hakmem first and glibc second, and what is not.
pub(crate) struct Found {
    pub(crate) allocators: Vec<Allocator>,
    pub(crate) missing: Vec<String>,
}

pub(crate) fn find(plan: &Plan) -> Result<Found> {
    let own = plan.root.join("build/libhakmem.so");
    if !own.exists() {
        return Err(format!("{} is missing: run make first", own.display()).into());
    }
    let mut found = Found {
        allocators: vec![
            allocator(HAKMEM, own.canonicalize()?.file_name(), Some(&own)),
            Allocator {
                name: SYSTEM.to_owned(),
                version: output("getconf", &["GNU_LIBC_VERSION"]),
                library: None,
                environment: Vec::new(),
            },
        ],
        missing: Vec::new(),
    };
    for (name, files, package) in OTHERS {
        let Some(library) = files.iter().find_map(|file| find_library(file)) else {
            found
                .missing
                .push(format!("{name} (Debian package {package})"));
            continue;
        };
        let other = allocator(name, library.canonicalize()?.file_name(), Some(&library));
        // The loader only warns of a library that it cannot load.
        let mut command = Command::new(plan.root.join("build/memory/idle"));
        command.arg("0");
        match run::run(command, &other) {
            Ok(_) => found.allocators.push(other),
            Err(error) => found.missing.push(format!("{name}: {error}")),
        }
    }
    Ok(found)
}

fn allocator(name: &str, file: Option<&std::ffi::OsStr>, library: Option<&Path>) -> Allocator {
    Allocator {
        name: name.to_owned(),
        version: file
            .map(|file| file.to_string_lossy().into_owned())
            .unwrap_or_default(),
        library: library.map(Path::to_owned),
        environment: Vec::new(),
    }
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

/// What a program says, empty if it fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}
