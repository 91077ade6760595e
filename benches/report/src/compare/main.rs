// SPDX-License-Identifier: MIT OR Apache-2.0

//! Compares hakmem with the system's allocator and with its peers, in three parts: criterion's micro
//! benchmarks, macro benchmarks in Rust, and C programs and programs of Debian: `make compare`.
//!
//! `QUICK=1` shortens all runs. Arguments choose rows: those whose part and name contain all of them.
//! `--render` writes the page again from the samples of the last run.

mod cargo;
mod driver;
mod instructions;
mod micro;
mod plot;
mod process;
mod programs;
mod quiet;
mod redis;
mod report;
mod resident;
mod samples;
mod statistics;
mod warm;
mod workloads;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use hakmem_reports::allocators::{self, Found};
use hakmem_reports::machine::{self, output};
use hakmem_reports::{Result, is_quick, root};

use driver::{Budget, Source};
use instructions::Counter;
use samples::{Comparison, Part};

const PARTS: [&str; 3] = ["micro", "macro", "programs"];

const FULL: Budget = Budget {
    time: Duration::from_secs(540),
    least_rounds: 3,
    most_rounds: 15,
    patience: Duration::from_secs(180),
    most_tries: 3,
    warm: warm::warm,
};
const QUICK: Budget = Budget {
    time: Duration::from_secs(60),
    least_rounds: 1,
    most_rounds: 2,
    patience: Duration::from_secs(5),
    most_tries: 2,
    warm: warm::warm,
};

/// What the arguments ask for.
struct Plan {
    quick: bool,
    words: Vec<String>,
    /// Where samples, inputs and outputs of programs are.
    folder: PathBuf,
}

impl Plan {
    fn budget(&self) -> &'static Budget {
        if self.quick { &QUICK } else { &FULL }
    }

    /// A word that is a part's name chooses that part.
    fn wants_part(&self, part: &str) -> bool {
        let mut named = self
            .words
            .iter()
            .filter(|word| PARTS.contains(&word.as_str()));
        named.all(|word| word == part)
    }

    fn wants_row(&self, part: &str, row: &str) -> bool {
        let mut words = self.words.iter();
        words.all(|word| word == part || row.contains(word.as_str()))
    }

    fn command(&self) -> String {
        let quick = if self.quick { " QUICK=1" } else { "" };
        match self.words.join(" ") {
            words if words.is_empty() => format!("make compare{quick}"),
            words => format!("make compare{quick} COMPARE='{words}'"),
        }
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    if let [option, bytes] = words.as_slice() {
        if option == warm::OPTION {
            return warm::touch(bytes);
        }
    }
    match compare(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error}");
            ExitCode::FAILURE
        }
    }
}

fn compare(words: Vec<String>) -> Result<()> {
    let folder = root().join("build/compare");
    fs::create_dir_all(&folder)?;
    let samples = folder.join("samples.json");
    let comparison = if words == ["--render"] {
        let text = fs::read_to_string(&samples);
        let text = text.map_err(|error| format!("{}: {error}", samples.display()))?;
        serde_json::from_str(&text)?
    } else {
        let plan = Plan {
            quick: is_quick(),
            words,
            folder,
        };
        let comparison = measure(&plan)?;
        fs::write(&samples, serde_json::to_string(&comparison)?)?;
        comparison
    };
    write_reports(&comparison)
}

fn measure(plan: &Plan) -> Result<Comparison> {
    let found = allocators::find(&root())?;
    let has_strace = process::can_trace(&plan.folder);
    let counter = Counter::find(&plan.folder);
    let mut facts = describe(&found)?;
    facts.push(Counter::describe(counter));
    let mut comparison = Comparison {
        date: output("date", &["+%Y-%m-%d"]),
        cpu: machine::cpu(),
        is_full: !plan.quick && plan.words.is_empty(),
        command: plan.command(),
        facts,
        parts: Vec::new(),
    };
    let chosen: Vec<_> = PARTS
        .into_iter()
        .filter(|part| plan.wants_part(part))
        .collect();
    // All is built before the first part is measured.
    eprintln!("building the benchmarks");
    let mut sources: Vec<(&str, Box<dyn Source + '_>)> = Vec::new();
    for part in chosen {
        let source: Box<dyn Source + '_> = match part {
            "micro" => Box::new(micro::Micro::new(&plan.folder, plan.quick)?),
            "macro" => Box::new(workloads::Workloads::new(
                &plan.folder,
                plan.quick,
                has_strace,
            )?),
            _ => {
                programs::make_inputs(&plan.folder)?;
                let tools = programs::Tools {
                    has_strace,
                    counter,
                };
                let programs = programs::Programs::new(&found, &plan.folder, plan.quick, tools)?;
                Box::new(programs)
            }
        };
        sources.push((part, source));
    }
    for (i, (part, source)) in sources.iter().enumerate() {
        let wants = |row: &str| plan.wants_row(part, row);
        let budget = plan.budget();
        let later = budget.time * u32::try_from(sources.len() - 1 - i)?;
        let measured = driver::run(part, source.as_ref(), &wants, budget, later);
        comparison.parts.extend(measured);
    }
    if comparison.parts.is_empty() {
        return Err(format!("no row has '{}' in its name", plan.words.join(" ")).into());
    }
    Ok(comparison)
}

/// The machine, the commit and the versions.
fn describe(found: &Found) -> Result<Vec<String>> {
    let mut facts = machine::describe();
    let commit = output("git", &["describe", "--always", "--dirty"]);
    if !commit.is_empty() {
        facts.push(format!("commit: {commit}"));
    }
    facts.push(format!(
        "compilers: {}, {}",
        output("rustc", &["--version"]),
        output("cc", &["--version"])
            .lines()
            .next()
            .unwrap_or_default()
    ));
    let crates = cargo::allocator_crates()?;
    facts.push(format!("crates in micro and macro: {}", crates.join(", ")));
    facts.extend(found.describe());
    Ok(facts)
}

/// Writes the page and the results, and prints the summary.
fn write_reports(comparison: &Comparison) -> Result<()> {
    let results = root().join("benches/results");
    let causes = report::read_causes(&fs::read_to_string(results.join("causes.txt"))?);
    let summary = report::summary(comparison, &causes);
    let text = report::to_text(&summary);
    let mut blocks = summary;
    blocks.extend(report::details(comparison));
    let page = root().join("build/compare.html");
    fs::write(&page, report::to_page(&blocks))?;
    // Only full comparisons are results to keep.
    let folder: &Path = match comparison.is_full {
        true => &results,
        false => &root().join("build/compare"),
    };
    let markdown = folder.join(format!("{}-{}.md", comparison.date, slug(&comparison.cpu)));
    fs::write(&markdown, report::to_markdown(&blocks))?;
    println!(
        "{text}\npage: {}\nresults: {}",
        page.display(),
        markdown.display()
    );
    let rows = comparison.parts.iter().flat_map(|part: &Part| &part.rows);
    let cells = rows.flat_map(|row| &row.cells);
    let failed = cells.filter(|cell| cell.failure.is_some()).count();
    if failed > 0 {
        println!("{failed} runs failed, see \"Not measured\"");
    }
    Ok(())
}

/// A processor's name as a part of a file's.
fn slug(cpu: &str) -> String {
    let words = cpu.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Plan, slug};

    fn plan(words: &[&str]) -> Plan {
        Plan {
            quick: true,
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            folder: PathBuf::new(),
        }
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
}
