// SPDX-License-Identifier: MIT OR Apache-2.0

//! Looks at the resident memory of a process while it runs, for the part that is in huge pages at the peak.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The time between two looks.
const PERIOD: Duration = Duration::from_millis(10);
/// The kernel walks all page tables for a look, and the process may have to wait for it. So the pause after a
/// look is at least this many times as long as the look.
const PAUSE: u32 = 50;

/// Resident memory of a process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Resident {
    rss_kb: u64,
    huge_kb: u64,
}

impl Resident {
    /// The memory of a process now. A process that ends has none.
    pub(crate) fn of(pid: libc::pid_t) -> Option<Self> {
        Self::read(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
    }

    fn read(rollup: &str) -> Option<Self> {
        Some(Self {
            rss_kb: kilobytes(rollup, "Rss:").filter(|kb| *kb > 0)?,
            huge_kb: kilobytes(rollup, "AnonHugePages:")?,
        })
    }

    /// The share of it that is in huge pages, from 0 to 1.
    pub(crate) fn huge_share(self) -> f64 {
        self.huge_kb as f64 / self.rss_kb as f64
    }
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A thread that looks at a process until it is stopped.
pub(crate) struct Sampler {
    stop: Sender<()>,
    thread: JoinHandle<Option<Resident>>,
}

impl Sampler {
    pub(crate) fn start(pid: libc::pid_t) -> Self {
        let (stop, stopped) = channel::<()>();
        let thread = thread::spawn(move || {
            let mut peak = Peak::default();
            let mut pause = PERIOD;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                let start = Instant::now();
                peak.look(pid);
                pause = PERIOD.max(start.elapsed() * PAUSE);
            }
            peak.resident
        });
        Self { stop, thread }
    }

    /// The memory at the peak, if there was time for a look.
    pub(crate) fn stop(self) -> Option<Resident> {
        drop(self.stop);
        self.thread.join().ok().flatten()
    }
}

/// The look with the most memory so far.
#[derive(Default)]
struct Peak {
    pages: u64,
    resident: Option<Resident>,
}

impl Peak {
    /// A number of pages costs the kernel nothing to tell, so only a higher one is worth a look.
    fn look(&mut self, pid: libc::pid_t) {
        let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
        let Some(pages) = resident_pages(&statm).filter(|pages| *pages > self.pages) else {
            return;
        };
        if let Some(resident) = Resident::of(pid) {
            self.pages = pages;
            self.resident = Some(resident);
        }
    }
}

/// The second number in the line of `statm`.
fn resident_pages(statm: &str) -> Option<u64> {
    statm.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLLUP: &str = "\
55638aa8f000-7ffe5d7c0000 ---p 00000000 00:00 0                          [rollup]
Rss:               16384 kB
Pss_Anon:            112 kB
AnonHugePages:      4096 kB
";

    #[test]
    fn share_of_huge_pages_is_read() {
        let resident = Resident::read(ROLLUP).expect("both numbers are there");
        assert_eq!(resident.huge_share(), 0.25);
        assert_eq!(Resident::read("Rss: 0 kB\nAnonHugePages: 0 kB\n"), None);
        assert_eq!(Resident::read(""), None);
    }

    #[test]
    fn resident_pages_are_read() {
        assert_eq!(resident_pages("900 432 300 5 0 100 0\n"), Some(432));
        assert_eq!(resident_pages(""), None);
    }

    #[test]
    fn sampler_finds_the_memory_of_a_process_that_runs() {
        let pid = libc::pid_t::try_from(std::process::id()).expect("it is a process");
        let sampler = Sampler::start(pid);
        thread::sleep(PERIOD * 10);
        let resident = sampler.stop().expect("there was time for a look");
        assert!((0.0..=1.0).contains(&resident.huge_share()));
    }
}
