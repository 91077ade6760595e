// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the time and memory of a workload.

use std::fmt;
use std::hash::{DefaultHasher, Hasher};
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use hakmem_examples::process::{Memory, Pid};

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
    minor_faults: u64,
}

impl Usage {
    pub(crate) fn of_this_process() -> io::Result<Self> {
        // SAFETY: rusage consists of numbers, for which zero is a valid value.
        let mut usage: libc::rusage = unsafe { mem::zeroed() };
        // SAFETY: the pointer refers to a variable of the type that getrusage fills.
        if unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            rss_peak_bytes: Memory::of(Pid::This)?.rss_peak_bytes,
            minor_faults: u64::try_from(usage.ru_minflt).map_err(io::Error::other)?,
        })
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = self.rss_peak_bytes / 1024;
        write!(f, "peak-rss-kb {kib}  minor-faults {}", self.minor_faults)
    }
}
