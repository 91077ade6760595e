// SPDX-License-Identifier: MIT OR Apache-2.0

//! The allocators to compare: those with a library that can be preloaded here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::machine::output;

/// The name of hakmem in all tables.
pub(crate) const HAKMEM: &str = "hakmem";
/// The name of the system's allocator in all tables.
pub(crate) const SYSTEM: &str = "system";

/// The other allocators: the name, whether `benches/peers` builds it, and the library and the
/// package of Debian. A peer that is built has these as a substitute.
const PEERS: [(&str, bool, Option<[&str; 2]>); 6] = [
    ("mimalloc", true, None),
    ("mimalloc2", true, Some(["libmimalloc.so.2", "libmimalloc2.0"])),
    ("jemalloc", true, Some(["libjemalloc.so.2", "libjemalloc2"])),
    ("snmalloc", true, None),
    ("rpmalloc", true, None),
    ("tcmalloc", false, Some(["libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"])),
];

/// An allocator, and its environment.
#[derive(Clone)]
pub(crate) struct Allocator {
    /// Its name in tables.
    pub(crate) name: String,
    /// The version, or the file that holds it in its name.
    pub(crate) version: String,
    /// The value of `LD_PRELOAD`.
    pub(crate) library: PathBuf,
    environment: Vec<(&'static str, &'static str)>,
}

impl Allocator {
    fn new(name: &str, library: &Path) -> Result<Self> {
        let file = library.canonicalize()?;
        let version = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let library = library.to_owned();
        Ok(Self { name: name.to_owned(), version, library, environment: Vec::new() })
    }

    /// The library in `build`.
    pub(crate) fn hakmem(root: &Path) -> Result<Self> {
        let library = root.join("build/libhakmem.so");
        if !library.exists() {
            return Err(format!("{} is missing: run make first", library.display()).into());
        }
        let own = Self::new(HAKMEM, &library)?;
        own.check()?;
        Ok(own)
    }

    /// Preloads the C library too, so that a program that is linked with an allocator runs on the
    /// system's.
    pub(crate) fn system() -> Self {
        let version = output("getconf", &["GNU_LIBC_VERSION"]);
        let library = "libc.so.6".into();
        Self { name: SYSTEM.to_owned(), version, library, environment: Vec::new() }
    }

    /// An allocator of a library that the user names.
    pub(crate) fn of_file(library: &Path) -> Result<Self> {
        let file = library.file_name().unwrap_or_default().to_string_lossy();
        let name = file.split(".so").next().unwrap_or_default();
        let allocator = Self::new(name.trim_start_matches("lib"), &fs::canonicalize(library)?)?;
        allocator.check()?;
        Ok(allocator)
    }

    /// The library that `benches/peers` has built, with the name and the version of its crate.
    fn built(name: &str, root: &Path) -> Result<Option<Self>> {
        let folder = root.join("build/peers");
        let library = folder.join(format!("lib{name}.so"));
        if !library.exists() {
            return Ok(None);
        }
        let version = fs::read_to_string(folder.join(format!("{name}.version")));
        let version = format!("({})", version.unwrap_or_default().trim());
        Ok(Some(Self { version, ..Self::new(name, &library)? }))
    }

    /// The same with an environment. `variant` completes the name.
    pub(crate) fn variant(
        &self,
        variant: &str,
        environment: &[(&'static str, &'static str)],
    ) -> Self {
        let name = format!("{}, {variant}", self.name);
        Self { name, environment: environment.to_vec(), ..self.clone() }
    }

    /// Whether this is hakmem, without variation.
    pub(crate) fn is_hakmem(&self) -> bool {
        self.name == HAKMEM
    }

    /// Lets the command run on it, with default options except for those of the variant.
    pub(crate) fn preload_into(&self, command: &mut Command) {
        remove_options(command);
        command.env("LD_PRELOAD", &self.library);
        command.envs(self.environment.iter().copied());
    }

    /// Fails if it cannot be preloaded. The loader only warns, and goes on without the library.
    fn check(&self) -> Result<()> {
        let mut command = Command::new("true");
        self.preload_into(&mut command);
        let output = command.stdin(Stdio::null()).output()?;
        if output.status.success() && output.stderr.is_empty() {
            return Ok(());
        }
        let message = String::from_utf8_lossy(&output.stderr);
        let library = self.library.display();
        Err(format!("{library} cannot be preloaded: {}: {message}", output.status).into())
    }
}

/// Removes the options of hakmem from the environment of a command.
pub(crate) fn remove_options(command: &mut Command) {
    let options = std::env::vars_os().map(|(name, _)| name);
    for name in options.filter(|name| name.to_string_lossy().starts_with("HAKMEM_")) {
        command.env_remove(name);
    }
}

/// The allocators of this machine, hakmem first and the system's second.
pub(crate) struct Found {
    pub(crate) allocators: Vec<Allocator>,
    /// Names of peers that are those of Debian, because they are not built.
    pub(crate) replaced: Vec<String>,
    /// The peers that are not here, and how to get them.
    pub(crate) missing: Vec<String>,
}

impl Found {
    /// Lines that state the versions, the substitutes of Debian, and the missing peers.
    pub(crate) fn describe(&self) -> Vec<String> {
        let versions = self.allocators.iter().map(|one| format!("{} {}", one.name, one.version));
        let lines = [
            ("preloaded", versions.collect::<Vec<_>>()),
            ("not built, so those of Debian's packages", self.replaced.clone()),
            ("not installed", self.missing.clone()),
        ];
        let lines = lines.into_iter().filter(|(_, names)| !names.is_empty());
        lines.map(|(title, names)| format!("{title}: {}", names.join(", "))).collect()
    }
}

/// Looks for all allocators. The library of hakmem is in `build`, and those of built peers are in
/// `build/peers`.
pub(crate) fn find(root: &Path) -> Result<Found> {
    let allocators = vec![Allocator::hakmem(root)?, Allocator::system()];
    let mut found = Found { allocators, replaced: Vec::new(), missing: Vec::new() };
    for (name, is_built, debian) in PEERS {
        let built = Allocator::built(name, root)?;
        let replaced = is_built && built.is_none();
        let installed = debian.and_then(|[file, _]| find_library(file));
        let installed = installed.map(|library| Allocator::new(name, &library)).transpose()?;
        match built.or(installed).map(|peer| (peer.check(), peer)) {
            None => found.missing.push(ways_to_get(name, is_built, debian)),
            Some((Err(error), _)) => found.missing.push(format!("{name}: {error}")),
            Some((Ok(()), peer)) => {
                found.replaced.extend(replaced.then(|| name.to_owned()));
                found.allocators.push(peer);
            }
        }
    }
    Ok(found)
}

fn ways_to_get(name: &str, is_built: bool, debian: Option<[&str; 2]>) -> String {
    let built = is_built.then(|| "make peers".to_owned());
    let package = debian.map(|[_, package]| format!("Debian package {package}"));
    format!("{name} ({})", built.into_iter().chain(package).collect::<Vec<_>>().join(" or "))
}

fn find_library(file: &str) -> Option<PathBuf> {
    let own = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let folders = [own.as_str(), "/usr/lib64", "/usr/lib", "/usr/local/lib"];
    folders.map(|folder| Path::new(folder).join(file)).into_iter().find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_peers_are_named_with_the_ways_to_get_them() {
        let text = |i: usize| ways_to_get(PEERS[i].0, PEERS[i].1, PEERS[i].2);
        assert_eq!(text(2), "jemalloc (make peers or Debian package libjemalloc2)");
        assert_eq!(text(3), "snmalloc (make peers)");
        assert_eq!(text(5), "tcmalloc (Debian package libtcmalloc-minimal4)");
    }

    #[test]
    fn built_peer_has_the_version_of_its_crate() {
        let root = std::env::temp_dir().join(format!("hakmem-peers-{}", std::process::id()));
        let folder = root.join("build/peers");
        fs::create_dir_all(&folder).expect("there is room for files");
        fs::write(folder.join("librpmalloc.so"), "").expect("there is room");
        fs::write(folder.join("rpmalloc.version"), "rpmalloc-sys 0.2.3\n").expect("there is room");
        let version = |name| {
            let built = Allocator::built(name, &root).expect("the files can be read");
            built.map(|built| built.version)
        };
        assert_eq!(version("rpmalloc").as_deref(), Some("(rpmalloc-sys 0.2.3)"));
        assert_eq!(version("snmalloc"), None);
        fs::remove_dir_all(&root).expect("the folder is ours");
    }

    #[test]
    fn substitutes_and_missing_libraries_are_named() {
        let found = Found {
            allocators: vec![Allocator::system()],
            replaced: vec!["jemalloc".to_owned()],
            missing: vec!["snmalloc (make peers)".to_owned()],
        };
        let lines = found.describe();
        assert_eq!(lines[1], "not built, so those of Debian's packages: jemalloc");
        assert_eq!(lines[2], "not installed: snmalloc (make peers)");
    }
}
