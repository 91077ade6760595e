// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs a program and tells what it took of the machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use hakmem_reports::Result;

use crate::resident::{Resident, Sampler};
use crate::samples::Sample;

/// A program that runs longer hangs. The longest row takes some seconds.
const TIME_LIMIT: Duration = Duration::from_secs(120);

/// The system calls that an allocator makes: of memory, and those with which threads wait.
const TRACED_CALLS: &str = "trace=%memory,futex,sched_yield";

/// A program that runs. Its output goes to files, so that nobody must read it meanwhile.
pub(crate) struct Running {
    pid: libc::pid_t,
    start: Instant,
    output: PathBuf,
    errors: PathBuf,
    description: String,
}

/// What a program took, and printed.
pub(crate) struct Outcome {
    pub(crate) sample: Sample,
    pub(crate) output: String,
}

/// Starts a program; `role` names the files of its output in `folder`.
pub(crate) fn start(mut command: Command, folder: &Path, role: &str) -> Result<Running> {
    let output = folder.join(format!("{role}.out"));
    let errors = folder.join(format!("{role}.err"));
    command
        .stdin(Stdio::null())
        .stdout(File::create(&output)?)
        .stderr(File::create(&errors)?);
    let description = command.get_program().to_string_lossy().into_owned();
    let start = Instant::now();
    let child = command
        .spawn()
        .map_err(|error| format!("{description}: {error}"))?;
    Ok(Running {
        pid: libc::pid_t::try_from(child.id())?,
        start,
        output,
        errors,
        description,
    })
}

/// Runs a program to its end.
pub(crate) fn run(command: Command, folder: &Path) -> Result<Outcome> {
    start(command, folder, "program")?.finish()
}

impl Running {
    /// Waits for the end. A failure's message is the status and the first line on standard error.
    pub(crate) fn finish(self) -> Result<Outcome> {
        let (ended, wait) = channel::<()>();
        let pid = self.pid;
        let sampler = Sampler::start(pid);
        let watchdog = thread::spawn(move || {
            let hangs = wait.recv_timeout(TIME_LIMIT) == Err(RecvTimeoutError::Timeout);
            if hangs {
                kill(pid);
            }
            hangs
        });
        let (status, usage) = wait_for(pid)?;
        let seconds = self.start.elapsed().as_secs_f64();
        drop(ended);
        let resident = sampler.stop();
        if watchdog.join().unwrap_or(false) {
            return Err(format!("still running after {} s", TIME_LIMIT.as_secs()).into());
        }
        if !status.success() {
            let errors = fs::read(&self.errors)?;
            let errors = String::from_utf8_lossy(&errors);
            let first = errors.lines().next().unwrap_or("nothing on standard error");
            return Err(format!("{}: {status}: {first}", self.description).into());
        }
        let output = fs::read(&self.output)?;
        Ok(Outcome {
            sample: Sample {
                huge_share: resident.map(Resident::huge_share),
                ..sample(seconds, &usage)
            },
            output: String::from_utf8_lossy(&output).into_owned(),
        })
    }

    /// The memory that is resident now.
    pub(crate) fn resident(&self) -> Option<Resident> {
        Resident::of(self.pid)
    }

    /// Ends it with SIGKILL. An error tells that it has died before, and how.
    pub(crate) fn abort(self) -> Result<()> {
        kill(self.pid);
        match self.finish() {
            Err(error) if !error.to_string().contains("SIGKILL") => Err(error),
            _ => Ok(()),
        }
    }
}

fn kill(pid: libc::pid_t) {
    // SAFETY: a signal to a process touches none of our memory. Nobody has waited for this child yet,
    // so the number is its own.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

fn wait_for(pid: libc::pid_t) -> io::Result<(ExitStatus, libc::rusage)> {
    let mut status = 0;
    let mut usage = MaybeUninit::uninit();
    loop {
        // SAFETY: both pointers are to memory of ours that the call may write.
        let done = unsafe { libc::wait4(pid, &mut status, 0, usage.as_mut_ptr()) };
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
    let time = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let peak_rss_kb = u64::try_from(usage.ru_maxrss).ok();
    Sample {
        seconds,
        cpu_seconds: Some(time(usage.ru_utime) + time(usage.ru_stime)),
        // Until it calls exec a child has the memory of its parent, and Linux counts that too.
        peak_rss_kb: peak_rss_kb.filter(|kb| *kb > own_peak_rss_kb()),
        minor_faults: u64::try_from(usage.ru_minflt).ok(),
        ..Sample::default()
    }
}

fn own_peak_rss_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    number_after(&status, "VmHWM:").map_or(0, |kb| kb as u64)
}

/// The number in the word that follows `name` in a text.
pub(crate) fn number_after(text: &str, name: &str) -> Option<f64> {
    let mut words = text.split_whitespace().skip_while(|word| *word != name);
    words.nth(1)?.parse().ok()
}

/// Whether strace is installed and may trace: in a container it may not.
pub(crate) fn can_trace(folder: &Path) -> bool {
    run(
        traced(&Command::new("true"), Path::new("/dev/null")),
        folder,
    )
    .is_ok()
}

/// The command that traces another with its environment; the counts go to a file.
pub(crate) fn traced(command: &Command, counts: &Path) -> Command {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-c", "-e", TRACED_CALLS, "-o"])
        .arg(counts);
    // Set for the program alone: strace allocates too.
    for (name, value) in command.get_envs() {
        let mut setting = name.to_owned();
        if let Some(value) = value {
            setting.push("=");
            setting.push(value);
        }
        traced.arg("-E").arg(setting);
    }
    traced.arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
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

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::{number_after, read_counts, run, traced};

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
        command
            .arg("7")
            .env("LD_PRELOAD", "it.so")
            .env_remove("OPTION");
        let traced = traced(&command, Path::new("counts"));
        let arguments: Vec<_> = traced.get_args().map(|one| one.to_string_lossy()).collect();
        assert_eq!(
            arguments[4..],
            [
                "-o",
                "counts",
                "-E",
                "LD_PRELOAD=it.so",
                "-E",
                "OPTION",
                "program",
                "7"
            ]
        );
    }

    #[test]
    fn numbers_are_found_by_name() {
        let line = "ops/s 12  peak-rss-kb 345  seconds 0.25";
        assert_eq!(number_after(line, "seconds"), Some(0.25));
        assert_eq!(number_after(line, "peak-rss-kb"), Some(345.0));
        assert_eq!(number_after(line, "minor-faults"), None);
    }

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn failure_has_status_and_first_line() {
        let folder = std::env::temp_dir().join(format!("hakmem-reports-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("there is room for files");
        let outcome = run(shell("echo 42"), &folder).expect("the shell works");
        assert_eq!(outcome.output, "42\n");
        assert!(outcome.sample.seconds > 0.0);
        assert!(outcome.sample.minor_faults > Some(0));
        let failure = run(shell("echo first >&2; echo second >&2; exit 3"), &folder).err();
        let message = failure.expect("it fails").to_string();
        assert_eq!(message, "sh: exit status: 3: first");
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
