// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waits until the machine has nothing else to do.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// The machine is quiet when its processors idle for this share of a look at them.
const IDLE_SHARE: f64 = 0.9;
const LOOK: Duration = Duration::from_millis(250);

/// Waits as long as there is patience left, and knows how often there was none.
pub(crate) struct Quiet {
    patience: Duration,
    looks: usize,
    busy: usize,
}

impl Quiet {
    pub(crate) fn new(patience: Duration) -> Self {
        Self {
            patience,
            looks: 0,
            busy: 0,
        }
    }

    /// Returns when the machine is quiet, or when patience has run out.
    pub(crate) fn wait(&mut self) {
        let start = Instant::now();
        self.looks += 1;
        while idle_share() < IDLE_SHARE {
            if start.elapsed() >= self.patience {
                self.busy += 1;
                break;
            }
        }
        self.patience = self.patience.saturating_sub(start.elapsed());
    }

    pub(crate) fn describe(&self) -> String {
        match self.busy {
            0 => format!("the machine was quiet at each of {} looks", self.looks),
            busy => format!(
                "gave up waiting for a quiet machine at {busy} of {} looks: other programs ran",
                self.looks
            ),
        }
    }
}

/// The share of the time of all processors in which they idle, over a look.
fn idle_share() -> f64 {
    let read = || processor_times(&fs::read_to_string("/proc/stat").unwrap_or_default());
    let before = read();
    thread::sleep(LOOK);
    let after = read();
    match (before, after) {
        (Some((idle, all)), Some((idle_after, all_after))) if all_after > all => {
            (idle_after - idle) / (all_after - all)
        }
        // What cannot be told cannot be waited for.
        _ => 1.0,
    }
}

/// The ticks that all processors idled or waited for a disk, and all their ticks.
fn processor_times(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .map_while(|word| word.parse().ok())
        .collect();
    // user nice system idle iowait irq softirq steal; after them guests, which are users too.
    Some((ticks.get(3)? + ticks.get(4)?, ticks.iter().take(8).sum()))
}

#[cfg(test)]
mod tests {
    use super::processor_times;

    #[test]
    fn processor_times_are_read() {
        let stat = "cpu  10 1 5 80 2 0 1 1 99 99\ncpu0 1 1 1 1\n";
        assert_eq!(processor_times(stat), Some((82.0, 100.0)));
        assert_eq!(processor_times(""), None);
    }
}
