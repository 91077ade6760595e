// SPDX-License-Identifier: MIT OR Apache-2.0

//! The machine, the date and the versions: without them figures mean nothing.

use std::fs;

use crate::allocators::{Found, output};

pub(crate) fn describe(found: &Found) -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or(String::new(), |(_, value)| value.trim().to_owned())
    };
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let mut lines = vec![
        format!("date: {}", output("date", &["+%Y-%m-%d %H:%M %Z"])),
        format!(
            "machine: {} CPUs, {}, {} of memory, Linux {}, load {}",
            cpus,
            match field(&read("/proc/cpuinfo"), "model name") {
                model if model.is_empty() => std::env::consts::ARCH.to_owned(),
                model => model,
            },
            field(&read("/proc/meminfo"), "MemTotal"),
            read("/proc/sys/kernel/osrelease").trim(),
            load.split(' ').next().unwrap_or_default(),
        ),
        format!(
            "transparent huge pages: {}",
            read("/sys/kernel/mm/transparent_hugepage/enabled").trim()
        ),
    ];
    let versions = found
        .allocators
        .iter()
        .map(|one| format!("{} {}", one.name, one.version));
    lines.push(format!(
        "allocators: {}",
        versions.collect::<Vec<_>>().join(", ")
    ));
    if !found.missing.is_empty() {
        lines.push(format!("not installed: {}", found.missing.join(", ")));
    }
    lines
}
