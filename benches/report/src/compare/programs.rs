// SPDX-License-Identifier: MIT OR Apache-2.0

//! Programs that run on each allocator, and those on which the allocators are preloaded: C programs
//! and programs of Debian.

use std::collections::BTreeMap;
use std::process::Command;

use itertools::Itertools;

use super::driver::{Measured, Source};
use super::instructions::Counter;
use super::samples::{Part, Row, Sample};
use super::{folder, redis};
use crate::allocators::{Allocator, Found};
use crate::process::{self, Outcome, command, locate, number_after, word_after};
use crate::{Result, read_rows};

/// A quick run of a C program does this share of the work.
const QUICK_DIVISOR: u64 = 4;

const PRELOAD: &str = "LD_PRELOAD=$PWD/build/libhakmem.so ";

/// A row. Commands are in the notation of a shell.
pub(crate) struct Job {
    pub(crate) name: String,
    /// The command of a full or quick run.
    pub(crate) command: String,
    /// The command for counting system calls.
    pub(crate) counted: String,
    /// Two commands of different lengths, for counting instructions. Only C programs have these.
    pub(super) instructions: Option<[String; 2]>,
    /// Why the program cannot run here.
    pub(super) missing: Option<String>,
    /// How to run the command by hand on hakmem: the words before it.
    pub(super) prefix: &'static str,
    /// Reads the output.
    pub(super) read: fn(Outcome) -> Result<Measured>,
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
            prefix: PRELOAD,
            read: read_work,
        })
    }

    /// Reads a line of `benches/programs/rows.txt`.
    fn of_debian(line: &str, quick: bool) -> Option<Self> {
        let fields = line.split('|').map(str::trim);
        let (name, amounts, needs, command) = fields.collect_tuple()?;
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
            prefix: PRELOAD,
            read: read_answer,
        })
    }

    fn is_redis(&self) -> bool {
        self.command.starts_with(redis::CLIENT)
    }

    /// The command to run the row on hakmem by hand.
    fn describe(&self) -> String {
        let Self { prefix, command, .. } = self;
        if self.is_redis() {
            return format!("{prefix}{} &\n{command} {}", redis::SERVER, redis::CLIENT_OPTIONS);
        }
        format!("{prefix}{command}")
    }
}

/// Makes the command that runs a program on an allocator.
pub(super) type Runner<'a> = Box<dyn Fn(&str) -> Command + 'a>;

/// Rows that are runs of a program on each allocator.
pub(super) struct Programs<'a> {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) notes: Vec<String>,
    pub(super) jobs: Vec<Job>,
    /// By the names of the allocators.
    pub(super) runners: Vec<(String, Runner<'a>)>,
    pub(super) has_strace: bool,
    pub(super) counter: Option<Counter>,
}

const NOTE: &str = "the C programs (bench_*) report the time of their work; of the others it is \
                    time from start to end; CPU time, peak RSS and page faults are those of the \
                    whole process, with redis those of the server";

impl<'a> Programs<'a> {
    /// The C programs and the programs of Debian.
    pub(super) fn new(
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
        let calls = match has_strace {
            true => "system calls: those of memory, futex and sched_yield, in a short run",
            false => "system calls: not counted, there is no strace, or it may not trace",
        };
        let runner = |allocator: &'a Allocator| {
            let run = |text: &str| {
                let mut command = command(text);
                allocator.preload_into(&mut command);
                command
            };
            (allocator.name.clone(), Box::new(run) as Runner<'a>)
        };
        Ok(Self {
            name: "programs",
            title: "C programs and programs of Debian, the allocator preloaded",
            notes: vec![NOTE.to_owned(), calls.to_owned(), Counter::describe(counter)],
            jobs,
            runners: found.allocators.iter().map(runner).collect(),
            has_strace,
            counter,
        })
    }

    fn find(&self, row: &str, allocator: &str) -> Result<(&Job, &Runner<'a>)> {
        let job = self.jobs.iter().find(|job| job.name == row).ok_or("no such program")?;
        let runner = self.runners.iter().find(|(name, _)| name == allocator);
        Ok((job, &runner.ok_or("no such allocator")?.1))
    }
}

impl Source for Programs<'_> {
    fn part(&self) -> Part {
        let rows = self.jobs.iter().map(|job| {
            let runners = self.runners.iter().filter(|_| job.missing.is_none());
            let row = Row::new(&job.name, job.describe(), runners.map(|(name, _)| name.as_str()));
            Row { missing: job.missing.clone(), ..row }
        });
        Part::new(self.name, self.title, self.notes.clone(), rows.collect())
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let (job, run) = self.find(row, allocator)?;
        if job.is_redis() {
            return Ok((redis::measure(command(&job.command), run(redis::SERVER))?, None));
        }
        (job.read)(process::run(run(&job.command), &folder())?)
    }

    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>> {
        let (job, run) = self.find(row, allocator)?;
        if !self.has_strace {
            return Ok(None);
        }
        let calls = match job.is_redis() {
            true => redis::count_calls(command(&job.counted), &run(redis::SERVER)),
            false => process::count_calls(&run(&job.counted), &folder()),
        };
        calls.map(Some)
    }

    fn count_instructions(&self, row: &str, allocator: &str) -> Result<Option<f64>> {
        let (job, run) = self.find(row, allocator)?;
        let (Some(counter), Some(runs)) = (self.counter, &job.instructions) else {
            return Ok(None);
        };
        counter.per_operation(&runs.each_ref().map(|text| run(text)), &folder()).map(Some)
    }
}

// ---- Outputs of programs ------------------------------------------------------------------------

/// The output is the answer, and the time is that from start to end.
fn read_answer(outcome: Outcome) -> Result<Measured> {
    Ok((outcome.sample, Some(outcome.output)))
}

/// The output is a line with the time of the work, and perhaps with peak RSS.
fn read_work(outcome: Outcome) -> Result<Measured> {
    let number = |name| number_after(&outcome.output, name);
    let seconds = number("seconds");
    let sample = Sample {
        seconds: seconds.ok_or_else(|| format!("no time in: {}", outcome.output.trim()))?,
        peak_rss_kb: number("peak-rss-kb").map(|kb| kb as u64),
        ..outcome.sample
    };
    Ok((sample, None))
}

/// The same with a checksum.
pub(super) fn read_checked_work(outcome: Outcome) -> Result<Measured> {
    let checksum = word_after(&outcome.output, "checksum").map(str::to_owned);
    let checksum = checksum.ok_or_else(|| format!("no checksum in: {}", outcome.output))?;
    Ok((read_work(outcome)?.0, Some(checksum)))
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

    #[test]
    fn result_line_is_read() {
        let outcome = |output: &str| Outcome {
            sample: Sample {
                seconds: 9.0,
                peak_rss_kb: Some(7),
                minor_faults: Some(6),
                ..Sample::default()
            },
            output: output.to_owned(),
        };
        let line = "seconds 0.5  checksum 00ff  peak-rss-kb 100  minor-faults 5\n";
        let (sample, checksum) = read_checked_work(outcome(line)).expect("there is a time");
        assert_eq!(checksum.as_deref(), Some("00ff"));
        assert_eq!((sample.seconds, sample.peak_rss_kb), (0.5, Some(100)));
        assert_eq!(sample.minor_faults, Some(6));
        assert!(read_checked_work(outcome("seconds 0.5")).is_err());
        assert!(read_work(outcome("nothing")).is_err());
    }
}
