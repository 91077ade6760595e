// SPDX-License-Identifier: MIT OR Apache-2.0

//! C programs and programs of Debian, with the allocators preloaded.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hakmem_reports::allocators::{Allocator, Found};
use hakmem_reports::machine::output;
use hakmem_reports::{Result, root};

use crate::driver::{Measured, Planned, Source};
use crate::instructions::Counter;
use crate::process;
use crate::redis;
use crate::workloads::{count_calls, reported};

/// A program of Debian. It runs in the project's folder; `{n}` stands for the amount of work.
struct Program {
    name: &'static str,
    command: &'static [&'static str],
    amount: &'static str,
    quick_amount: &'static str,
    /// Programs without which the row is missing, and their packages.
    needs: &'static [(&'static str, &'static str)],
    environment: &'static [(&'static str, &'static str)],
}

const PROGRAMS: [Program; 9] = [
    Program {
        name: "redis strings",
        command: &[
            "redis-benchmark",
            "-n",
            "{n}",
            "-t",
            "set,get,mset",
            "-d",
            "200",
            "-r",
            "200000",
        ],
        amount: "150000",
        quick_amount: "15000",
        needs: redis::NEEDS,
        environment: &[],
    },
    Program {
        name: "redis collections",
        command: &[
            "redis-benchmark",
            "-n",
            "{n}",
            "-t",
            "lpush,rpop,sadd,hset,zadd",
            "-r",
            "100000",
        ],
        amount: "200000",
        quick_amount: "10000",
        needs: redis::NEEDS,
        environment: &[],
    },
    Program {
        name: "sqlite3 in memory",
        command: &[
            "sqlite3",
            ":memory:",
            ".parameter set $rows {n}",
            ".read benches/programs/rows.sql",
        ],
        amount: "300000",
        quick_amount: "30000",
        needs: &[("sqlite3", "sqlite3")],
        environment: &[],
    },
    Program {
        name: "python3 objects",
        command: &["python3", "benches/programs/objects.py", "{n}"],
        amount: "8",
        quick_amount: "1",
        needs: &[("python3", "python3")],
        environment: &[("PYTHONMALLOC", "malloc"), ("PYTHONHASHSEED", "0")],
    },
    Program {
        name: "lua5.4 tables",
        command: &["lua5.4", "benches/programs/tables.lua", "{n}"],
        amount: "40",
        quick_amount: "4",
        needs: &[("lua5.4", "lua5.4")],
        environment: &[],
    },
    Program {
        name: "perl words",
        command: &["perl", "benches/programs/words.pl", "{n}"],
        amount: "30",
        quick_amount: "3",
        needs: &[("perl", "perl")],
        environment: &[("PERL_HASH_SEED", "0")],
    },
    Program {
        name: "cc1plus, one file",
        command: &[
            "cc1plus",
            "-quiet",
            "-O1",
            "build/compare/large_{n}.cpp",
            "-o",
            "/dev/null",
        ],
        amount: "120",
        quick_amount: "12",
        needs: &[("cc1plus", "g++"), ("perl", "perl")],
        environment: &[],
    },
    Program {
        name: "clang++, one file",
        command: &[
            "clang++",
            "-O1",
            "-c",
            "build/compare/large_{n}.cpp",
            "-o",
            "/dev/null",
        ],
        amount: "120",
        quick_amount: "12",
        needs: &[("clang++", "clang"), ("perl", "perl")],
        environment: &[],
    },
    // Several threads, each of which compiles: all the data of a compiler on several heaps at once.
    Program {
        name: "ld.lld, ThinLTO, 4 threads",
        command: &[
            "ld.lld",
            "-shared",
            "--threads=4",
            "--thinlto-jobs=4",
            "-o",
            "build/compare/thinlto.so",
            "build/compare/module_{n}_a.o",
            "build/compare/module_{n}_b.o",
            "build/compare/module_{n}_c.o",
            "build/compare/module_{n}_d.o",
            "build/compare/module_{n}_e.o",
            "build/compare/module_{n}_f.o",
            "build/compare/module_{n}_g.o",
            "build/compare/module_{n}_h.o",
        ],
        amount: "20",
        quick_amount: "4",
        needs: &[("ld.lld", "lld"), ("clang++", "clang"), ("perl", "perl")],
        environment: &[],
    },
];
const MODULES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

/// A quick run of a C program does this share of the work.
const QUICK_DIVISOR: u64 = 4;

/// What a row does.
enum Kind {
    /// The program tells the time of its work.
    Reporting,
    /// The time is that from its start to its end, and its output is the answer.
    Plain,
    /// The command is the client's, and the server is measured.
    Redis,
}

struct Job {
    name: String,
    kind: Kind,
    command: Vec<String>,
    quick_command: Vec<String>,
    /// The run whose system calls are counted.
    counted_command: Vec<String>,
    /// Two runs of different lengths whose instructions are counted, if the program tells its operations.
    instruction_commands: Option<[Vec<String>; 2]>,
    environment: &'static [(&'static str, &'static str)],
    missing: Option<String>,
}

/// The programs that are there to look into others.
#[derive(Clone, Copy)]
pub(crate) struct Tools {
    pub(crate) has_strace: bool,
    pub(crate) counter: Option<Counter>,
}

pub(crate) struct Programs<'a> {
    jobs: Vec<Job>,
    found: &'a Found,
    folder: PathBuf,
    quick: bool,
    tools: Tools,
}

impl<'a> Programs<'a> {
    /// Files go into `folder`.
    pub(crate) fn new(found: &'a Found, folder: &Path, quick: bool, tools: Tools) -> Result<Self> {
        let rows = fs::read_to_string(root().join("benches/c/rows.txt"))?;
        let mut jobs = Vec::new();
        for line in rows.lines().filter(|line| !line.starts_with('#')) {
            let job =
                c_program(line, quick).ok_or_else(|| format!("benches/c/rows.txt: {line}"))?;
            jobs.push(job);
        }
        for program in &PROGRAMS {
            let job = debian_program(program);
            jobs.push(job);
        }
        Ok(Self {
            jobs,
            found,
            folder: folder.to_owned(),
            quick,
            tools,
        })
    }

    fn job(&self, row: &str) -> Result<&Job> {
        let job = self.jobs.iter().find(|job| job.name == row);
        Ok(job.ok_or("no such program")?)
    }

    fn allocator(&self, name: &str) -> Result<&Allocator> {
        let mut allocators = self.found.allocators.iter();
        let allocator = allocators.find(|allocator| allocator.name == name);
        Ok(allocator.ok_or("no such allocator")?)
    }
}

/// A line of the table of C programs: program, iterations, iterations of a run whose system calls are
/// counted, arguments. Instructions are counted in a run of as many iterations and in one of twice as many, or
/// quickly in a share of both.
fn c_program(line: &str, quick: bool) -> Option<Job> {
    let words: Vec<_> = line.split_whitespace().collect();
    let [program, iterations, counted, arguments @ ..] = words.as_slice() else {
        return None;
    };
    let [iterations, counted]: [u64; 2] = [iterations.parse().ok()?, counted.parse().ok()?];
    let short = match quick {
        true => counted.div_ceil(QUICK_DIVISOR),
        false => counted,
    };
    let command = |iterations: u64| {
        let number = iterations.to_string();
        let arguments = arguments.iter().map(|word| match *word {
            "N" => number.clone(),
            word => word.to_owned(),
        });
        let program = format!("build/bench/{program}");
        [program].into_iter().chain(arguments).collect::<Vec<_>>()
    };
    let full = command(iterations);
    Some(Job {
        name: full.join(" ").replace("build/bench/", ""),
        kind: Kind::Reporting,
        command: full,
        quick_command: command(iterations / QUICK_DIVISOR),
        counted_command: command(counted),
        instruction_commands: Some([command(short), command(2 * short)]),
        environment: &[],
        missing: None,
    })
}

fn debian_program(program: &Program) -> Job {
    let command = |amount: &str| {
        let words = program
            .command
            .iter()
            .map(|word| word.replace("{n}", amount));
        let mut words: Vec<_> = words.collect();
        if let Some(path) = locate(&words[0]) {
            words[0] = path;
        }
        words
    };
    let needed = program
        .needs
        .iter()
        .filter(|(name, _)| locate(name).is_none());
    let packages: Vec<_> = needed.map(|(_, package)| *package).collect();
    Job {
        name: program.name.to_owned(),
        kind: match program.command[0] {
            redis::CLIENT => Kind::Redis,
            _ => Kind::Plain,
        },
        command: command(program.amount),
        quick_command: command(program.quick_amount),
        counted_command: command(program.quick_amount),
        instruction_commands: None,
        environment: program.environment,
        missing: (!packages.is_empty())
            .then(|| format!("not installed: Debian package {}", packages.join(", "))),
    }
}

/// The program of Debian, whatever other one the search path finds.
fn locate(program: &str) -> Option<String> {
    let path = match program {
        "cc1plus" => output("g++", &["-print-prog-name=cc1plus"]),
        program => format!("/usr/bin/{program}"),
    };
    Path::new(&path).is_file().then_some(path)
}

/// Writes the source files and the modules that the compilers and the linker work on.
pub(crate) fn make_inputs(folder: &Path) -> Result<()> {
    let source = |name: &str, functions: &str, file: &Path| -> Result<()> {
        let mut command = Command::new("/usr/bin/perl");
        command
            .args(["benches/programs/source.pl", name, functions, "42"])
            .current_dir(root())
            .stdout(File::create(file)?);
        succeed(command)
    };
    let amounts = |name: &str| {
        let program = PROGRAMS.iter().find(|program| program.command[0] == name);
        program.map_or([""; 2], |program| [program.amount, program.quick_amount])
    };
    if locate("perl").is_none() {
        return Ok(());
    }
    for amount in amounts("cc1plus") {
        source("large", amount, &folder.join(format!("large_{amount}.cpp")))?;
    }
    if locate("clang++").is_none() {
        return Ok(());
    }
    for amount in amounts("ld.lld") {
        for module in MODULES {
            let cpp = folder.join("module.cpp");
            source(&format!("module_{module}"), amount, &cpp)?;
            let mut command = Command::new("/usr/bin/clang++");
            command.args(["-O1", "-fPIC", "-flto=thin", "-c"]).arg(&cpp);
            command
                .arg("-o")
                .arg(folder.join(format!("module_{amount}_{module}.o")));
            succeed(command)?;
        }
    }
    Ok(())
}

fn succeed(mut command: Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status()?;
    match status.success() {
        true => Ok(()),
        false => Err(format!("{command:?}: {status}").into()),
    }
}

impl Job {
    fn words(&self, quick: bool) -> &[String] {
        match quick {
            true => &self.quick_command,
            false => &self.command,
        }
    }

    fn command(&self, words: &[String]) -> Command {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(root());
        command.envs(self.environment.iter().copied());
        command
    }

    /// As one would type it, to run it on hakmem.
    fn describe(&self, quick: bool) -> String {
        let mut command = self.command(self.words(quick));
        let preload = "LD_PRELOAD=$PWD/build/libhakmem.so";
        match self.kind {
            Kind::Redis => {
                redis::add_options(&mut command);
                format!(
                    "{preload} {} &\n{}",
                    typed(&redis::server()),
                    typed(&command)
                )
            }
            _ => format!("{preload} {}", typed(&command)),
        }
    }
}

/// A command with its environment in the notation of a shell.
fn typed(command: &Command) -> String {
    let settings = command.get_envs().map(|(name, value)| {
        let value = value.unwrap_or_default().to_string_lossy();
        format!("{}={value}", name.to_string_lossy())
    });
    let words = [command.get_program()]
        .into_iter()
        .chain(command.get_args());
    let words = words.map(|word| match word.to_string_lossy() {
        word if word.is_empty() || word.contains([' ', '$']) => format!("'{word}'"),
        word => word.into_owned(),
    });
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

impl Source for Programs<'_> {
    fn title(&self) -> &str {
        "C programs and programs of Debian, the allocator preloaded"
    }

    fn notes(&self) -> Vec<String> {
        vec![
            "the C programs (bench_*) report the time of their work; of the others it is the time from \
             start to end; CPU time, peak RSS and page faults are those of the whole process, with \
             redis those of the server"
                .to_owned(),
            match self.tools.has_strace {
                true => "system calls: those of memory, futex and sched_yield, in a short run",
                false => "system calls: not counted, there is no strace, or it may not trace",
            }
            .to_owned(),
            Counter::describe(self.tools.counter),
        ]
    }

    fn rows(&self) -> Vec<Planned> {
        let allocators = self.found.allocators.iter();
        let allocators: Vec<_> = allocators.map(|one| one.name.clone()).collect();
        let row = |job: &Job| Planned {
            name: job.name.clone(),
            command: job.describe(self.quick),
            allocators: allocators.clone(),
            missing: job.missing.clone(),
        };
        self.jobs.iter().map(row).collect()
    }

    fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
        let job = self.job(row)?;
        let allocator = self.allocator(allocator)?;
        let mut command = job.command(job.words(self.quick));
        if let Kind::Redis = job.kind {
            let sample = redis::measure(
                command,
                &|server| allocator.preload_into(server),
                &self.folder,
            )?;
            return Ok(Measured {
                sample,
                answer: None,
            });
        }
        allocator.preload_into(&mut command);
        let outcome = process::run(command, &self.folder)?;
        Ok(match job.kind {
            Kind::Reporting => Measured {
                sample: reported(outcome)?,
                answer: None,
            },
            _ => Measured {
                sample: outcome.sample,
                answer: Some(outcome.output),
            },
        })
    }

    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>> {
        let job = self.job(row)?;
        let allocator = self.allocator(allocator)?;
        let mut command = job.command(&job.counted_command);
        if let Kind::Redis = job.kind {
            if !self.tools.has_strace {
                return Ok(None);
            }
            let preload = |server: &mut Command| allocator.preload_into(server);
            return Ok(Some(redis::count_calls(command, &preload, &self.folder)?));
        }
        allocator.preload_into(&mut command);
        count_calls(&command, &self.folder, self.tools.has_strace)
    }

    fn count_instructions(&self, row: &str, allocator: &str) -> Result<Option<f64>> {
        let job = self.job(row)?;
        let allocator = self.allocator(allocator)?;
        let (Some(counter), Some(runs)) = (self.tools.counter, &job.instruction_commands) else {
            return Ok(None);
        };
        let [short, long] = runs.each_ref().map(|words| {
            let mut command = job.command(words);
            allocator.preload_into(&mut command);
            command
        });
        let each = counter.per_operation([&short, &long], &self.folder)?;
        Ok(Some(each))
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, PROGRAMS, Program, c_program, debian_program};

    #[test]
    fn rows_of_c_programs_are_read() {
        let job =
            c_program("bench_pool_tls 6000000 100000 1 N 256 42", false).expect("it is a row");
        assert_eq!(job.name, "bench_pool_tls 1 6000000 256 42");
        assert_eq!(
            job.describe(true),
            "LD_PRELOAD=$PWD/build/libhakmem.so build/bench/bench_pool_tls 1 1500000 256 42"
        );
        assert_eq!(job.counted_command[2], "100000");
        let [short, long] = job.instruction_commands.expect("it tells its operations");
        assert_eq!((short[2].as_str(), long[2].as_str()), ("100000", "200000"));
        let quick = c_program("bench_pool_tls 6000000 100000 1 N 256 42", true);
        let [short, _] = quick
            .and_then(|job| job.instruction_commands)
            .expect("so it does");
        assert_eq!(short[2], "25000");
        assert!(matches!(job.kind, Kind::Reporting));
        assert!(c_program("bench_pool_tls many few", false).is_none());
    }

    #[test]
    fn amounts_are_filled_in() {
        for program in &PROGRAMS {
            let job = debian_program(program);
            let (full, quick) = (job.describe(false), job.describe(true));
            assert!(
                !full.contains("{n}") && full.contains(program.amount),
                "{full}"
            );
            assert!(quick.contains(program.quick_amount), "{quick}");
        }
    }

    #[test]
    fn missing_programs_are_named_with_their_packages() {
        let program = Program {
            name: "absent",
            command: &["no-such-program"],
            amount: "2",
            quick_amount: "1",
            needs: &[("no-such-program", "its-package")],
            environment: &[],
        };
        let missing = debian_program(&program).missing;
        assert_eq!(
            missing.as_deref(),
            Some("not installed: Debian package its-package")
        );
    }
}
