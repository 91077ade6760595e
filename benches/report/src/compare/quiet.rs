// SPDX-License-Identifier: MIT OR Apache-2.0

//! Waits until the machine has nothing else to do, and notices when it gets something else to do.

use std::fs;
use std::mem::MaybeUninit;
use std::thread;
use std::time::{Duration, Instant};

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
        Self {
            patience,
            looks: 0,
            busy: 0,
            repeated: 0,
            disturbed: 0,
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
            busy => format!(
                "gave up waiting for a quiet machine before {busy} of {} runs",
                self.looks
            ),
        };
        format!(
            "{waited}; other programs disturbed runs: {} were repeated, and {} stay disturbed",
            self.repeated, self.disturbed
        )
    }
}

/// CPU seconds since the start of the machine and of this process.
#[derive(Clone, Copy)]
struct Times {
    busy: f64,
    own: f64,
}

impl Times {
    fn now() -> Option<Self> {
        Some(Self {
            busy: busy_seconds()?,
            own: own_seconds(),
        })
    }

    /// Seconds of others since an earlier time.
    fn others_since(self, before: Self) -> f64 {
        (self.busy - before.busy - (self.own - before.own)).max(0.0)
    }
}

/// The CPU time that others use from now on.
pub(crate) struct Watch {
    start: Instant,
    before: Option<Times>,
}

impl Watch {
    pub(crate) fn start() -> Self {
        Self {
            before: Times::now(),
            start: Instant::now(),
        }
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// Seconds that neither this process nor its children used, all of which have ended. They include the
    /// time that the host gave to other machines.
    pub(crate) fn others(&self) -> f64 {
        match (self.before, Times::now()) {
            (Some(before), Some(after)) => after.others_since(before),
            // What cannot be told cannot be judged.
            _ => 0.0,
        }
    }
}

/// Whether a run of that length is disturbed by others that used the processors for so many seconds.
pub(crate) fn is_disturbed(others: f64, length: Duration) -> bool {
    others > OTHERS_SHARE * length.as_secs_f64() + COUNT_ERROR
}

fn busy_seconds() -> Option<f64> {
    let (idle, all) = processor_times(&fs::read_to_string("/proc/stat").ok()?)?;
    // SAFETY: sysconf reads a constant of the system.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then(|| (all - idle) / ticks as f64)
}

/// Of this process and of all children that it has waited for.
fn own_seconds() -> f64 {
    let seconds = |of| {
        let mut usage = MaybeUninit::<libc::rusage>::zeroed();
        // SAFETY: the pointer is to memory of ours that the call may write.
        unsafe { libc::getrusage(of, usage.as_mut_ptr()) };
        // SAFETY: zeros are a valid rusage, even if the call has failed.
        let usage = unsafe { usage.assume_init() };
        let time = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        time(usage.ru_utime) + time(usage.ru_stime)
    };
    seconds(libc::RUSAGE_SELF) + seconds(libc::RUSAGE_CHILDREN)
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
    use super::*;

    #[test]
    fn processor_times_are_read() {
        let stat = "cpu  10 1 5 80 2 0 1 1 99 99\ncpu0 1 1 1 1\n";
        assert_eq!(processor_times(stat), Some((82.0, 100.0)));
        assert_eq!(processor_times(""), None);
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
        assert!(
            text.contains("1 were repeated, and 1 stay disturbed"),
            "{text}"
        );
    }

    #[test]
    fn own_time_is_counted() {
        let before = own_seconds();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        assert!(own_seconds() > before);
    }

    #[test]
    fn others_used_what_is_not_own() {
        let times = |busy, own| Times { busy, own };
        let others = times(105.0, 13.0).others_since(times(100.0, 10.0));
        assert_eq!(others, 2.0);
        // The count of the machine has ticks and may lag behind.
        assert_eq!(times(100.0, 10.01).others_since(times(100.0, 10.0)), 0.0);
    }
}
