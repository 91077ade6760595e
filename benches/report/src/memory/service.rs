// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTTP service of the examples: load, a pause, and the same load again.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use hakmem_reports::Result;
use hakmem_reports::allocators::Allocator;

use crate::run::{Figure, Run, Sample, Scenario};
use crate::{Plan, Progress};

pub(crate) const NAME: &str = "service";

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// Of RSS, beyond the service's at its start, to live bytes in the pause.
const RSS_PERCENT: i64 = 130;
/// Of the second load's time to the first's: the noise of a run.
const TIME_PERCENT: i64 = 110;

pub(crate) fn steps(plan: &Plan, allocators: &[Allocator]) -> usize {
    if plan.wants(NAME) {
        allocators.len()
    } else {
        0
    }
}

pub(crate) fn run(
    plan: &Plan,
    allocators: &[Allocator],
    progress: &mut Progress,
) -> Result<Option<Scenario>> {
    if !plan.wants(NAME) {
        return Ok(None);
    }
    let mut runs: Vec<Run> = Vec::new();
    // The other allocators keep no count of live bytes; the service's are those that hakmem counted.
    let mut live_kb = None;
    for allocator in allocators {
        progress.step(&format!("{NAME} on {}", allocator.name));
        runs.push(measure(plan, allocator, &mut live_kb)?);
    }
    Ok(Some(Scenario {
        name: NAME,
        title: "Service: the HTTP service of the examples: load, a pause, the same load again"
            .to_owned(),
        runs,
    }))
}

/// The service's process, killed at the end.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(plan: &Plan, allocator: &Allocator, live_kb: &mut Option<u64>) -> Result<Run> {
    let folder = std::env::current_exe()?.with_file_name("");
    let executable = if allocator.is_hakmem() {
        "service"
    } else {
        "service-system"
    };
    let mut command = Command::new(folder.join(executable));
    command
        .args(["--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    allocator.preload_into(&mut command);
    if allocator.is_hakmem() {
        command.env_remove("LD_PRELOAD"); // it is linked with the crate
    }
    let mut service = Service(
        command
            .spawn()
            .map_err(|error| format!("{command:?}: {error}"))?,
    );
    let mut line = String::new();
    if let Some(stdout) = service.0.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let address = line.trim().strip_prefix("listening on http://");
    let address = address
        .ok_or_else(|| format!("{command:?} did not start"))?
        .to_owned();

    let mut watch = Watch {
        pid: service.0.id(),
        start: Instant::now(),
        samples: Vec::new(),
    };
    watch.sample()?;
    let first = load(plan, &folder, &address, &mut watch)?;
    watch.sleep(Duration::from_secs(if plan.quick { 4 } else { 10 }))?;
    if allocator.is_hakmem() {
        let statistics = ask(&address, "GET /stats")?;
        *live_kb = Some(number(&statistics, "\"bytes_live\":")? as u64 / 1024);
    }
    let start_kb = watch.samples[0].rss_kb;
    let rss_kb = watch.sample()?;
    ask(&address, "DELETE /documents")?; // the second load begins as the first did
    let second = load(plan, &folder, &address, &mut watch)?;

    let percent = |part: f64, whole: f64| (part * 100.0 / whole).round() as i64;
    let limit = |limit| allocator.is_hakmem().then_some(limit);
    // Short loads say that it works, not how fast.
    let time_limit = limit(TIME_PERCENT).filter(|_| !plan.quick);
    let mut figures = vec![
        Figure::new("requests_per_s", first as i64, None, ""),
        Figure::new("peak_RSS", watch.peak_kb() as i64 / 1024, None, "MiB"),
        Figure::new("RSS_in_the_pause", rss_kb as i64 / 1024, None, "MiB"),
        Figure::new(
            "second_time_of_first",
            percent(first, second),
            time_limit,
            "%",
        ),
    ];
    if let Some(live_kb) = *live_kb {
        let value = percent((rss_kb - start_kb.min(rss_kb)) as f64, live_kb as f64);
        figures.push(Figure::new(
            "RSS_of_live_in_the_pause",
            value,
            limit(RSS_PERCENT),
            "%",
        ));
    }
    Ok(Run {
        name: allocator.name.clone(),
        samples: watch.samples,
        figures,
    })
}

/// Samples of a process from outside.
struct Watch {
    pid: u32,
    start: Instant,
    samples: Vec<Sample>,
}

impl Watch {
    fn sample(&mut self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.pid))?;
        let rss_kb = number(&text, "\nRss:")? as u64;
        self.samples.push(Sample {
            ms: u64::try_from(self.start.elapsed().as_millis())?,
            rss_kb,
            live_kb: 0,
        });
        Ok(rss_kb)
    }

    fn sleep(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            thread::sleep(SAMPLE_INTERVAL);
            self.sample()?;
        }
        Ok(())
    }

    fn peak_kb(&self) -> u64 {
        self.samples
            .iter()
            .map(|sample| sample.rss_kb)
            .max()
            .unwrap_or(0)
    }
}

/// Puts load on the service; returns the requests per second.
fn load(plan: &Plan, folder: &Path, address: &str, watch: &mut Watch) -> Result<f64> {
    let (documents, requests) = if plan.quick {
        ("5000", "10000")
    } else {
        ("20000", "50000")
    };
    let mut load = Command::new(folder.join("load"))
        .args([
            "--json",
            "--target",
            address,
            "--documents",
            documents,
            "--requests",
            requests,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    while load.try_wait()?.is_none() {
        thread::sleep(SAMPLE_INTERVAL);
        watch.sample()?;
    }
    let mut report = String::new();
    if let Some(mut stdout) = load.stdout.take() {
        stdout.read_to_string(&mut report)?;
    }
    if !load.wait()?.success() {
        return Err(format!("the load on the service failed: {report}").into());
    }
    Ok(number(&report, "\"requests\":")? / number(&report, "\"seconds\":")?)
}

/// Asks the service; returns the whole answer.
fn ask(address: &str, request: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(
        stream,
        "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    match answer.starts_with("HTTP/1.1 2") {
        true => Ok(answer),
        false => Err(format!("{request}: {answer}").into()),
    }
}

/// The number after `name` in a text.
fn number(text: &str, name: &str) -> Result<f64> {
    let rest = text.split_once(name).map(|(_, rest)| rest.trim_start());
    let rest = rest.ok_or_else(|| format!("no {name} in: {text}"))?;
    let end = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    Ok(rest[..end].parse()?)
}
