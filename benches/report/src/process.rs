// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a program and measures its usage of the machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal::SIGKILL, kill};
use nix::unistd::Pid;

use crate::compare::samples::Sample;
use crate::machine::{Usage, kilobytes, output};
use crate::{Result, root};

/// A program that runs longer hangs. The longest row takes some seconds.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The system calls of allocators: calls of memory, and those with which threads wait.
const TRACED_CALLS: &str = "trace=%memory,futex,sched_yield";

/// The command of words with an environment before them, which runs in the folder of the project.
pub(crate) fn command(text: &str) -> Command {
    let words = shlex::split(text).unwrap_or_default();
    let environment: Vec<_> = words.iter().map_while(|word| word.split_once('=')).collect();
    let mut words = words[environment.len()..].iter();
    let program = words.next().map_or("", String::as_str);
    let mut command = Command::new(locate(program).as_deref().unwrap_or(program));
    command.args(words).envs(environment).current_dir(root());
    command
}

/// The path of a program of Debian, whatever other one the search path finds.
pub(crate) fn locate(program: &str) -> Option<String> {
    let path = match program {
        "cc1plus" => output("g++", &["-print-prog-name=cc1plus"]),
        program => format!("/usr/bin/{program}"),
    };
    Path::new(&path).is_file().then_some(path)
}

/// A program that runs. Its output goes to files, so it never waits for a reader.
pub(crate) struct Running {
    pid: Pid,
    start: Instant,
    output: PathBuf,
    errors: PathBuf,
    description: String,
}

/// The usage and the output of a program.
pub(crate) struct Outcome {
    pub(crate) sample: Sample,
    pub(crate) output: String,
}

/// Starts a program. `role` names the files of its output in `folder`.
pub(crate) fn start(mut command: Command, folder: &Path, role: &str) -> Result<Running> {
    let [output, errors] = ["out", "err"].map(|end| folder.join(format!("{role}.{end}")));
    command.stdin(Stdio::null()).stdout(File::create(&output)?).stderr(File::create(&errors)?);
    let program = Path::new(command.get_program());
    let description = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let start = Instant::now();
    let child = command.spawn().map_err(|error| format!("{description}: {error}"))?;
    let pid = Pid::from_raw(i32::try_from(child.id())?);
    Ok(Running { pid, start, output, errors, description })
}

/// Runs a program to its end.
pub(crate) fn run(command: Command, folder: &Path) -> Result<Outcome> {
    start(command, folder, "program")?.finish()
}

impl Running {
    /// Waits for the end. The message of a failure is the status and the first line on standard
    /// error.
    pub(crate) fn finish(self) -> Result<Outcome> {
        let (end, ended) = channel::<()>();
        let pid = self.pid;
        let watch = thread::spawn(move || watch(pid, &ended));
        let (status, usage) = wait_for(pid)?;
        let seconds = self.start.elapsed().as_secs_f64();
        drop(end);
        let Ok(Some(huge_share)) = watch.join() else {
            return Err(format!("still running after {} s", TIME_LIMIT.as_secs()).into());
        };
        if !status.success() {
            let errors = fs::read(&self.errors)?;
            let errors = String::from_utf8_lossy(&errors);
            let first = errors.lines().next().unwrap_or("nothing on standard error");
            return Err(format!("{}: {status}: {first}", self.description).into());
        }
        let output = String::from_utf8_lossy(&fs::read(&self.output)?).into_owned();
        Ok(Outcome { sample: Sample { huge_share, ..sample(seconds, &usage) }, output })
    }

    /// The share of huge pages in resident memory now.
    pub(crate) fn huge_share(&self) -> Option<f64> {
        huge_share(self.pid)
    }

    /// Ends it with SIGKILL. The error of a program that has ended before tells how.
    pub(crate) fn abort(self) -> Result<()> {
        kill(self.pid, SIGKILL)?;
        match self.finish() {
            Err(error) if !error.to_string().contains("SIGKILL") => Err(error),
            _ => Ok(()),
        }
    }
}

/// Waits for a child. Other functions that wait do not return the usage of one child.
fn wait_for(pid: Pid) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::uninit();
    loop {
        // SAFETY: both pointers are to variables that the call may write.
        let done = unsafe { libc::wait4(pid.as_raw(), &mut status, 0, usage.as_mut_ptr()) };
        let error = io::Error::last_os_error();
        match done {
            -1 if error.kind() == io::ErrorKind::Interrupted => {}
            -1 => return Err(error),
            // SAFETY: wait4 has succeeded, and has written all of it.
            _ => return Ok((ExitStatus::from_raw(status), unsafe { usage.assume_init() })),
        }
    }
}

fn sample(seconds: f64, usage: &libc::rusage) -> Sample {
    let Usage { cpu_seconds, minor_faults } = Usage::from(usage);
    let peak_rss_kb = u64::try_from(usage.ru_maxrss).ok();
    // Until it calls exec a child has the memory of its parent, and Linux counts that too.
    let own_kb = kilobytes("/proc/self/status", "VmHWM").unwrap_or(0);
    Sample {
        seconds,
        cpu_seconds: Some(cpu_seconds),
        peak_rss_kb: peak_rss_kb.filter(|kb| *kb > own_kb),
        minor_faults: u64::try_from(minor_faults).ok(),
        ..Sample::default()
    }
}

// ---- Watch a process ----------------------------------------------------------------------------

/// The time between two samples of resident memory.
const PERIOD: Duration = Duration::from_millis(10);
/// The kernel walks all page tables for a sample, and the process may have to wait for it. So the
/// pause after a sample is at least this many times as long as the sample.
const PAUSE: u32 = 50;

/// Watches a process to its end, and kills it if it hangs. Returns nothing then, otherwise the
/// share of huge pages at the peak of resident memory, if there was time for a sample.
fn watch(pid: Pid, ended: &Receiver<()>) -> Option<Option<f64>> {
    let start = Instant::now();
    let (mut peak_pages, mut share) = (0, None);
    let mut pause = PERIOD;
    while ended.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
        if start.elapsed() > TIME_LIMIT {
            // It was not waited for yet, so the number is its own.
            let _ = kill(pid, SIGKILL);
            return None;
        }
        // The number of pages costs the kernel nothing, so only a higher one is worth a sample.
        let sample_start = Instant::now();
        if let Some(pages) = resident_pages(pid).filter(|pages| *pages > peak_pages) {
            if let Some(sample) = huge_share(pid) {
                (peak_pages, share) = (pages, Some(sample));
            }
        }
        pause = PERIOD.max(sample_start.elapsed() * PAUSE);
    }
    Some(share)
}

fn resident_pages(pid: Pid) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    statm.split(' ').nth(1)?.parse().ok()
}

/// The share of huge pages in the resident memory of a process. A process that ends has none.
fn huge_share(pid: Pid) -> Option<f64> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let rss_kb = kilobytes(&file, "Rss").filter(|kb| *kb > 0)?;
    Some(kilobytes(&file, "AnonHugePages")? as f64 / rss_kb as f64)
}

// ---- Count system calls -------------------------------------------------------------------------

/// Whether strace is installed and may trace. In a container it may not.
pub(crate) fn can_trace(folder: &Path) -> bool {
    count_calls(&Command::new("true"), folder).is_ok()
}

/// Runs a program under strace. Returns the numbers of calls by name.
pub(crate) fn count_calls(command: &Command, folder: &Path) -> Result<BTreeMap<String, u64>> {
    let counts = folder.join("strace.txt");
    run(traced(command, &counts), folder)?;
    Ok(read_counts(&fs::read_to_string(&counts)?))
}

/// The command that traces another with its environment. The counts go to a file.
pub(crate) fn traced(command: &Command, counts: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-c", "-e", TRACED_CALLS, "-o"]).arg(counts);
    // Set for the program alone: strace allocates too.
    for (name, value) in command.get_envs() {
        let mut setting = name.to_owned();
        if let Some(value) = value {
            setting.push("=");
            setting.push(value);
        }
        traced.arg("-E").arg(setting);
    }
    wrap(&mut traced, command);
    traced
}

/// Appends the words of another command, and takes its folder.
pub(crate) fn wrap(outer: &mut Command, inner: &Command) {
    outer.arg(inner.get_program()).args(inner.get_args());
    if let Some(folder) = inner.get_current_dir() {
        outer.current_dir(folder);
    }
}

/// Reads the table of `strace -c`: calls by name.
pub(crate) fn read_counts(text: &str) -> BTreeMap<String, u64> {
    let counts = text.lines().filter_map(|line| {
        // % time, seconds, usecs/call, calls, perhaps errors, name
        let words: Vec<_> = line.split_whitespace().collect();
        let name = words.last().filter(|name| **name != "total")?;
        Some(((*name).to_owned(), words.get(3)?.parse().ok()?))
    });
    counts.collect()
}

/// The number in the word that follows `name` in a text.
pub(crate) fn number_after(text: &str, name: &str) -> Option<f64> {
    word_after(text, name)?.parse().ok()
}

/// The word that follows `name` in a text.
pub(crate) fn word_after<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split_whitespace().skip_while(|word| *word != name).nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 62.50    0.000100           5        20           mmap
 37.50    0.000060           6        10         2 futex
------ ----------- ----------- --------- --------- ----------------
100.00    0.000160           5        30         2 total
";

    #[test]
    fn counts_of_strace_are_read() {
        let counts = read_counts(COUNTS);
        assert_eq!(counts.len(), 2);
        assert_eq!((counts["mmap"], counts["futex"]), (20, 10));
    }

    #[test]
    fn traced_program_keeps_its_environment() {
        let mut command = Command::new("program");
        command.arg("7").env("LD_PRELOAD", "it.so").env_remove("OPTION");
        let traced = traced(&command, Path::new("counts"));
        let words: Vec<_> = traced.get_args().map(|one| one.to_string_lossy()).collect();
        let expected = ["-o", "counts", "-E", "LD_PRELOAD=it.so", "-E", "OPTION", "program", "7"];
        assert_eq!(words[4..], expected);
    }

    #[test]
    fn numbers_are_found_by_name() {
        let line = "ops/s 12  peak-rss-kb 345  seconds 0.25";
        assert_eq!(number_after(line, "seconds"), Some(0.25));
        assert_eq!(number_after(line, "peak-rss-kb"), Some(345.0));
        assert_eq!(number_after(line, "minor-faults"), None);
    }

    #[test]
    fn huge_pages_are_a_share() {
        let pid = Pid::this();
        assert!(resident_pages(pid) > Some(0));
        assert!(huge_share(pid).is_some_and(|share| (0.0..=1.0).contains(&share)));
    }

    #[test]
    fn commands_have_an_environment_and_quoted_words() {
        let command = command("A=b C=d no-such ':memory: x' y=z '.read f'");
        assert_eq!(command.get_program(), "no-such");
        assert_eq!(command.get_args().collect::<Vec<_>>(), [":memory: x", "y=z", ".read f"]);
        assert_eq!(command.get_envs().count(), 2);
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn outcome_has_output_and_usage_and_failure_has_status_and_first_line() {
        let folder = std::env::temp_dir().join(format!("hakmem-reports-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("there is room for files");
        let outcome = run(shell("echo 42; sleep 0.1"), &folder).expect("the shell works");
        assert_eq!(outcome.output, "42\n");
        assert!(outcome.sample.seconds > 0.0);
        assert!(outcome.sample.minor_faults > Some(0));
        assert!(outcome.sample.huge_share.is_some());
        let failure = run(shell("echo first >&2; echo second >&2; exit 3"), &folder).err();
        let message = failure.expect("it fails").to_string();
        assert_eq!(message, "sh: exit status: 3: first");
        fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
