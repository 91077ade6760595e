// SPDX-License-Identifier: MIT OR Apache-2.0

//! A redis server on an allocator, under the load of redis-benchmark, which runs on the system's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::folder;
use super::samples::Sample;
use crate::Result;
use crate::process::{self, command};

pub(crate) const CLIENT: &str = "redis-benchmark";
/// The server listens at the socket alone and writes no file.
pub(crate) const SERVER: &str =
    "redis-server --port 0 --unixsocket build/compare/redis.sock --save '' --appendonly no";
/// The client sends 16 requests before it waits for answers, so that the server works rather than
/// waits.
pub(crate) const CLIENT_OPTIONS: &str = "-s build/compare/redis.sock -P 16 -q";
const SHUT_DOWN: &str = "redis-cli -s build/compare/redis.sock shutdown nosave";
const START_LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn count_calls(client: Command, server: &Command) -> Result<BTreeMap<String, u64>> {
    let counts = folder().join("strace.txt");
    measure(client, process::traced(server, &counts))?;
    Ok(process::read_counts(&fs::read_to_string(&counts)?))
}

/// The time of the client, and the usage of the server.
pub(crate) fn measure(mut client: Command, server: Command) -> Result<Sample> {
    let socket = folder().join("redis.sock");
    if socket.exists() {
        fs::remove_file(&socket)?;
    }
    let server = process::start(server, &folder(), "server")?;
    client.args(CLIENT_OPTIONS.split(' '));
    let work = || -> Result<_> {
        wait_until_it_listens(&socket)?;
        let client = process::run(client, &folder())?;
        let huge_share = server.huge_share();
        process::run(command(SHUT_DOWN), &folder())?;
        Ok((client.sample.seconds, huge_share))
    };
    match work() {
        Ok((seconds, huge_share)) => Ok(Sample { seconds, huge_share, ..server.finish()?.sample }),
        // A server that has died tells more than the client that has lost it.
        Err(error) => Err(server.abort().err().unwrap_or(error)),
    }
}

fn wait_until_it_listens(socket: &std::path::Path) -> Result<()> {
    let start = Instant::now();
    while UnixStream::connect(socket).is_err() {
        if start.elapsed() > START_LIMIT {
            return Err("redis-server does not start".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
