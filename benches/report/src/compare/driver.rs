// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures the rows of a part, interleaved: in each round each row on each allocator, and another
//! allocator goes first.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::quiet::{Quiet, Watch, is_disturbed};
use super::samples::{Part, Row, Sample};
use crate::Result;
use crate::progress::Progress;

/// A sample, and the answer of the program if it has one. The answer is the same on all allocators.
pub(crate) type Measured = (Sample, Option<String>);

/// A part of the comparison.
pub(crate) trait Source {
    /// The part before it is measured. Its rows have an empty cell for each allocator.
    fn part(&self) -> Part;
    fn measure(&self, row: &str, allocator: &str) -> Result<Measured>;
    /// The system calls of a short run, where they can be counted.
    fn count_calls(&self, _: &str, _: &str) -> Result<Option<BTreeMap<String, u64>>> {
        Ok(None)
    }
    /// The instructions of an operation, where they can be counted.
    fn count_instructions(&self, _: &str, _: &str) -> Result<Option<f64>> {
        Ok(None)
    }
}

/// The time for a part.
#[derive(Clone, Copy)]
pub(crate) struct Budget {
    pub(crate) time: Duration,
    /// Rounds even when they take longer than that, and rounds even when there is time for more.
    pub(crate) least_rounds: usize,
    pub(crate) most_rounds: usize,
    /// The time for waiting for a quiet machine and for repeating disturbed runs, in all.
    pub(crate) patience: Duration,
    /// Runs on one allocator in a round, if others disturb all of them.
    pub(crate) most_tries: usize,
    /// Warms the machine's memory. The argument is the row's peak in KiB, once it is known.
    pub(crate) warm: fn(Option<u64>),
}

impl Budget {
    /// The number of rounds after so many of them.
    fn rounds(&self, done: usize, elapsed: Duration, longest: Duration) -> usize {
        let left =
            self.time.saturating_sub(elapsed).as_secs_f64() / longest.as_secs_f64().max(1e-9);
        (done + left as usize).clamp(self.least_rounds, self.most_rounds)
    }
}

/// Measures the rows that are wanted, by the names of the part and of the row. Returns nothing if
/// there are none.
pub(crate) fn run(
    source: &dyn Source,
    wants: &dyn Fn(&str, &str) -> bool,
    budget: &Budget,
) -> Option<Part> {
    let mut part = source.part();
    let Part { name, rows, notes, .. } = &mut part;
    rows.retain(|row| wants(name, &row.name));
    if rows.is_empty() {
        return None;
    }
    let start = Instant::now();
    let progress = Progress::new(rows.len() * (budget.least_rounds + 1));
    let mut quiet = Quiet::new(budget.patience);
    let mut answers = BTreeMap::new();
    let (mut done, mut rounds, mut longest) = (0, budget.least_rounds, Duration::ZERO);
    while done < rounds {
        let round_start = Instant::now();
        for row in rows.iter_mut() {
            progress.step(&format!("{name}, round {}: {}", done + 1, row.name));
            (budget.warm)(row.peak_rss_kb());
            let mut measure = |name: &str, allocator: &str| {
                measure_quietly(source, &mut quiet, budget.most_tries, name, allocator)
            };
            measure_row(&mut measure, row, done, &mut answers);
        }
        done += 1;
        longest = longest.max(round_start.elapsed());
        rounds = budget.rounds(done, start.elapsed(), longest);
        progress.expect(rows.len() * (rounds + 1));
    }
    notes.push(format!("{rounds} rounds; {}", quiet.describe()));
    for row in rows {
        progress.step(&format!("{name}, system calls and instructions: {}", row.name));
        notes.extend(count_row(source, row));
    }
    Some(part)
}

/// Waits for a quiet machine and measures. If others disturb the run, it is repeated, and the least
/// disturbed run counts.
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
        measured.0.is_disturbed = is_disturbed;
        if best.as_ref().is_none_or(|(least, _)| others < *least) {
            best = Some((others, measured));
        }
        if !is_disturbed || left == 0 || !quiet.repeats(took) {
            break;
        }
    }
    let (_, measured) = best.ok_or("no try")?;
    if measured.0.is_disturbed {
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
        let measured = measure(&row.name, &cell.allocator).and_then(|(sample, answer)| {
            check_answer(answers, &row.name, answer)?;
            Ok(sample)
        });
        match measured {
            Ok(sample) => cell.samples.push(sample),
            Err(error) => cell.failure = Some(error.to_string()),
        }
    }
}

/// Counts the quantities that do not need several rounds. Returns the failures.
fn count_row(source: &dyn Source, row: &mut Row) -> Vec<String> {
    let mut failed = Vec::new();
    for cell in row.cells.iter_mut().filter(|cell| cell.failure.is_none()) {
        let (name, allocator) = (&row.name, &cell.allocator);
        let mut fail = |counted: &str, error: &dyn std::fmt::Display| {
            failed.push(format!("{counted} of {name} on {allocator} are not counted: {error}"));
        };
        match source.count_calls(name, allocator) {
            Ok(calls) => cell.calls = calls,
            Err(error) => fail("system calls", &error),
        }
        match source.count_instructions(name, allocator) {
            Ok(instructions) => cell.instructions = instructions,
            Err(error) => fail("instructions", &error),
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
    let first = answers.entry(row.to_owned()).or_insert_with(|| answer.clone());
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
    #[derive(Default)]
    struct Fake {
        runs: RefCell<Vec<String>>,
    }

    impl Source for Fake {
        fn part(&self) -> Part {
            let row = |name| Row::new(name, "true".to_owned(), ["a", "b"]);
            let missing = Some("not there".to_owned());
            let three = Row { missing, ..Row::new("three", "true".to_owned(), [""; 0]) };
            let rows = vec![row("one"), row("two"), row("unwanted"), three];
            Part::new("part", "fake", Vec::new(), rows)
        }

        fn measure(&self, row: &str, allocator: &str) -> Result<Measured> {
            self.runs.borrow_mut().push(format!("{row} {allocator}"));
            let answer = if (row, allocator) == ("two", "b") { "other" } else { "same" };
            Ok((Sample { seconds: 1.0, ..Sample::default() }, Some(answer.to_owned())))
        }

        fn count_instructions(&self, _: &str, allocator: &str) -> Result<Option<f64>> {
            if allocator == "a" { Ok(Some(70.0)) } else { Err("cannot count".into()) }
        }
    }

    const BUDGET: Budget = Budget {
        time: Duration::ZERO,
        least_rounds: 2,
        most_rounds: 3,
        patience: Duration::ZERO,
        most_tries: 1,
        warm: |_| {},
    };

    #[test]
    fn rounds_are_interleaved_and_failures_stay_in_their_cell() {
        let fake = Fake::default();
        let part = run(&fake, &|_, row| row != "unwanted", &BUDGET).expect("there are rows");
        let expected = ["one a", "one b", "two a", "two b", "one b", "one a", "two a"];
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

    #[test]
    fn rounds_fill_the_time_within_their_limits() {
        let second = Duration::from_secs(1);
        let budget = Budget { time: 10 * second, most_rounds: 8, ..BUDGET };
        assert_eq!(budget.rounds(1, 2 * second, 2 * second), 5);
        assert_eq!(budget.rounds(1, 20 * second, 20 * second), 2);
        assert_eq!(budget.rounds(1, second, second), 8);
    }
}
