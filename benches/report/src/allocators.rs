// SPDX-License-Identifier: MIT OR Apache-2.0

//! The allocators to compare: those whose libraries can be preloaded here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Result;
use crate::machine::output;

/// The name hakmem has in all tables.
pub const HAKMEM: &str = "hakmem";
/// The same for the system's.
pub const SYSTEM: &str = "system";

/// Another allocator.
struct Peer {
    name: &'static str,
    /// Whether `benches/peers` builds it.
    is_built: bool,
    /// The libraries of Debian's package. If the peer is built too, they only stand in for its library.
    files: &'static [&'static str],
    package: &'static str,
}

const PEERS: [Peer; 6] = [
    Peer {
        name: "mimalloc",
        is_built: true,
        files: &[],
        package: "",
    },
    Peer {
        name: "mimalloc2",
        is_built: true,
        files: &["libmimalloc.so.2", "libmimalloc.so.2.0"],
        package: "libmimalloc2.0",
    },
    Peer {
        name: "jemalloc",
        is_built: true,
        files: &["libjemalloc.so.2"],
        package: "libjemalloc2",
    },
    Peer {
        name: "snmalloc",
        is_built: true,
        files: &[],
        package: "",
    },
    Peer {
        name: "rpmalloc",
        is_built: true,
        files: &[],
        package: "",
    },
    Peer {
        name: "tcmalloc",
        is_built: false,
        files: &["libtcmalloc_minimal.so.4"],
        package: "libtcmalloc-minimal4",
    },
];

impl Peer {
    /// The library that `benches/peers` has built, with the name and the version of its crate.
    fn find_built(&self, root: &Path) -> Result<Option<Allocator>> {
        let folder = root.join("build/peers");
        let library = folder.join(format!("lib{}.so", self.name));
        if !self.is_built || !library.exists() {
            return Ok(None);
        }
        let version = fs::read_to_string(folder.join(format!("{}.version", self.name)));
        let version = version.unwrap_or_default();
        let version = format!("({})", version.trim());
        let built = Allocator::new(self.name, &library)?;
        Ok(Some(Allocator { version, ..built }))
    }

    fn find_installed(&self) -> Result<Option<Allocator>> {
        let library = self.files.iter().find_map(|file| find_library(file));
        library
            .map(|library| Allocator::new(self.name, &library))
            .transpose()
    }

    /// How to get it.
    fn describe_missing(&self) -> String {
        let built = self.is_built.then(|| "make peers".to_owned());
        let package = !self.package.is_empty();
        let package = package.then(|| format!("Debian package {}", self.package));
        let ways: Vec<_> = built.into_iter().chain(package).collect();
        format!("{} ({})", self.name, ways.join(" or "))
    }
}

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
    /// Names of those that are Debian's, because they are not built.
    pub replaced: Vec<String>,
    /// The others, with what to install.
    pub missing: Vec<String>,
}

impl Found {
    /// Lines that tell the versions, the libraries that Debian's stand in for, and what is missing.
    pub fn describe(&self) -> Vec<String> {
        let versions = self.allocators.iter();
        let versions = versions.map(|one| format!("{} {}", one.name, one.version));
        let mut lines = vec![format!(
            "preloaded: {}",
            versions.collect::<Vec<_>>().join(", ")
        )];
        if !self.replaced.is_empty() {
            let names = self.replaced.join(", ");
            lines.push(format!("not built, so those of Debian's packages: {names}"));
        }
        if !self.missing.is_empty() {
            lines.push(format!("not installed: {}", self.missing.join(", ")));
        }
        lines
    }

    /// Adds a peer, if there is a library of it that can be preloaded.
    fn add(&mut self, peer: &Peer, root: &Path) -> Result<()> {
        let built = peer.find_built(root)?;
        let is_built = built.is_some();
        let library = match built {
            Some(built) => Some(built),
            None => peer.find_installed()?,
        };
        let Some(library) = library else {
            self.missing.push(peer.describe_missing());
            return Ok(());
        };
        if let Err(error) = library.check() {
            self.missing.push(format!("{}: {error}", peer.name));
            return Ok(());
        }
        if peer.is_built && !is_built {
            self.replaced.push(peer.name.to_owned());
        }
        self.allocators.push(library);
        Ok(())
    }
}

/// Looks for all allocators; hakmem's library is in `build` of the project's folder, and those of built peers
/// are in `build/peers`.
pub fn find(root: &Path) -> Result<Found> {
    let own = root.join("build/libhakmem.so");
    if !own.exists() {
        return Err(format!("{} is missing: run make first", own.display()).into());
    }
    let own = Allocator::new(HAKMEM, &own)?;
    own.check()?;
    let mut found = Found {
        allocators: vec![own, Allocator::system()],
        replaced: Vec::new(),
        missing: Vec::new(),
    };
    for peer in &PEERS {
        found.add(peer, root)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_peers_are_named_with_the_ways_to_get_them() {
        let text = |name: &str| {
            let peer = PEERS.iter().find(|peer| peer.name == name);
            peer.map(Peer::describe_missing).unwrap_or_default()
        };
        assert_eq!(text("snmalloc"), "snmalloc (make peers)");
        assert_eq!(
            text("jemalloc"),
            "jemalloc (make peers or Debian package libjemalloc2)"
        );
        assert_eq!(
            text("tcmalloc"),
            "tcmalloc (Debian package libtcmalloc-minimal4)"
        );
    }

    #[test]
    fn built_peer_has_the_version_of_its_crate() {
        let root = std::env::temp_dir().join(format!("hakmem-peers-{}", std::process::id()));
        let folder = root.join("build/peers");
        fs::create_dir_all(&folder).expect("there is room for files");
        fs::write(folder.join("librpmalloc.so"), "").expect("there is room");
        fs::write(folder.join("rpmalloc.version"), "rpmalloc-sys 0.2.3\n").expect("there is room");
        let find = |name: &str| {
            let peer = PEERS.iter().find(|peer| peer.name == name);
            let found = peer.map(|peer| peer.find_built(&root).expect("the files can be read"));
            found.flatten().map(|found| found.version)
        };
        assert_eq!(find("rpmalloc").as_deref(), Some("(rpmalloc-sys 0.2.3)"));
        assert_eq!(find("snmalloc"), None);
        assert_eq!(find("tcmalloc"), None);
        fs::remove_dir_all(&root).expect("the folder is ours");
    }

    #[test]
    fn libraries_that_stand_in_for_others_are_named() {
        let found = Found {
            allocators: vec![Allocator::system()],
            replaced: vec!["jemalloc".to_owned()],
            missing: vec!["snmalloc (make peers)".to_owned()],
        };
        let lines = found.describe();
        assert_eq!(
            lines[1],
            "not built, so those of Debian's packages: jemalloc"
        );
        assert_eq!(lines[2], "not installed: snmalloc (make peers)");
    }
}
