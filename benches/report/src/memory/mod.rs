// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the memory scenarios on hakmem, on the system's allocator and on the other allocators that
//! are installed, and writes a page with their resident memory over time. The results are also in
//! `build/memory.json`. Ends with status 1 when hakmem misses one of its limits.

mod run;
mod scenarios;
mod service;
mod throughput;

use std::fs;
use std::process::ExitCode;

use crate::allocators::{self, Allocator};
use crate::chart::{self, LIVE, Line};
use crate::document::{Block, Entry, MISSING, Table, column, to_page, to_text};
use crate::progress::Progress;
use crate::{Result, is_quick, machine, root};

use run::{Figure, Run, Sample, Scenario};

const NOTE: &str = "All allocators run with default options, preloaded into the same programs. \
                    Each line is one run. Limits are those of hakmem: green held, red missed.";

/// The amount of work, and the allocators, hakmem first and the system's second.
struct Plan<'a> {
    quick: bool,
    allocators: &'a [Allocator],
    progress: Progress,
}

/// Runs the scenarios of these names, or all of them.
pub(crate) fn run(chosen: &[String]) -> Result<ExitCode> {
    let mut programs = scenarios::read(is_quick())?;
    let names: Vec<_> = programs.iter().map(|program| program.name.clone()).collect();
    if let Some(unknown) = chosen.iter().find(|name| !names.contains(name)) {
        return Err(format!("no scenario '{unknown}'; there are: {}", names.join(" ")).into());
    }
    programs.retain(|program| chosen.is_empty() || chosen.contains(&program.name));
    let found = allocators::find(&root())?;
    for missing in &found.missing {
        eprintln!("left out, not installed: {missing}");
    }
    let allocators = &found.allocators;
    let steps = programs.iter().map(|program| program.steps(allocators)).sum();
    let plan = Plan { quick: is_quick(), allocators, progress: Progress::new(steps) };
    let done: Vec<_> = programs.iter().map(|one| one.run(&plan)).collect::<Result<_>>()?;
    drop(plan);
    let mut facts = machine::describe();
    facts.extend(found.describe());
    write_reports(facts, &done)?;
    Ok(judge(&done))
}

fn write_reports(facts: Vec<String>, scenarios: &[Scenario]) -> Result<()> {
    let build = root().join("build");
    fs::write(build.join("memory.json"), serde_json::to_string(scenarios)?)?;
    let mut blocks = vec![
        Block::Title("Resident memory over time".to_owned()),
        Block::List(facts),
        Block::Text(NOTE.to_owned()),
    ];
    let mut files = vec![build.join("memory.html")];
    for scenario in scenarios {
        let lines = lines(scenario);
        blocks.push(Block::Heading(scenario.title.clone()));
        if lines.iter().any(|line| line.points.len() > 1) {
            blocks.push(Block::Figure(maud::html! { figure { (chart::lines(&lines, "")) } }));
            files.push(build.join(format!("memory-{}.svg", scenario.name)));
            fs::write(&files[files.len() - 1], chart::picture(&lines))?;
        }
        blocks.push(Block::Table(table(scenario)));
    }
    fs::write(&files[0], to_page(&blocks))?;
    println!("{}", to_text(&blocks));
    for file in files {
        println!("written: {}", file.display());
    }
    Ok(())
}

/// Resident memory of each run, and the live bytes of the first one. Those of the others are the
/// same.
fn lines(scenario: &Scenario) -> Vec<Line<'_>> {
    let points = |run: &Run, kb: fn(&Sample) -> u64| {
        let point = |sample: &Sample| (sample.ms as f64 / 1000.0, kb(sample) as f64 / 1024.0);
        run.samples.iter().map(point).collect::<Vec<_>>()
    };
    let live = points(&scenario.runs[0], |sample| sample.live_kb);
    let live = live.iter().any(|(_, mib)| *mib > 0.0).then_some(Line { name: LIVE, points: live });
    let resident = scenario
        .runs
        .iter()
        .map(|run| Line { name: &run.name, points: points(run, |sample| sample.rss_kb) });
    resident.chain(live).collect()
}

/// A line for each figure, and a column for each run. Limits are those of the first one.
fn table(scenario: &Scenario) -> Table {
    let label = |name: &&str| {
        let figure = scenario.runs.iter().find_map(|run| run.figure(name));
        figure.map_or((*name).to_owned(), Figure::label)
    };
    let mut columns = vec![column("", label)];
    for (i, run) in scenario.runs.iter().enumerate() {
        columns.push(column(&run.name, move |name: &&str| {
            let figure = run.figure(name);
            let text = figure.map_or(MISSING.to_owned(), |figure| grouped(figure.value));
            Entry { text, is_good: figure.filter(|_| i == 0).and_then(Figure::holds) }
        }));
    }
    columns.push(column("at most", |name: &&str| {
        let figure = scenario.runs[0].figure(name);
        let limit = figure.and_then(|figure| figure.limit).map_or(String::new(), grouped);
        let missed = figure.and_then(Figure::holds) == Some(false);
        limit + if missed { " missed!" } else { "" }
    }));
    Table::of("", &scenario.figure_names().collect::<Vec<_>>(), &columns)
}

/// Digits in groups of three.
fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    let sign = if value < 0 { "−" } else { "" };
    sign.to_owned() + &groups.collect::<Vec<_>>().join("\u{202f}")
}

/// Counts the limits of hakmem, which runs first in each scenario.
fn judge(scenarios: &[Scenario]) -> ExitCode {
    let figures = scenarios.iter().flat_map(|scenario| &scenario.runs[0].figures);
    let held: Vec<bool> = figures.filter_map(Figure::holds).collect();
    let missed = held.iter().filter(|held| !**held).count();
    println!("{} limits held, {missed} missed", held.len() - missed);
    ExitCode::from(u8::from(missed > 0))
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn digits_are_grouped() {
        assert_eq!(grouped(12), "12");
        assert_eq!(grouped(-1_234_567), "−1\u{202f}234\u{202f}567");
    }
}
