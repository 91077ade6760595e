// SPDX-License-Identifier: MIT OR Apache-2.0

//! The HTTP service of the examples: load, a pause, and the same load again.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Plan;
use super::run::{Figure, Run, Sample};
use crate::Result;
use crate::allocators::Allocator;
use crate::machine::kilobytes;

pub(crate) const NAME: &str = "service";

const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);
/// RSS beyond that at the start, of live bytes in the pause.
const RSS_PERCENT: i64 = 130;
/// The time of the second load, of that of the first: the noise of a run.
const TIME_PERCENT: i64 = 110;

pub(crate) fn run(plan: &Plan<'_>) -> Result<Vec<Run>> {
    // The other allocators do not count live bytes, so the count of hakmem serves for all.
    let mut live_kb = None;
    let measure = |allocator: &Allocator| {
        plan.progress.step(&format!("{NAME} on {}", allocator.name));
        measure(plan, allocator, &mut live_kb)
    };
    plan.allocators.iter().map(measure).collect()
}

/// The process of the service and its samples. The process is killed at the end.
struct Service {
    process: Child,
    start: Instant,
    run: Run,
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn measure(plan: &Plan<'_>, allocator: &Allocator, live_kb: &mut Option<u64>) -> Result<Run> {
    let folder = std::env::current_exe()?.with_file_name("");
    let is_hakmem = allocator.is_hakmem();
    let mut command =
        Command::new(folder.join(if is_hakmem { "service" } else { "service-system" }));
    command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null()).stdout(Stdio::piped());
    allocator.preload_into(&mut command);
    if is_hakmem {
        command.env_remove("LD_PRELOAD"); // it is linked with the crate
    }
    let process = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let run = Run::new(&allocator.name);
    let mut service = Service { process, start: Instant::now(), run };
    let mut line = String::new();
    if let Some(stdout) = service.process.stdout.take() {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    let address = line.trim().strip_prefix("listening on http://");
    let address = address.ok_or_else(|| format!("{command:?} did not start"))?;

    let start_kb = service.sample()?;
    let first = service.load(plan, &folder, address)?;
    let end = Instant::now() + Duration::from_secs(if plan.quick { 4 } else { 10 });
    while Instant::now() < end {
        thread::sleep(SAMPLE_INTERVAL);
        service.sample()?;
    }
    if is_hakmem {
        let answer = ask(address, "GET /stats")?;
        let bytes = answer["statistics"]["stats"]["bytes_live"].as_u64();
        *live_kb = Some(bytes.ok_or("the service does not count live bytes")? / 1024);
    }
    let rss_kb = service.sample()?;
    ask(address, "DELETE /documents")?; // the second load begins as the first did
    let second = service.load(plan, &folder, address)?;

    let percent = |part: f64, whole: f64| (part * 100.0 / whole).round() as i64;
    let limit = |limit| is_hakmem.then_some(limit);
    // Short loads show that it works, not how fast.
    let time_limit = limit(TIME_PERCENT).filter(|_| !plan.quick);
    let peak_kb = service.run.peak_kb();
    service.run.figures.extend([
        Figure::new("requests_per_s", first as i64, None, ""),
        Figure::new("peak_RSS", peak_kb as i64 / 1024, None, "MiB"),
        Figure::new("RSS_in_the_pause", rss_kb as i64 / 1024, None, "MiB"),
        Figure::new("second_time_of_first", percent(first, second), time_limit, "%"),
    ]);
    if let Some(live_kb) = *live_kb {
        let value = percent(rss_kb.saturating_sub(start_kb) as f64, live_kb as f64);
        let figure = Figure::new("RSS_of_live_in_the_pause", value, limit(RSS_PERCENT), "%");
        service.run.figures.push(figure);
    }
    Ok(std::mem::take(&mut service.run))
}

impl Service {
    /// Takes a sample from outside of the process.
    fn sample(&mut self) -> Result<u64> {
        let file = format!("/proc/{}/smaps_rollup", self.process.id());
        let rss_kb = kilobytes(&file, "Rss").ok_or("the service has ended")?;
        let ms = u64::try_from(self.start.elapsed().as_millis())?;
        self.run.samples.push(Sample { ms, rss_kb, live_kb: 0 });
        Ok(rss_kb)
    }

    /// Puts load on the service. Returns the requests per second.
    fn load(&mut self, plan: &Plan<'_>, folder: &Path, address: &str) -> Result<f64> {
        let [documents, requests] = if plan.quick { ["5000", "10000"] } else { ["20000", "50000"] };
        let mut load = Command::new(folder.join("load"))
            .args(["--json", "--target", address])
            .args(["--documents", documents, "--requests", requests])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        while load.try_wait()?.is_none() {
            thread::sleep(SAMPLE_INTERVAL);
            self.sample()?;
        }
        let output = load.wait_with_output()?;
        let report = String::from_utf8_lossy(&output.stdout);
        let rate = || {
            let report: Value = serde_json::from_str(&report).ok()?;
            Some(report["requests"].as_f64()? / report["seconds"].as_f64()?)
        };
        let rate = rate().filter(|_| output.status.success());
        rate.ok_or_else(|| format!("the load on the service failed: {report}").into())
    }
}

/// Sends a request to the service. Returns the answer, or null if it is not JSON.
fn ask(address: &str, request: &str) -> Result<Value> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if !answer.starts_with("HTTP/1.1 2") {
        return Err(format!("{request}: {answer}").into());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok(serde_json::from_str(body).unwrap_or_default())
}
