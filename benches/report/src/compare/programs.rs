// SPDX-License-Identifier: MIT OR Apache-2.0

//! C programs and programs of Debian, with the allocators preloaded.

use std::collections::BTreeMap;
use std::fs;

use super::driver::{Measured, Source};
use super::instructions::Counter;
use super::samples::Row;
use super::workloads::reported;
use super::{folder, redis};
use crate::allocators::{Allocator, Found};
use crate::process::{self, command, locate};
use crate::{Result, root};

/// A quick run of a C program does this share of the work.
const QUICK_DIVISOR: u64 = 4;

/// A row. Commands are in the notation of a shell.
pub(crate) struct Job {
    pub(crate) name: String,
    /// The command of a full or quick run.
    pub(crate) command: String,
    /// The command for counting system calls.
    pub(crate) counted: String,
    /// Two commands of different lengths, for counting instructions. Only C programs have
    /// these, and report the time of their work. The time of other programs is that from start to
    /// end, and their output is the answer.
    instructions: Option<[String; 2]>,
    missing: Option<String>,
}

impl Job {
    /// Reads a line of `benches/c/rows.txt`. Instructions are counted in a run of as many
    /// iterations as system calls and in one of twice as many. The divisor makes the timed and the
    /// instructions' runs shorter.
    pub(crate) fn of_c_program(line: &str, divisor: u64) -> Option<Self> {
        let words: Vec<_> = line.split_whitespace().collect();
        let [program, iterations, counted, arguments @ ..] = words.as_slice() else {
            return None;
        };
        let [iterations, counted]: [u64; 2] = [iterations.parse().ok()?, counted.parse().ok()?];
        let short = counted.div_ceil(divisor);
        let name = |iterations: u64| {
            let number = iterations.to_string();
            let arguments =
                arguments.iter().map(|word| if *word == "N" { number.as_str() } else { *word });
            [*program].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
        };
        let command = |iterations| format!("build/bench/{}", name(iterations));
        Some(Self {
            name: name(iterations),
            command: command(iterations / divisor),
            counted: command(counted),
            instructions: Some([command(short), command(2 * short)]),
            missing: None,
        })
    }

    /// Reads a line of `benches/programs/rows.txt`.
    fn of_debian(line: &str, quick: bool) -> Option<Self> {
        let fields: Vec<_> = line.split('|').map(str::trim).collect();
        let [name, amounts, needs, command] = *fields else { return None };
        let (full, quickly) = amounts.split_once(' ')?;
        let needs = needs.split(' ').map(|need| need.split_once(':').unwrap_or((need, need)));
        let missing = needs.filter(|(program, _)| locate(program).is_none());
        let packages: Vec<_> = missing.map(|(_, package)| package).collect();
        let text = format!("not installed: Debian package {}", packages.join(", "));
        Some(Self {
            name: name.to_owned(),
            command: command.replace("{n}", if quick { quickly } else { full }),
            counted: command.replace("{n}", quickly),
            instructions: None,
            missing: (!packages.is_empty()).then_some(text),
        })
    }

    fn is_redis(&self) -> bool {
        self.command.starts_with(redis::CLIENT)
    }

    /// The command to run the row on hakmem by hand.
    fn describe(&self) -> String {
        let preload = "LD_PRELOAD=$PWD/build/libhakmem.so";
        if self.is_redis() {
            let server = redis::SERVER;
            return format!("{preload} {server} &\n{} {}", self.command, redis::CLIENT_OPTIONS);
        }
        format!("{preload} {}", self.command)
    }
}

/// Reads a file with a row in each line, and comments after `#`.
pub(crate) fn read_rows(file: &str, read: impl Fn(&str) -> Option<Job>) -> Result<Vec<Job>> {
    let rows = fs::read_to_string(root().join(file))?;
    let lines = rows.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| read(line).ok_or_else(|| format!("{file}: {line}").into())).collect()
}

pub(crate) struct Programs<'a> {
    jobs: Vec<Job>,
    found: &'a Found,
    has_strace: bool,
    counter: Option<Counter>,
}

impl<'a> Programs<'a> {
    pub(crate) fn new(
        found: &'a Found,
        quick: bool,
        has_strace: bool,
        counter: Option<Counter>,
    ) -> Result<Self> {
        process::run(command("benches/programs/make_inputs"), &folder())?;
        let divisor = if quick { QUICK_DIVISOR } else { 1 };
        let mut jobs = read_rows("benches/c/rows.txt", |line| Job::of_c_program(line, divisor))?;
        let debian = read_rows("benches/programs/rows.txt", |line| Job::of_debian(line, quick))?;
        jobs.extend(debian);
        Ok(Self { jobs, found, has_strace, counter })
    }

    fn find(&self, row: &str, allocator: &str) -> Result<(&Job, &Allocator)> {
        let job = self.jobs.iter().find(|job| job.name == row).ok_or("no such program")?;
        let mut allocators = self.found.allocators.iter();
        let allocator = allocators.find(|one| one.name == allocator).ok_or("no such allocator")?;
        Ok((job, allocator))
    }
}

impl Source for Programs<'_> {
    fn title(&self) -> &str {
        "C programs and programs of Debian, the allocator preloaded"
    }

    fn notes(&self) -> Vec<String> {
        let calls = match self.has_strace {
            true => "system calls: those of memory, futex and sched_yield, in a short run",
            false => "system calls: not counted, there is no strace, or it may not trace",
        };
        vec![
            "the C programs (bench_*) report the time of their work; of the others it is the time \
             from start to end; CPU time, peak RSS and page faults are those of the whole process, \
             with redis those of the server"
                .to_owned(),
            calls.to_owned(),
            Counter::describe(self.counter),
        ]
    }

    fn rows(&self) -> Vec<Row> {
        let rows = self.jobs.iter().map(|job| {
            let allocators = self.found.allocators.iter().filter(|_| job.missing.is_none());
            let row = Row::new(&job.name, job.describe(), allocators.map(|one| one.name.as_str()));
            Row { missing: job.missing.clone(), ..row }
        });
        rows.collect()
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let (job, allocator) = self.find(row, allocator)?;
        let mut command = command(&job.command);
        if job.is_redis() {
            return Ok((redis::measure(command, allocator)?, None));
        }
        allocator.preload_into(&mut command);
        let outcome = process::run(command, &folder())?;
        Ok(match job.instructions {
            Some(_) => (reported(outcome)?, None),
            None => (outcome.sample, Some(outcome.output)),
        })
    }

    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>> {
        let (job, allocator) = self.find(row, allocator)?;
        if !self.has_strace {
            return Ok(None);
        }
        let mut command = command(&job.counted);
        if job.is_redis() {
            return Ok(Some(redis::count_calls(command, allocator)?));
        }
        allocator.preload_into(&mut command);
        Ok(Some(process::count_calls(&command, &folder())?))
    }

    fn count_instructions(&self, row: &str, allocator: &str) -> Result<Option<f64>> {
        let (job, allocator) = self.find(row, allocator)?;
        let (Some(counter), Some(runs)) = (self.counter, &job.instructions) else {
            return Ok(None);
        };
        let runs = runs.each_ref().map(|text| {
            let mut command = command(text);
            allocator.preload_into(&mut command);
            command
        });
        counter.per_operation(&runs, &folder()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_c_programs_are_read() {
        let line = "bench_pool_tls 6000000 100000 1 N 256 42";
        let read = |divisor| Job::of_c_program(line, divisor).expect("it is a row");
        let [full, quick] = [1, 4].map(read);
        assert_eq!(full.name, "bench_pool_tls 1 6000000 256 42");
        assert_eq!(
            quick.describe(),
            "LD_PRELOAD=$PWD/build/libhakmem.so build/bench/bench_pool_tls 1 1500000 256 42"
        );
        let bench = |n: u64| format!("build/bench/bench_pool_tls 1 {n} 256 42");
        assert_eq!(full.counted, bench(100_000));
        assert_eq!(full.instructions, Some([bench(100_000), bench(200_000)]));
        assert_eq!(quick.instructions, Some([bench(25_000), bench(50_000)]));
        assert!(Job::of_c_program("bench_pool_tls many few", 1).is_none());
    }

    #[test]
    fn rows_of_debian_have_amounts_and_name_missing_packages() {
        let line = "words | 200 7 | no-such:its-package perl | A=b perl words.pl {n}";
        let full = Job::of_debian(line, false).expect("it is a row");
        assert_eq!(
            (full.command.as_str(), full.counted.as_str()),
            ("A=b perl words.pl 200", "A=b perl words.pl 7")
        );
        assert_eq!(Job::of_debian(line, true).map(|job| job.command), Some(full.counted));
        assert!(
            full.missing
                .is_some_and(|text| text.starts_with("not installed: Debian package its-package"))
        );
        assert!(Job::of_debian("words | 200", false).is_none());
    }
}
