// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares hakmem with the system's allocator and with its peers, in three parts: criterion's
//! micro benchmarks, macro benchmarks in Rust, and C programs and programs of Debian.

mod cargo;
mod driver;
mod instructions;
mod micro;
pub(crate) mod programs;
mod quiet;
mod redis;
mod report;
pub(crate) mod samples;
mod workloads;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use memmap2::{Advice, MmapMut};

use crate::allocators::{self, Found};
use crate::document::{to_markdown, to_page, to_text};
use crate::machine::{self, kilobytes, output};
use crate::{Result, is_quick, process, root};

use driver::{Budget, Source};
use instructions::Counter;
use samples::Comparison;

const PARTS: [&str; 3] = ["micro", "macro", "programs"];

const FULL: Budget = Budget {
    time: Duration::from_secs(540),
    least_rounds: 3,
    most_rounds: 15,
    patience: Duration::from_secs(180),
    most_tries: 3,
    warm,
};
const QUICK: Budget = Budget {
    time: Duration::from_secs(60),
    least_rounds: 1,
    most_rounds: 2,
    patience: Duration::from_secs(5),
    most_tries: 2,
    warm,
};

/// The rows to measure, and the amount of work.
struct Plan {
    quick: bool,
    words: Vec<String>,
}

impl Plan {
    /// A word that is the name of a part chooses that part.
    fn wants_part(&self, part: &str) -> bool {
        let mut named = self.words.iter().filter(|word| PARTS.contains(&word.as_str()));
        named.all(|word| word == part)
    }

    fn wants_row(&self, part: &str, row: &str) -> bool {
        self.words.iter().all(|word| word == part || row.contains(word.as_str()))
    }

    fn command(&self) -> String {
        let quick = if self.quick { " QUICK=1" } else { "" };
        match self.words.join(" ") {
            words if words.is_empty() => format!("make compare{quick}"),
            words => format!("make compare{quick} COMPARE='{words}'"),
        }
    }
}

/// The folder of samples, and of inputs and outputs of programs.
fn folder() -> PathBuf {
    root().join("build/compare")
}

/// Measures the rows with these words in part and name.
pub(crate) fn compare(words: Vec<String>) -> Result<ExitCode> {
    fs::create_dir_all(folder())?;
    let comparison = measure(&Plan { quick: is_quick(), words })?;
    fs::write(folder().join("samples.json"), serde_json::to_string(&comparison)?)?;
    write_reports(&comparison)
}

/// Writes the reports of the last run again.
pub(crate) fn render() -> Result<ExitCode> {
    let samples = folder().join("samples.json");
    let text = fs::read_to_string(&samples);
    let text = text.map_err(|error| format!("{}: {error}", samples.display()))?;
    write_reports(&serde_json::from_str(&text)?)
}

fn measure(plan: &Plan) -> Result<Comparison> {
    let folder = &folder();
    let found = allocators::find(&root())?;
    let has_strace = process::can_trace(folder);
    let counter = Counter::find(folder);
    let mut facts = describe(&found)?;
    facts.push(Counter::describe(counter));
    // All is built before the first part is measured.
    eprintln!("building the benchmarks");
    let mut sources: Vec<Box<dyn Source + '_>> = Vec::new();
    for part in PARTS.into_iter().filter(|part| plan.wants_part(part)) {
        sources.push(match part {
            "micro" => Box::new(micro::Micro::new(folder, plan.quick)?),
            "macro" => Box::new(workloads::new(folder, plan.quick, has_strace)?),
            _ => Box::new(programs::Programs::new(&found, plan.quick, has_strace, counter)?),
        });
    }
    let budget = if plan.quick { &QUICK } else { &FULL };
    let wants = |part: &str, row: &str| plan.wants_row(part, row);
    let parts: Vec<_> =
        sources.iter().filter_map(|one| driver::run(one.as_ref(), &wants, budget)).collect();
    if parts.is_empty() {
        return Err(format!("no row has '{}' in its name", plan.words.join(" ")).into());
    }
    Ok(Comparison {
        date: output("date", &["+%Y-%m-%d"]),
        cpu: machine::cpu(),
        is_full: !plan.quick && plan.words.is_empty(),
        command: plan.command(),
        facts,
        parts,
    })
}

/// The machine, the commit and the versions.
fn describe(found: &Found) -> Result<Vec<String>> {
    let mut facts = machine::describe();
    let commit = output("git", &["describe", "--always", "--dirty"]);
    facts.extend((!commit.is_empty()).then(|| format!("commit: {commit}")));
    let cc = output("cc", &["--version"]);
    let cc = cc.lines().next().unwrap_or_default();
    facts.push(format!("compilers: {}, {cc}", output("rustc", &["--version"])));
    let crates = cargo::allocator_crates()?.join(", ");
    facts.push(format!("crates in micro and macro: {crates}"));
    facts.extend(found.describe());
    Ok(facts)
}

/// Writes the page and the results, and prints the summary.
fn write_reports(comparison: &Comparison) -> Result<ExitCode> {
    let results = root().join("benches/results");
    let causes = report::read_causes(&fs::read_to_string(results.join("causes.txt"))?);
    let mut blocks = report::summary(comparison, &causes);
    println!("{}", to_text(&blocks));
    blocks.extend(report::details(comparison));
    let page = root().join("build/compare.html");
    fs::write(&page, to_page(&blocks))?;
    // Only full comparisons are results to keep.
    let name = format!("{}-{}.md", comparison.date, slug(&comparison.cpu));
    let markdown = if comparison.is_full { results } else { folder() }.join(name);
    fs::write(&markdown, to_markdown(&blocks))?;
    println!("page: {}\nresults: {}", page.display(), markdown.display());
    let cells = comparison.rows().flat_map(|row| &row.cells);
    let failed = cells.filter(|cell| cell.failure.is_some()).count();
    if failed > 0 {
        println!("{failed} runs failed, see \"Not measured\"");
    }
    Ok(ExitCode::SUCCESS)
}

/// The name of a processor as a part of the name of a file.
fn slug(cpu: &str) -> String {
    let words = cpu.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

// ---- Warm memory --------------------------------------------------------------------------------

/// The peak of a row, until it is known.
const DEFAULT_KB: u64 = 512 << 10;
/// At most this part of the free memory is touched.
const FREE_DIVISOR: u64 = 4;

/// Touches and releases about as much memory as a row's peak. A virtual machine that gives free
/// pages back to its host pays for their next first touch, and without warming the first allocator
/// would pay for all. A process of its own does it, because the peak of this one would count as
/// that of its children.
pub(crate) fn warm(peak_kb: Option<u64>) {
    let free_kb = kilobytes("/proc/meminfo", "MemFree").unwrap_or(0);
    let bytes = amount_kb(peak_kb, free_kb) << 10;
    let Ok(program) = std::env::current_exe() else { return };
    // Cold memory makes a run slower, but not wrong.
    let mut touch = Command::new(program);
    let _ = touch.args(["touch", &bytes.to_string()]).stdin(Stdio::null()).status();
}

fn amount_kb(peak_kb: Option<u64>, free_kb: u64) -> u64 {
    peak_kb.unwrap_or(DEFAULT_KB).min(free_kb / FREE_DIVISOR)
}

/// Touches memory. The end of the process releases it. The host takes back huge pages, and their
/// next first touch is slow.
pub(crate) fn touch(bytes: usize) -> Result<ExitCode> {
    let mut memory = MmapMut::map_anon(bytes.max(1))?;
    // Without huge pages in this kernel, small ones are touched.
    let _ = memory.advise(Advice::HugePage);
    memory.fill(1);
    std::hint::black_box(&memory);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::{Plan, amount_kb, slug};

    fn plan(words: &[&str]) -> Plan {
        Plan { quick: true, words: words.iter().map(|word| (*word).to_owned()).collect() }
    }

    #[test]
    fn words_choose_parts_and_rows() {
        let all = plan(&[]);
        assert!(all.wants_part("micro") && all.wants_row("micro", "pair 16"));
        let one = plan(&["macro", "json"]);
        assert!(one.wants_part("macro") && !one.wants_part("micro"));
        assert!(one.wants_row("macro", "json parse") && !one.wants_row("macro", "cache"));
        let anywhere = plan(&["16"]);
        assert!(anywhere.wants_part("programs") && anywhere.wants_row("micro", "pair 16"));
        assert_eq!(one.command(), "make compare QUICK=1 COMPARE='macro json'");
    }

    #[test]
    fn processors_make_names_of_files() {
        assert_eq!(slug("AMD EPYC 7B13 @ 2.20GHz"), "amd-epyc-7b13-2-20ghz");
    }

    #[test]
    fn warm_memory_is_the_peak_within_a_part_of_the_free_memory() {
        assert_eq!(amount_kb(None, 8 << 20), 512 << 10);
        assert_eq!(amount_kb(Some(1000), 8 << 20), 1000);
        assert_eq!(amount_kb(Some(1000), 2000), 500);
        assert_eq!(amount_kb(None, 0), 0);
    }
}
