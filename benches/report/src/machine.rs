// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine and the date, without which figures mean nothing.

use std::fs;
use std::process::Command;

use nix::sys::resource::{UsageWho, getrusage};

/// Lines that tell the date, the machine and its settings.
pub(crate) fn describe() -> Vec<String> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    vec![
        format!("date: {}", output("date", &["+%Y-%m-%d %H:%M %Z"])),
        format!(
            "machine: {} CPUs, {}, {} of memory, Linux {}, load {}",
            cpus,
            cpu(),
            field(&read("/proc/meminfo"), "MemTotal"),
            read("/proc/sys/kernel/osrelease").trim(),
            load.split(' ').next().unwrap_or_default(),
        ),
        format!(
            "transparent huge pages: {}",
            read("/sys/kernel/mm/transparent_hugepage/enabled").trim()
        ),
    ]
}

/// The processor's name; where the kernel does not tell it, the architecture.
pub(crate) fn cpu() -> String {
    match field(&read("/proc/cpuinfo"), "model name") {
        model if model.is_empty() => std::env::consts::ARCH.to_owned(),
        model => model,
    }
}

/// The output of a program, empty if it fails.
pub(crate) fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or(String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value in the first line `name: value`.
pub(crate) fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or(String::new(), |(_, value)| value.trim().to_owned())
}

/// The number in the first line `name: N kB` of a file of `/proc`.
pub(crate) fn kilobytes(file: &str, name: &str) -> Option<u64> {
    field(&read(file), name).split(' ').next()?.parse().ok()
}

/// CPU time and page faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) minor_faults: i64,
}

impl Usage {
    /// The usage of this process, or of all children for which it has waited.
    pub(crate) fn of(processes: UsageWho) -> nix::Result<Self> {
        Ok(Self::from(getrusage(processes)?.as_ref()))
    }
}

impl From<&libc::rusage> for Usage {
    fn from(usage: &libc::rusage) -> Self {
        let time = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
        Self {
            cpu_seconds: time(usage.ru_utime) + time(usage.ru_stime),
            minor_faults: usage.ru_minflt,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn kilobytes_are_read_from_files_of_proc() {
        assert!(kilobytes("/proc/self/status", "VmHWM") > Some(0));
        assert_eq!(kilobytes("/proc/self/status", "Nothing"), None);
        assert_eq!(kilobytes("/proc/nothing", "VmHWM"), None);
    }

    #[test]
    fn own_time_is_counted() {
        let usage = || Usage::of(UsageWho::RUSAGE_SELF).expect("there is a count");
        let before = usage().cpu_seconds;
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(50) {}
        assert!(usage().cpu_seconds > before);
    }
}
