// SPDX-License-Identifier: MIT OR Apache-2.0

//! Measures how throughput, memory and page faults change with the number of threads, and how often
//! hakmem's threads meet. For hakmem also: a process under a CPU quota, and the times of slow
//! calls.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::allocators::{self, Allocator, HAKMEM};
use crate::compare::warm;
use crate::document::{Block, Table, column, to_text};
use crate::process::{self, command, number_after};
use crate::progress::Progress;
use crate::statistics::median;
use crate::{Result, is_quick, root};

/// The name of a row, its command, the sum of N over all threads, and its numbers of threads if it
/// has its own. T stands for threads, G for the generations of threads that follow one another, N
/// for iterations, tasks or turns of one thread.
type Row = (&'static str, &'static str, usize, &'static [usize]);

const ROWS: [Row; 6] = [
    ("small", "bench_small_mt T N 1000 42", 12_000_000, &[]),
    ("pool", "bench_pool_tls T N 64 42", 3_000_000, &[]),
    ("larson", "bench_larson T G N 1000 42", 6_000_000, &[]),
    ("exchange", "bench_exchange T N 1000 42", 6_000_000, &[]),
    ("churn", "bench_churn T N 200 42", 20_000, &[]),
    ("blocking", "bench_blocking_pool T 10 N 42", 20_000, &[500]),
];
/// Before a run with so many threads, memory is touched: they use much of it.
const WARM_THREADS: usize = 64;
/// Threads of larson that start in all.
const LIVES_OF_LARSON: usize = 1280;

/// Processes of hakmem that run on two CPUs at a time. The first numbers are those of CPUs that
/// hakmem counts and that there are.
const QUOTAS: [Row; 3] = [
    ("2 CPUs", "bench_quota 2 2 T N 1000 42", 12_000_000, &[8]),
    ("2 of 64 CPUs by a quota", "bench_quota 2 64 T N 1000 42", 12_000_000, &[8]),
    ("64 CPUs, no quota", "bench_quota 64 64 T N 1000 42", 12_000_000, &[8]),
];

/// Numbers of threads for the timing of slow calls, and iterations of all threads together.
const SLOW_CALL_THREADS: [usize; 3] = [1, 2, 64];
const SLOW_CALL_OPERATIONS: usize = 12_000_000;
const SLOW_CALLS: &str = "hakmem, slow calls of the row small, in ns, one run; after the bar: \
                          without the calls that\nwere switched out, then the causes of the \
                          slowest calls, one in 1000";
const SLOW_CALL_CAUSES: &str =
    "out: the thread lost its CPU; slept: for a lock; fault: page faults, memory from mmap";

/// A quantity of the result lines, its unit in tables, and digits.
type Quantity = (&'static str, f64, usize);

/// Tables of all allocators. Only some programs report the last two quantities.
const TABLES: [(&str, Quantity); 5] = [
    ("M ops/s", ("ops/s", 1e6, 1)),
    ("peak RSS, MiB", ("peak-rss-kb", 1024.0, 0)),
    ("page faults, thousands", ("minor-faults", 1e3, 1)),
    ("RSS while all threads sleep, MiB", ("asleep-rss-kb", 1024.0, 0)),
    ("the same after malloc_trim, MiB; -: the allocator has none", ("trimmed-rss-kb", 1024.0, 0)),
];

const QUOTA_TITLE: &str = "hakmem, 8 threads that exchange blocks, on two CPUs at a time; peak RSS \
                           and bytes in transfer caches in MiB";
const QUOTA_TABLE: [(&str, Quantity); 3] = [
    ("M ops/s", ("ops/s", 1e6, 1)),
    ("peak RSS", ("peak-rss-kb", 1024.0, 1)),
    ("transfer", ("transfer-kb", 1024.0, 1)),
];

const COUNTS_TITLE: &str =
    "hakmem, counts per million operations; class to other: locks found taken";
/// Columns of the table of counts, and the words of hakmem's report, as in `stats.def`.
const COUNTS: [(&str, &str); 9] = [
    ("refills", "Batches of blocks that entered a thread cache"),
    ("takes", "Refills served by a transfer cache"),
    ("flushes", "Batches of blocks that left a thread cache"),
    ("puts", "Batches put into a transfer cache"),
    ("class", "Attempts that found the lock of a class of a heap taken"),
    ("arena", "Attempts that found the lock of the memory of a heap taken"),
    ("meta", "Attempts that found the lock of hakmem's own structures taken"),
    ("other", "Attempts that found any other lock taken"),
    ("sleeps", "Sleeps of threads that waited for a lock"),
];

/// A row with a number of threads, and the values of all rounds by allocator and quantity.
struct Line {
    row: Row,
    threads: usize,
    values: BTreeMap<(String, &'static str), Vec<f64>>,
}

/// Measures on the allocators of these names, or on all.
pub(crate) fn run(names: &[String]) -> Result<ExitCode> {
    let found = allocators::find(&root())?;
    let known: Vec<_> = found.allocators.iter().map(|one| one.name.as_str()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(format!("'{unknown}' is none of {}", known.join(" ")).into());
    }
    for missing in found.missing.iter().filter(|_| names.is_empty()) {
        eprintln!("left out, not installed: {missing}");
    }
    let mut allocators = found.allocators;
    allocators.retain(|one| names.is_empty() || names.contains(&one.name));
    print!("{}", to_text(&measure(&allocators)?));
    Ok(ExitCode::SUCCESS)
}

fn measure(allocators: &[Allocator]) -> Result<Vec<Block>> {
    let folder = root().join("build/bench");
    let (rounds, divisor) = if is_quick() { (1, 20) } else { (5, 1) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let has_hakmem = allocators.iter().any(Allocator::is_hakmem);
    let mut lines = lines_of(&ROWS, cores);
    let mut quotas = if has_hakmem { lines_of(&QUOTAS, cores) } else { Vec::new() };
    if let Err(error) = process::run(bench("bench_quota 2 2 1 1 1 42"), &folder) {
        // Threads cannot be bound to two CPUs.
        quotas.clear();
        eprintln!("quota is left out: {error}");
    }
    let progress = Progress::new(rounds * (lines.len() + quotas.len()) + usize::from(has_hakmem));
    let mut order: Vec<_> = allocators.iter().collect();
    for _ in 0..rounds {
        for line in &mut lines {
            progress.step(&format!("{} on {} threads", line.row.0, line.threads));
            order.iter().try_for_each(|one| line.run(Some(one), divisor, &folder))?;
        }
        order.rotate_left(1); // none always runs first
        for line in &mut quotas {
            progress.step(line.row.0);
            line.run(None, divisor, &folder)?;
        }
    }
    let mut blocks = Vec::new();
    for (title, quantity) in TABLES {
        let columns = allocators.iter().map(|one| (one.name.as_str(), one.name.as_str(), quantity));
        blocks.push(Block::Table(table(title, &lines, &columns.collect::<Vec<_>>())));
    }
    if has_hakmem {
        let counts = COUNTS.map(|(name, _)| (name, HAKMEM, (name, 1.0, 1)));
        blocks.push(Block::Table(table(COUNTS_TITLE, &lines, &counts)));
        if !quotas.is_empty() {
            let columns = QUOTA_TABLE.map(|(head, quantity)| (head, HAKMEM, quantity));
            blocks.push(Block::Table(table(QUOTA_TITLE, &quotas, &columns)));
        }
        progress.step("slow calls");
        blocks.push(Block::Text(slow_calls(divisor, &folder)?));
    }
    blocks.push(Block::Text(format!("Medians of {rounds} rounds on {cores} cores.")));
    Ok(blocks)
}

fn bench(text: &str) -> Command {
    command(&format!("build/bench/{text}"))
}

/// Each row with each number of threads.
fn lines_of(rows: &[Row], cores: usize) -> Vec<Line> {
    let mut counts = vec![1, 2, 2 * cores, 8, 64, 256];
    counts.sort_unstable();
    counts.dedup();
    let lines = rows.iter().flat_map(|row| {
        let threads = if row.3.is_empty() { counts.as_slice() } else { row.3 };
        threads.iter().map(move |threads| Line {
            row: *row,
            threads: *threads,
            values: BTreeMap::new(),
        })
    });
    lines.collect()
}

impl Line {
    /// Runs once, and adds the quantities of the result line and hakmem's statistics. Without an
    /// allocator, the program contains hakmem.
    fn run(&mut self, allocator: Option<&Allocator>, divisor: usize, folder: &Path) -> Result<()> {
        let (row, text, operations, _) = self.row;
        let threads = self.threads;
        let lives = if row == "larson" { LIVES_OF_LARSON / divisor } else { threads };
        let generations = lives.div_ceil(threads);
        let each = (operations / divisor / threads / generations).max(1);
        let words = text.split(' ').map(|word| match word {
            "T" => threads.to_string(),
            "G" => generations.to_string(),
            "N" => each.to_string(),
            word => word.to_owned(),
        });
        let mut command = bench(&words.collect::<Vec<_>>().join(" "));
        if let Some(allocator) = allocator {
            allocator.preload_into(&mut command);
            command.env("HAKMEM_STATS", "1");
        }
        if threads >= WARM_THREADS {
            warm(None);
        }
        let output = process::run(command, folder)?.output;
        let name = allocator.map_or(HAKMEM, |one| &one.name);
        let mut add = |quantity, value| {
            self.values.entry((name.to_owned(), quantity)).or_default().push(value);
        };
        for (_, (quantity, ..)) in TABLES.iter().chain(&QUOTA_TABLE[2..]) {
            number_after(&output, quantity).into_iter().for_each(|value| add(*quantity, value));
        }
        if allocator.is_some_and(Allocator::is_hakmem) {
            let ops = number_after(&output, "ops").ok_or("the program reports no operations")?;
            let statistics = fs::read_to_string(folder.join("program.err"))?;
            for (column, words) in COUNTS {
                let count = count(&statistics, words);
                let count = count.ok_or_else(|| format!("no '{words}' in the statistics"))?;
                add(column, count * 1e6 / ops);
            }
        }
        Ok(())
    }
}

/// The number in the line `N words` of statistics.
fn count(statistics: &str, words: &str) -> Option<f64> {
    let mut lines = statistics.lines().filter_map(|line| line.trim().split_once(' '));
    lines.find(|(_, text)| text.trim() == words)?.0.parse().ok()
}

/// The lines that have one of the quantities. A column has a head, an allocator and a quantity.
fn table(title: &str, lines: &[Line], columns: &[(&str, &str, Quantity)]) -> Table {
    let values = |line: &Line, allocator: &str, quantity| {
        let values = line.values.get(&(allocator.to_owned(), quantity));
        values.and_then(|values| median(values.iter().copied()))
    };
    let has = |line: &&Line| {
        columns.iter().any(|(_, name, (quantity, ..))| values(line, name, quantity).is_some())
    };
    let mut all = vec![
        column("row", |line: &Line| line.row.0),
        column("threads", |line: &Line| line.threads.to_string()),
    ];
    for (head, name, (quantity, unit, digits)) in columns {
        all.push(column(*head, move |line: &Line| {
            let value = values(line, name, quantity);
            value.map_or("-".to_owned(), |value| format!("{:.digits$}", value / unit))
        }));
    }
    Table::of(title, lines.iter().filter(has), &all)
}

fn slow_calls(divisor: usize, folder: &Path) -> Result<String> {
    let mut text = format!("{SLOW_CALLS}\n");
    for threads in SLOW_CALL_THREADS {
        let each = SLOW_CALL_OPERATIONS / divisor / threads;
        let output = process::run(bench(&format!("bench_slow_calls {threads} {each}")), folder)?;
        // One head for all.
        let skipped = usize::from(threads != SLOW_CALL_THREADS[0]);
        output.output.lines().skip(skipped).for_each(|line| text += &format!("\n{line}"));
    }
    Ok(format!("{text}\n\n{SLOW_CALL_CAUSES}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_threads_are_there_once() {
        let threads = |cores| {
            let lines = lines_of(&ROWS, cores);
            let small = lines.iter().filter(|line| line.row.0 == "small");
            small.map(|line| line.threads).collect::<Vec<_>>()
        };
        assert_eq!(threads(1), [1, 2, 8, 64, 256]);
        assert_eq!(threads(3), [1, 2, 6, 8, 64, 256]);
    }

    #[test]
    fn the_words_of_counts_are_those_of_the_core() {
        let table = include_str!("../../../c/src/core/stats.def");
        let is_missing = |words: &&str| !table.contains(&format!("\"{words}\")"));
        let missing: Vec<_> = COUNTS.iter().map(|(_, words)| *words).filter(is_missing).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    #[test]
    fn counts_are_found_by_their_words() {
        let statistics = "hakmem:\n   12  Other locks found taken\n  7   Sleeps for a lock\n";
        assert_eq!(count(statistics, "Sleeps for a lock"), Some(7.0));
        assert_eq!(count(statistics, "locks found taken"), None);
    }
}
