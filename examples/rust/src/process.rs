// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the memory and CPU time of running and finished processes.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A process to measure.
#[derive(Debug, Clone, Copy)]
pub enum Pid {
    /// This process.
    This,
    /// A child of this process that has not been waited for yet.
    Child(u32),
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::This => f.write_str("self"),
            Self::Child(pid) => pid.fmt(f),
        }
    }
}

/// Resident memory of a process.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    /// Current size.
    pub rss_bytes: u64,
    /// Peak size.
    pub rss_peak_bytes: u64,
}

impl Memory {
    /// Reads `/proc/PID/status`.
    pub fn of(pid: Pid) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        Self::parse(&status).ok_or_else(|| unexpected(pid, "status"))
    }

    fn parse(status: &str) -> Option<Self> {
        let bytes = |name: &str| -> Option<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            rss_bytes: bytes("VmRSS:")?,
            rss_peak_bytes: bytes("VmHWM:")?,
        })
    }
}

/// Returns the CPU time that a process has used, in user and kernel mode.
pub fn cpu_time(pid: Pid) -> io::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks = parse_cpu_ticks(&stat).ok_or_else(|| unexpected(pid, "stat"))?;
    // SAFETY: sysconf takes any name and does not access our memory.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(Duration::from_secs_f64(
        ticks as f64 / ticks_per_second as f64,
    ))
}

/// Sends SIGTERM to a child, unless it has ended.
pub fn terminate(child: &mut Child) -> io::Result<()> {
    if child.try_wait()?.is_some() {
        return Ok(());
    }
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    // SAFETY: kill does not access our memory. As the line above shows, the child has not been
    // waited for, so its PID cannot belong to another process yet.
    match unsafe { libc::kill(pid, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A finished process.
#[derive(Debug)]
pub struct Run {
    /// Exit status.
    pub status: ExitStatus,
    /// CPU time, in user and kernel mode.
    pub cpu: Duration,
    /// Peak resident memory. It is at least that of this process, which forked it.
    pub rss_peak_bytes: u64,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Run {
    /// Runs the command. If it takes longer than `time`, kills it and returns an error.
    pub fn of(command: &mut Command, time: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + time;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| {
            // Read while it runs, because it would block on a full pipe.
            let stdout = scope.spawn(|| read_all(stdout));
            let stderr = scope.spawn(|| read_all(stderr));
            let (status, usage) = wait(&mut child, deadline)?;
            let stdout = stdout
                .join()
                .map_err(|_| io::Error::other("reading failed"))??;
            let stderr = stderr
                .join()
                .map_err(|_| io::Error::other("reading failed"))??;
            let rss_peak_kib = u64::try_from(usage.ru_maxrss).map_err(io::Error::other)?;
            Ok(Self {
                status,
                cpu: duration(usage.ru_utime)? + duration(usage.ru_stime)?,
                rss_peak_bytes: rss_peak_kib * 1024,
                stdout,
                stderr,
            })
        })
    }
}

fn read_all(pipe: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Waits for a child that has not been waited for, and returns its status and resource usage.
fn wait(child: &mut Child, deadline: Instant) -> io::Result<(ExitStatus, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: rusage consists of numbers, for which zero is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers refer to variables of the types that wait4 fills.
        match unsafe { libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage) } {
            0 if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
            0 => {
                child.kill()?;
                child.wait()?;
                return Err(io::ErrorKind::TimedOut.into());
            }
            -1 => return Err(io::Error::last_os_error()),
            _ => return Ok((ExitStatus::from_raw(status), usage)),
        }
    }
}

fn duration(time: libc::timeval) -> io::Result<Duration> {
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let microseconds = u64::try_from(time.tv_usec).map_err(io::Error::other)?;
    Ok(Duration::from_secs(seconds) + Duration::from_micros(microseconds))
}

/// Returns the sum of fields 14 and 15 of proc_pid_stat(5). The second field is a name in
/// parentheses, which may itself contain spaces and parentheses.
fn parse_cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

fn unexpected(pid: Pid, file: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("/proc/{pid}/{file} is not as expected"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_this_process() {
        let memory = Memory::of(Pid::This).unwrap();
        assert!(memory.rss_bytes > 0 && memory.rss_peak_bytes > 0);
    }

    #[test]
    fn a_run_tells_how_it_ended() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let run = Run::of(&mut command, Duration::from_secs(10)).unwrap();
        assert_eq!(
            (&run.stdout[..], &run.stderr[..]),
            (&b"out\n"[..], &b"err\n"[..])
        );
        assert_eq!(run.status.code(), Some(3));
        assert!(run.rss_peak_bytes > 0 && run.cpu < Duration::from_secs(10));
    }

    #[test]
    fn a_run_that_takes_too_long_is_killed() {
        let error = Run::of(Command::new("sleep").arg("10"), Duration::from_millis(20));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn memory_is_parsed_by_name_and_unit() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t       1 kB\n";
        let memory = Memory::parse(status).unwrap();
        assert_eq!(
            (memory.rss_bytes, memory.rss_peak_bytes),
            (1024, 2048 * 1024)
        );
        assert!(Memory::parse("VmRSS:\t1 kB\n").is_none());
    }

    #[test]
    fn cpu_ticks_come_after_the_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 164 0 0 0 30 12 0 0 20 0 1 0 32";
        assert_eq!(parse_cpu_ticks(stat), Some(42));
        assert_eq!(parse_cpu_ticks("7 (a) S 1"), None);
    }
}
