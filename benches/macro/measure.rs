// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the time and memory of a workload.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use fastrand::Rng;
use hakmem_examples::process::{Memory, Pid};
use nix::sys::resource::{UsageWho, getrusage};

use crate::input::random;

/// A finished workload.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) time: Duration,
    /// Checksum of the results. It is the same on all allocators.
    pub(crate) checksum: u64,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.time.as_secs_f64();
        write!(f, "seconds {seconds:.4}  checksum {:016x}", self.checksum)
    }
}

/// Runs and times the work, which returns its checksum. The work includes freeing everything that
/// it allocates.
pub(crate) fn timed(work: impl FnOnce() -> anyhow::Result<u64>) -> anyhow::Result<Outcome> {
    let start = Instant::now();
    let checksum = work()?;
    let time = start.elapsed();
    Ok(Outcome { time, checksum })
}

/// Runs the work in each of `count` threads, with different random numbers. Returns the sum of
/// their results.
pub(crate) fn sum_of_threads(
    count: usize,
    work: impl Fn(Rng) -> u64 + Sync,
) -> anyhow::Result<u64> {
    thread::scope(|scope| {
        let work = &work;
        let start = |number| scope.spawn(move || work(random(number)));
        let threads: Vec<_> = (0..count as u64).map(start).collect();
        threads.into_iter().try_fold(0, |sum: u64, thread| {
            let part = thread.join().map_err(|_| anyhow!("a thread panicked"))?;
            Ok(sum.wrapping_add(part))
        })
    })
}

/// Returns a hash of the bytes that is the same in each process.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Resource usage of the process so far, which includes the creation of the inputs.
#[derive(Debug)]
pub(crate) struct Usage {
    rss_peak_bytes: u64,
    minor_faults: i64,
}

impl Usage {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        Ok(Self {
            rss_peak_bytes: Memory::of(Pid::This)?.rss_peak_bytes,
            minor_faults: getrusage(UsageWho::RUSAGE_SELF)?.minor_page_faults(),
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.rss_peak_bytes / 1024;
        write!(f, "peak-rss-kb {kib}  minor-faults {}", self.minor_faults)
    }
}
