// SPDX-License-Identifier: MIT OR Apache-2.0

//! Runs the memory scenarios on hakmem, on the system's allocator and on the other allocators that are installed, and
//! writes a page with their resident memory over time: `make memory`.
//!
//! Arguments choose scenarios by name; `QUICK=1` shortens them. Ends with status 1 when hakmem misses
//! one of its limits.

mod page;
mod run;
mod scenarios;
mod service;
mod throughput;

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use hakmem_reports::{Result, allocators, is_quick, machine, root};

use run::{Figure, Scenario};

/// Where things are, and how much to do.
struct Plan {
    root: PathBuf,
    quick: bool,
    /// Names of scenarios; empty: all of them.
    chosen: Vec<String>,
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.chosen.is_empty() || self.chosen.iter().any(|chosen| chosen == name)
    }
}

/// Tells on standard error what runs, and how long the rest may take.
struct Progress {
    start: Instant,
    done: usize,
    steps: usize,
}

impl Progress {
    fn step(&mut self, what: &str) {
        let elapsed = self.start.elapsed().as_secs_f64();
        let left = match self.done {
            0 => String::new(),
            done => format!(
                ", about {:.0} s left",
                elapsed / done as f64 * (self.steps - done) as f64
            ),
        };
        self.done += 1;
        eprintln!("[{}/{}] {what}{left}", self.done, self.steps);
    }
}

fn main() -> Result<ExitCode> {
    let plan = Plan {
        root: root(),
        quick: is_quick(),
        chosen: env::args().skip(1).collect(),
    };
    let names: Vec<_> = scenarios::names()
        .chain([service::NAME, throughput::NAME])
        .collect();
    if let Some(unknown) = plan
        .chosen
        .iter()
        .find(|name| !names.contains(&name.as_str()))
    {
        return Err(format!("no scenario '{unknown}'; there are: {}", names.join(" ")).into());
    }
    let found = allocators::find(&plan.root)?;
    for missing in &found.missing {
        eprintln!("left out, not installed: {missing}");
    }
    let mut progress = Progress {
        start: Instant::now(),
        done: 0,
        steps: scenarios::steps(&plan, &found.allocators)
            + service::steps(&plan, &found.allocators)
            + throughput::steps(&plan),
    };
    let mut done = scenarios::run(&plan, &found.allocators, &mut progress)?;
    done.extend(service::run(&plan, &found.allocators, &mut progress)?);
    done.extend(throughput::run(&plan, &found.allocators[0], &mut progress)?);

    for scenario in &done {
        print!("{}", table(scenario));
    }
    let path = plan.root.join("build/memory.html");
    let mut machine = machine::describe();
    machine.extend(found.describe());
    fs::write(&path, page::render(&machine, &done))?;
    println!("\n{}\npage: {}", machine.join("\n"), path.display());
    for scenario in done.iter().filter(|scenario| page::has_plot(scenario)) {
        let path = plan
            .root
            .join(format!("build/memory-{}.svg", scenario.name));
        fs::write(&path, page::picture(scenario))?;
        println!("picture: {}", path.display());
    }
    Ok(judge(&done))
}

/// Counts the limits of hakmem, the first run of each scenario.
fn judge(scenarios: &[Scenario]) -> ExitCode {
    let limited = |held: bool| {
        let figures = scenarios
            .iter()
            .flat_map(|scenario| &scenario.runs[0].figures);
        figures
            .filter(|figure| figure.holds() == Some(held))
            .count()
    };
    let (held, missed) = (limited(true), limited(false));
    println!("{held} limits held, {missed} missed");
    ExitCode::from(u8::from(missed > 0))
}

/// The figures of a scenario as text: a line for each figure, a column for each run.
fn table(scenario: &Scenario) -> String {
    let mut text = format!("\n{}\n{:34}", scenario.title, "");
    for run in &scenario.runs {
        text += &format!("{:>20}", run.name);
    }
    text += &format!("{:>12}\n", "at most");
    for name in scenario.figure_names() {
        let figures = scenario.runs.iter().map(|run| run.figure(&name));
        let first = figures.clone().flatten().next();
        text += &format!("  {:32}", first.map_or(name.clone(), Figure::label));
        for figure in figures {
            text += &format!(
                "{:>20}",
                figure.map_or("-".to_owned(), |figure| figure.value.to_string())
            );
        }
        let limited = scenario.runs[0].figure(&name);
        let limit = limited.and_then(|figure| figure.limit);
        let verdict = match limited.and_then(Figure::holds) {
            Some(false) => "  missed!",
            _ => "",
        };
        text += &format!(
            "{:>12}{verdict}\n",
            limit.map_or(String::new(), |limit| limit.to_string())
        );
    }
    text
}
