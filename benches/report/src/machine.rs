// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine and the date: without them figures mean nothing.

use std::fs;
use std::process::Command;

/// Lines that tell the date, the machine and its settings.
pub fn describe() -> Vec<String> {
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
pub fn cpu() -> String {
    match field(&read("/proc/cpuinfo"), "model name") {
        model if model.is_empty() => std::env::consts::ARCH.to_owned(),
        model => model,
    }
}

/// What a program says, empty if it fails.
pub fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or(String::new(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value in the first line `name: value`.
pub fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or(String::new(), |(_, value)| value.trim().to_owned())
}
