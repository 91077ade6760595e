// SPDX-License-Identifier: MIT OR Apache-2.0

//! A redis server on an allocator, under the load of redis-benchmark, which runs on the system's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use hakmem_reports::{Result, root};

use crate::process::{self, Running};
use crate::resident::Resident;
use crate::samples::Sample;

pub(crate) const CLIENT: &str = "redis-benchmark";
/// What a row needs, and the Debian packages.
pub(crate) const NEEDS: &[(&str, &str)] = &[
    ("redis-server", "redis-server"),
    (CLIENT, "redis-tools"),
    ("redis-cli", "redis-tools"),
];

/// In the project's folder: the path of a socket must be short.
const SOCKET: &str = "build/compare/redis.sock";
/// Requests that the client sends before it waits for answers: the server works rather than waits.
const PIPELINE: &str = "16";
const START_LIMIT: Duration = Duration::from_secs(20);

/// The time of the client, and what the server took.
pub(crate) fn measure(
    client: Command,
    preload: &dyn Fn(&mut Command),
    folder: &Path,
) -> Result<Sample> {
    let mut server = server();
    preload(&mut server);
    let (seconds, server) = serve(server, client, folder)?;
    Ok(Sample { seconds, ..server })
}

pub(crate) fn count_calls(
    client: Command,
    preload: &dyn Fn(&mut Command),
    folder: &Path,
) -> Result<BTreeMap<String, u64>> {
    let mut server = server();
    preload(&mut server);
    let counts = folder.join("strace.txt");
    serve(process::traced(&server, &counts), client, folder)?;
    Ok(process::read_counts(&fs::read_to_string(&counts)?))
}

/// A server that listens at the socket alone and writes no file.
pub(crate) fn server() -> Command {
    let mut server = Command::new("/usr/bin/redis-server");
    server
        .args(["--port", "0", "--unixsocket", SOCKET])
        .args(["--save", "", "--appendonly", "no"])
        .current_dir(root());
    server
}

/// Tells the client where the server is and how to load it.
pub(crate) fn add_options(client: &mut Command) {
    client.args(["-s", SOCKET, "-P", PIPELINE, "-q"]);
}

fn serve(server: Command, mut client: Command, folder: &Path) -> Result<(f64, Sample)> {
    let socket = root().join(SOCKET);
    if socket.exists() {
        fs::remove_file(&socket)?;
    }
    let server = process::start(server, folder, "server")?;
    add_options(&mut client);
    let mut resident = None;
    let served = wait_until_it_listens(&socket)
        .and_then(|()| process::run(client, folder))
        .and_then(|client| {
            resident = server.resident();
            shut_down(folder).map(|()| client)
        });
    match served {
        Ok(client) => {
            let sample = Sample {
                huge_share: resident.map(Resident::huge_share),
                ..server.finish()?.sample
            };
            Ok((client.sample.seconds, sample))
        }
        Err(error) => Err(explain(error, server)),
    }
}

/// A server that has died tells more than the client that has lost it.
fn explain(error: Box<dyn std::error::Error>, server: Running) -> Box<dyn std::error::Error> {
    server.abort().err().unwrap_or(error)
}

fn wait_until_it_listens(socket: &Path) -> Result<()> {
    let start = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if start.elapsed() > START_LIMIT {
            return Err("redis-server does not start".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// The server ends with status 0 and without a dump.
fn shut_down(folder: &Path) -> Result<()> {
    let mut command = Command::new("/usr/bin/redis-cli");
    command
        .args(["-s", SOCKET, "shutdown", "nosave"])
        .current_dir(root());
    process::run(command, folder)?;
    Ok(())
}
