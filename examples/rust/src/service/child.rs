// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the service as a child process, for programs that test it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::GRACE_PERIOD;
use crate::process::{self, Pid};

/// A running service on a free port. Dropping it kills the process.
#[derive(Debug)]
pub struct ServiceProcess {
    child: Child,
    address: SocketAddr,
}

impl ServiceProcess {
    /// Starts the executable and waits until it listens.
    pub fn start(executable: &Path, arguments: &[&str]) -> anyhow::Result<Self> {
        let mut child = Command::new(executable)
            .args(["--listen", "127.0.0.1:0"])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", executable.display()))?;
        let mut line = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim_end().strip_prefix("listening on http://");
        let Some(address) = address.and_then(|address| address.parse().ok()) else {
            // If it has already ended, there is nothing to kill.
            let _ = child.kill();
            let status = child.wait()?;
            bail!("{} did not start: {status}", executable.display());
        };
        Ok(Self { child, address })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns its process, to measure it.
    pub fn pid(&self) -> Pid {
        Pid::Child(self.child.id())
    }

    /// Asks the service to end and waits for it.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        process::terminate(&mut self.child)?;
        let deadline = Instant::now() + GRACE_PERIOD + Duration::from_secs(1);
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        bail!("the service did not end");
    }
}

impl Drop for ServiceProcess {
    fn drop(&mut self) {
        // After stop(), both fail or do nothing, because the child has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
