// SPDX-License-Identifier: MIT OR Apache-2.0

//! Counts the instructions of an operation. Unlike times, counts hardly change with the machine's
//! load, so a regression shows that is smaller than the noise of times.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::Result;
use crate::process::{self, number_after, wrap};

/// The event of the processor's counter: instructions in user mode.
const EVENT: &str = "instructions:u";

/// A program that counts the instructions of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Counter {
    /// The processor's counter. Virtual machines often have none.
    Perf,
    /// Valgrind's simulation. It leaves the program's allocator in place, and runs one thread at a
    /// time.
    Callgrind,
}

impl Counter {
    /// The best one that works here.
    pub(crate) fn find(folder: &Path) -> Option<Self> {
        let counters = [Self::Perf, Self::Callgrind];
        let works = |counter: &Self| counter.run(&Command::new("true"), folder).is_ok();
        counters.into_iter().find(works)
    }

    /// A line that tells how instructions are counted, or that they are not.
    pub(crate) fn describe(counter: Option<Self>) -> String {
        let how = match counter {
            Some(Self::Perf) => "of the C programs, counted by the processor, with perf",
            Some(Self::Callgrind) => {
                "of the C programs, counted by valgrind's callgrind, which runs one thread at a \
                 time"
            }
            None => "not counted, because neither perf nor valgrind can count here",
        };
        format!("instructions/op: {how}")
    }

    /// The instructions of one more operation: the difference of two runs of different lengths, in
    /// which the start and the end of the program cancel each other.
    pub(crate) fn per_operation(self, runs: &[Command; 2], folder: &Path) -> Result<f64> {
        let counts = runs.each_ref().map(|command| -> Result<[f64; 2]> {
            let (instructions, output) = self.run(command, folder)?;
            let operations = number_after(&output, "ops");
            Ok([instructions, operations.ok_or_else(|| format!("no operations in: {output}"))?])
        });
        let [short, long] = counts;
        difference(short?, long?)
    }

    /// Runs a program. Returns its instructions and its output.
    fn run(self, command: &Command, folder: &Path) -> Result<(f64, String)> {
        let log = folder.join("instructions.txt");
        let output = process::run(self.counting(command, &log), folder)?.output;
        let text = fs::read_to_string(&log)?;
        let instructions = match self {
            Self::Perf => read_perf(&text),
            Self::Callgrind => read_callgrind(&text),
        };
        let instructions = instructions.ok_or("the instructions are not in the log")?;
        Ok((instructions, output))
    }

    /// The command that counts another one. The counts go to a file.
    fn counting(self, command: &Command, log: &Path) -> Command {
        let words = match self {
            Self::Perf => "perf stat --field-separator=; --event=instructions:u --output=LOG --",
            Self::Callgrind => {
                "valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file=LOG"
            }
        };
        let log = log.to_string_lossy();
        let mut words = words.split(' ').map(|word| word.replace("LOG", &log));
        let mut counting = Command::new(words.next().unwrap_or_default());
        counting.args(words);
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => counting.env(name, value),
                None => counting.env_remove(name),
            };
        }
        wrap(&mut counting, command);
        counting
    }
}

/// Takes the instructions and the operations of both runs.
fn difference(short: [f64; 2], long: [f64; 2]) -> Result<f64> {
    let [instructions, operations] = [long[0] - short[0], long[1] - short[1]];
    match operations > 0.0 {
        true => Ok(instructions / operations),
        false => Err("the longer run has no more operations".into()),
    }
}

/// Reads `12345;;instructions:u;...`. A counter that does not exist is `<not supported>`.
fn read_perf(text: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(';').next()?.parse().ok()
}

/// Reads `==1== Collected : 12345`.
fn read_callgrind(text: &str) -> Option<f64> {
    let counts = text.split_once("Collected :")?.1;
    counts.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    #[test]
    fn counts_of_perf_and_callgrind_are_read() {
        let perf = "# started on Thu\n\n1234567;;instructions:u;100;100.00;;\n";
        assert_eq!(read_perf(perf), Some(1_234_567.0));
        assert_eq!(read_perf("<not supported>;;instructions:u;0;100.00;;"), None);
        let callgrind = "==7== Events    : Ir\n==7== Collected : 4609821\n==7== \n";
        assert_eq!(read_callgrind(callgrind), Some(4_609_821.0));
        assert_eq!(read_callgrind("==7== nothing\n"), None);
    }

    #[test]
    fn start_of_the_program_cancels() {
        let counts = |operations: f64| [1e6 + 70.0 * operations, operations];
        let each = difference(counts(1000.0), counts(2000.0));
        assert_eq!(each.expect("there are more operations"), 70.0);
        assert!(difference(counts(1000.0), counts(1000.0)).is_err());
    }

    #[test]
    fn counted_program_keeps_its_environment() {
        let mut command = Command::new("program");
        command.arg("7").env("LD_PRELOAD", "it.so").env_remove("OPTION");
        for counter in [Counter::Perf, Counter::Callgrind] {
            let counting = counter.counting(&command, Path::new("log"));
            let arguments: Vec<_> = counting.get_args().collect();
            assert_eq!(arguments[arguments.len() - 2..], ["program", "7"]);
            assert_eq!(counting.get_envs().count(), 2);
        }
    }

    #[test]
    fn longer_program_has_more_instructions() {
        let folder =
            std::env::temp_dir().join(format!("hakmem-instructions-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room for files");
        let count = |operations: u32| {
            let script =
                format!("i=0; while [ $i -lt {operations} ]; do i=$((i+1)); done; echo ops $i");
            let mut command = Command::new("sh");
            command.args(["-c", &script]);
            command
        };
        // Where nothing can count there is nothing to test.
        if let Some(counter) = Counter::find(&folder) {
            let each = counter.per_operation(&[count(1000), count(2000)], &folder);
            let each = each.expect("a shell can be counted");
            assert!(each > 10.0 && each < 1e5, "{each}");
        }
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
