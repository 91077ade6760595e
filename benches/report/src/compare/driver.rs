// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the rows of a part, interleaved: in each round each row on each allocator, and another
//! allocator goes first.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use hakmem_reports::Result;

use crate::quiet::{Quiet, Watch, is_disturbed};
use crate::samples::{Cell, Part, Row, Sample, rank};

/// What one part can measure.
pub(crate) trait Source {
    fn title(&self) -> &str;
    /// What to tell about the part beside its figures.
    fn notes(&self) -> Vec<String>;
    fn rows(&self) -> Vec<Planned>;
    fn measure(&self, row: &str, allocator: &str) -> Result<Measured>;
    /// The system calls of a short run; nothing where they cannot be told.
    fn count_calls(&self, row: &str, allocator: &str) -> Result<Option<BTreeMap<String, u64>>>;
    /// The instructions of an operation; nothing where they cannot be told.
    fn count_instructions(&self, _row: &str, _allocator: &str) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// A row that can be measured.
pub(crate) struct Planned {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) allocators: Vec<String>,
    /// Why it cannot be measured after all.
    pub(crate) missing: Option<String>,
}

/// A run on one allocator.
pub(crate) struct Measured {
    pub(crate) sample: Sample,
    /// What the program has found out. It is the same on all allocators.
    pub(crate) answer: Option<String>,
}

/// How long to measure a part.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) time: Duration,
    /// Rounds even when they take longer than that, and rounds even when there is time for more.
    pub(crate) least_rounds: usize,
    pub(crate) most_rounds: usize,
    /// How long to wait for a quiet machine, and to repeat disturbed runs, all in all.
    pub(crate) patience: Duration,
    /// Runs on one allocator in a round, if others disturb all of them.
    pub(crate) most_tries: usize,
    /// Warms the machine's memory. The argument is the row's peak in KiB, once it is known.
    pub(crate) warm: fn(Option<u64>),
}

/// Tells on standard error what runs, and how long the rest may take.
pub(crate) struct Progress {
    /// Of the parts after this one.
    later: Duration,
    part: String,
    start: Instant,
    budget: Duration,
    steps: usize,
    done: usize,
}

impl Progress {
    /// A part's progress: `steps` runs are sure, and more if there is time.
    fn new(part: &str, budget: &Budget, steps: usize, later: Duration) -> Self {
        Self {
            later,
            part: part.to_owned(),
            start: Instant::now(),
            budget: budget.time,
            steps,
            done: 0,
        }
    }

    fn tell(&self, what: &str) {
        let elapsed = self.start.elapsed();
        let sure = match self.done {
            0 => Duration::ZERO,
            done => elapsed.mul_f64(self.steps.saturating_sub(done) as f64 / done as f64),
        };
        let left = self.budget.saturating_sub(elapsed).max(sure) + self.later;
        let line = format!(
            "{} {what}; about {} min left",
            self.part,
            left.as_secs().div_ceil(60)
        );
        let mut stderr = std::io::stderr().lock();
        // Where progress cannot be told, the work goes on.
        let _ = match stderr.is_terminal() {
            true => write!(stderr, "\r\x1b[K{line}"),
            false => writeln!(stderr, "{line}"),
        };
    }

    fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Measures the rows that `wants` chooses; nothing if there are none.
pub(crate) fn run(
    name: &str,
    source: &dyn Source,
    wants: &dyn Fn(&str) -> bool,
    budget: &Budget,
    later: Duration,
) -> Option<Part> {
    let mut plans = source.rows();
    plans.retain(|plan| wants(&plan.name));
    let mut rows: Vec<Row> = plans.into_iter().map(new_row).collect();
    if rows.is_empty() {
        return None;
    }
    let cells: usize = rows.iter().map(|row| row.cells.len()).sum();
    let mut progress = Progress::new(name, budget, cells * budget.least_rounds, later);
    let mut quiet = Quiet::new(budget.patience);
    let mut answers = BTreeMap::new();
    let mut rounds = 0;
    let mut longest_round = Duration::ZERO;
    while rounds < budget.most_rounds {
        let start = Instant::now();
        for row in &mut rows {
            progress.tell(&format!("round {}: {}", rounds + 1, row.name));
            (budget.warm)(row.peak_rss_kb());
            let mut measure = |name: &str, allocator: &str| {
                measure_quietly(source, &mut quiet, budget.most_tries, name, allocator)
            };
            measure_row(&mut measure, row, rounds, &mut answers);
            progress.done += row.cells.len();
        }
        rounds += 1;
        longest_round = longest_round.max(start.elapsed());
        let has_time = progress.start.elapsed() + longest_round <= budget.time;
        if rounds >= budget.least_rounds && !has_time {
            break;
        }
    }
    let mut notes = source.notes();
    notes.push(format!("{rounds} rounds; {}", quiet.describe()));
    for row in &mut rows {
        progress.tell(&format!("system calls, instructions: {}", row.name));
        notes.extend(count_row(source, row));
    }
    progress.end();
    Some(Part {
        name: name.to_owned(),
        title: source.title().to_owned(),
        notes,
        rows,
    })
}

fn new_row(plan: Planned) -> Row {
    let mut allocators = match plan.missing {
        Some(_) => Vec::new(),
        None => plan.allocators,
    };
    allocators.sort_by_key(|name| rank(name));
    Row {
        name: plan.name,
        command: plan.command,
        missing: plan.missing,
        cells: allocators.iter().map(|name| Cell::new(name)).collect(),
    }
}

/// Waits for a quiet machine and measures. If others disturb the run, it is repeated, and the least disturbed
/// run counts.
fn measure_quietly(
    source: &dyn Source,
    quiet: &mut Quiet,
    most_tries: usize,
    row: &str,
    allocator: &str,
) -> Result<Measured> {
    let mut best: Option<(f64, Measured)> = None;
    for left in (0..most_tries).rev() {
        quiet.wait();
        let watch = Watch::start();
        let mut measured = source.measure(row, allocator)?;
        let (others, took) = (watch.others(), watch.elapsed());
        let is_disturbed = is_disturbed(others, took);
        measured.sample.is_disturbed = is_disturbed;
        if best.as_ref().is_none_or(|(least, _)| others < *least) {
            best = Some((others, measured));
        }
        if !is_disturbed || left == 0 || !quiet.repeats(took) {
            break;
        }
    }
    let (_, measured) = best.ok_or("no try")?;
    if measured.sample.is_disturbed {
        quiet.give_up();
    }
    Ok(measured)
}

/// One round of a row. An allocator on which it fails is left out of the next rounds.
fn measure_row(
    measure: &mut dyn FnMut(&str, &str) -> Result<Measured>,
    row: &mut Row,
    round: usize,
    answers: &mut BTreeMap<String, String>,
) {
    let count = row.cells.len();
    for i in 0..count {
        let cell = &mut row.cells[(round + i) % count];
        if cell.failure.is_some() {
            continue;
        }
        let measured = measure(&row.name, &cell.allocator).and_then(|measured| {
            check_answer(answers, &row.name, measured.answer)?;
            Ok(measured.sample)
        });
        match measured {
            Ok(sample) => cell.samples.push(sample),
            Err(error) => cell.failure = Some(error.to_string()),
        }
    }
}

/// Counts what does not need several rounds. Returns what could not be counted.
fn count_row(source: &dyn Source, row: &mut Row) -> Vec<String> {
    let mut failed = Vec::new();
    for cell in row.cells.iter_mut().filter(|cell| cell.failure.is_none()) {
        let mut note = |what: &str, error: &dyn std::fmt::Display| {
            failed.push(format!(
                "{what} of {} on {} are not counted: {error}",
                row.name, cell.allocator
            ));
        };
        match source.count_calls(&row.name, &cell.allocator) {
            Ok(calls) => cell.calls = calls,
            Err(error) => note("system calls", &error),
        }
        match source.count_instructions(&row.name, &cell.allocator) {
            Ok(instructions) => cell.instructions = instructions,
            Err(error) => note("instructions", &error),
        }
    }
    failed
}

/// The same work has the same answer. The first one counts.
fn check_answer(
    answers: &mut BTreeMap<String, String>,
    row: &str,
    answer: Option<String>,
) -> Result<()> {
    let Some(answer) = answer else { return Ok(()) };
    let first = answers
        .entry(row.to_owned())
        .or_insert_with(|| answer.clone());
    if *first == answer {
        return Ok(());
    }
    Err(format!("answers {:?}, not {:?}", answer.trim(), first.trim()).into())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// Two allocators, on one of which a row fails.
    struct Fake {
        runs: RefCell<Vec<String>>,
    }

    impl Source for Fake {
        fn title(&self) -> &str {
            "fake"
        }

        fn notes(&self) -> Vec<String> {
            Vec::new()
        }

        fn rows(&self) -> Vec<Planned> {
            let row = |name: &str, missing: Option<&str>| Planned {
                name: name.to_owned(),
                command: "true".to_owned(),
                allocators: vec!["a".to_owned(), "b".to_owned()],
                missing: missing.map(str::to_owned),
            };
            let rows = ["one", "two", "unwanted"].map(|name| row(name, None));
            rows.into_iter()
                .chain([row("three", Some("not there"))])
                .collect()
        }

        fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
            self.runs.borrow_mut().push(format!("{row} {allocator}"));
            let answer = match (row, allocator) {
                ("two", "b") => "other",
                _ => "same",
            };
            Ok(Measured {
                sample: Sample {
                    seconds: 1.0,
                    ..Sample::default()
                },
                answer: Some(answer.to_owned()),
            })
        }

        fn count_calls(&self, _: &str, _: &str) -> Result<Option<BTreeMap<String, u64>>> {
            Ok(None)
        }

        fn count_instructions(&self, _: &str, allocator: &str) -> Result<Option<f64>> {
            match allocator {
                "a" => Ok(Some(70.0)),
                _ => Err("cannot count".into()),
            }
        }
    }

    #[test]
    fn rounds_are_interleaved_and_failures_stay_in_their_cell() {
        let fake = Fake {
            runs: RefCell::default(),
        };
        let budget = Budget {
            time: Duration::ZERO,
            least_rounds: 2,
            most_rounds: 3,
            patience: Duration::ZERO,
            most_tries: 1,
            warm: |_| {},
        };
        let wants = |row: &str| row != "unwanted";
        let part = run("part", &fake, &wants, &budget, Duration::ZERO).expect("there are rows");
        let expected = [
            "one a", "one b", "two a", "two b", "one b", "one a", "two a",
        ];
        assert_eq!(fake.runs.into_inner(), expected);
        assert_eq!(part.rows.len(), 3);
        assert_eq!(part.rows[0].cells[1].samples.len(), 2);
        assert_eq!(part.rows[0].cells[0].instructions, Some(70.0));
        assert_eq!(part.rows[0].cells[1].instructions, None);
        let note = "instructions of one on b are not counted: cannot count".to_owned();
        assert!(part.notes.contains(&note), "{:?}", part.notes);
        let failure = part.rows[1].cells[1].failure.as_deref();
        assert_eq!(failure, Some("answers \"other\", not \"same\""));
        assert_eq!(part.rows[2].missing.as_deref(), Some("not there"));
        assert!(part.rows[2].cells.is_empty());
    }
}
