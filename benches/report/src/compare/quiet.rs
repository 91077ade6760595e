// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waits until the machine has nothing else to do, and notices when it gets something else to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::UsageWho;

use crate::machine::Usage;

/// The machine is quiet when its processors idle for this share of a look at them.
const IDLE_SHARE: f64 = 0.9;
const LOOK: Duration = Duration::from_millis(100);

/// A run is disturbed when others use more than this share of one processor meanwhile.
const OTHERS_SHARE: f64 = 0.05;
/// Seconds of others that are within the error of the kernel's count, which has ticks of 10 ms.
const COUNT_ERROR: f64 = 0.03;

/// Waits as long as there is patience left, and knows how often there was none.
pub(crate) struct Quiet {
    patience: Duration,
    looks: usize,
    busy: usize,
    repeated: usize,
    disturbed: usize,
}

impl Quiet {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { patience, looks: 0, busy: 0, repeated: 0, disturbed: 0 }
    }

    /// Returns when the machine is quiet, or when patience has run out.
    pub(crate) fn wait(&mut self) {
        let start = Instant::now();
        self.looks += 1;
        // Without a count there is nothing to wait for.
        while idle_share().is_some_and(|share| share < IDLE_SHARE) {
            if start.elapsed() >= self.patience {
                self.busy += 1;
                break;
            }
        }
        // The first look is not a matter of patience.
        let waited = start.elapsed().saturating_sub(LOOK);
        self.patience = self.patience.saturating_sub(waited);
    }

    /// Whether to repeat a run that was disturbed and took so long.
    pub(crate) fn repeats(&mut self, took: Duration) -> bool {
        let has_patience = took <= self.patience;
        if has_patience {
            self.patience -= took;
            self.repeated += 1;
        }
        has_patience
    }

    /// Counts a run that stays disturbed.
    pub(crate) fn give_up(&mut self) {
        self.disturbed += 1;
    }

    pub(crate) fn describe(&self) -> String {
        let waited = match self.busy {
            0 => format!("the machine was quiet before each of {} runs", self.looks),
            busy => {
                format!("gave up waiting for a quiet machine before {busy} of {} runs", self.looks)
            }
        };
        format!(
            "{waited}; other programs disturbed runs: {} were repeated, and {} stay disturbed",
            self.repeated, self.disturbed
        )
    }
}

/// Measures the CPU time that other programs use from now on.
pub(crate) struct Watch {
    start: Instant,
    before: Option<f64>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self { before: others_so_far(), start: Instant::now() }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Seconds that neither this process nor its children used, all of which have ended. They
    /// include the time that the host gave to other machines.
    pub(crate) fn others(&self) -> f64 {
        // The count of the machine has ticks and may lag behind.
        let used =
            self.before.zip(others_so_far()).map(|(before, after)| (after - before).max(0.0));
        used.unwrap_or(0.0)
    }
}

/// Whether a run of that length is disturbed by others that used the processors for so many
/// seconds.
pub(crate) fn is_disturbed(others: f64, length: Duration) -> bool {
    others > OTHERS_SHARE * length.as_secs_f64() + COUNT_ERROR
}

/// CPU seconds of all other processes since the start of the machine, less a constant.
fn others_so_far() -> Option<f64> {
    let (idle, all) = processor_seconds()?;
    let own = Usage::of(UsageWho::RUSAGE_SELF).ok()?.cpu_seconds;
    let children = Usage::of(UsageWho::RUSAGE_CHILDREN).ok()?.cpu_seconds;
    Some(all - idle - own - children)
}

/// The share of the time of all processors in which they idle, over a look.
fn idle_share() -> Option<f64> {
    let (idle, all) = processor_seconds()?;
    thread::sleep(LOOK);
    let (idle_after, all_after) = processor_seconds()?;
    Some((idle_after - idle) / (all_after - all))
}

/// The time in which all processors idled or waited for a disk, and all their time.
fn processor_seconds() -> Option<(f64, f64)> {
    read_processor_seconds(&fs::read_to_string("/proc/stat").ok()?)
}

fn read_processor_seconds(stat: &str) -> Option<(f64, f64)> {
    let ticks = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // Linux counts in hundredths of a second.
    let seconds = ticks.map_while(|tick| Some(tick.parse::<f64>().ok()? / 100.0));
    let seconds: Vec<_> = seconds.collect();
    // user nice system idle iowait irq softirq steal; after them guests, which are users too.
    Some((seconds.get(3)? + seconds.get(4)?, seconds.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_times_are_read() {
        let stat = "cpu  1000 100 500 8000 200 0 100 100 99 99\ncpu0 1 1 1 1\n";
        assert_eq!(read_processor_seconds(stat), Some((82.0, 100.0)));
        assert_eq!(read_processor_seconds(""), None);
    }

    #[test]
    fn some_per_cent_of_a_processor_disturb() {
        let second = Duration::from_secs(1);
        assert!(!is_disturbed(0.07, second) && is_disturbed(0.09, second));
        assert!(!is_disturbed(0.02, Duration::from_millis(1)));
    }

    #[test]
    fn runs_are_repeated_while_there_is_patience() {
        let mut quiet = Quiet::new(Duration::from_secs(3));
        let two = Duration::from_secs(2);
        assert!(quiet.repeats(two) && !quiet.repeats(two));
        quiet.give_up();
        let text = quiet.describe();
        assert!(text.contains("1 were repeated, and 1 stay disturbed"), "{text}");
    }
}
