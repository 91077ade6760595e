// SPDX-License-Identifier: MIT OR Apache-2.0

//! What the samples say: tables and plots, which are rendered as a page, as Markdown and as text.

use std::collections::BTreeMap;

use hakmem_reports::allocators::{HAKMEM, SYSTEM};
use hakmem_reports::page::{document, escape};

use crate::plot;
use crate::samples::{Comparison, Part, Quantity, Row, is_peer};
use crate::statistics::geometric_mean;

/// hakmem is to need at most as much as the best peer; more than the limit needs an explanation.
const GOAL: f64 = 1.00;
const LIMIT: f64 = 1.05;

const MISSING: &str = "–";

/// A piece of the report.
pub(crate) enum Block {
    Title(String),
    Heading(String),
    Text(String),
    List(Vec<String>),
    Code(String),
    Table(Table),
    /// An SVG, left out of text.
    Plot(String),
}

/// The first column holds names, the others figures.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Entry>>,
}

pub(crate) struct Entry {
    text: String,
    mark: Mark,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    None,
    Good,
    Bad,
}

impl<T: Into<String>> From<T> for Entry {
    fn from(text: T) -> Self {
        Self {
            text: text.into(),
            mark: Mark::None,
        }
    }
}

/// A ratio of hakmem's, marked by what it is to be.
fn judged(ratio: Option<f64>) -> Entry {
    Entry {
        text: ratio_text(ratio),
        // As it is read, with two digits.
        mark: match ratio.map(rounded) {
            Some(ratio) if ratio <= GOAL => Mark::Good,
            Some(ratio) if ratio > LIMIT => Mark::Bad,
            _ => Mark::None,
        },
    }
}

fn rounded(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

fn ratio_text(ratio: Option<f64>) -> String {
    ratio.map_or(MISSING.to_owned(), |ratio| format!("{ratio:.2}"))
}

impl Quantity {
    fn title(self) -> &'static str {
        match self {
            Self::Time => "Time, relative to the best peer",
            Self::CpuTime => "CPU time, relative to the best peer",
            Self::PeakRss => "Peak RSS in MiB",
            Self::PageFaults => "Minor page faults",
            Self::HugePages => "Huge pages, in per cent of RSS at its peak",
            Self::SystemCalls => "System calls of a short run",
            Self::Instructions => "Instructions per operation, counted",
        }
    }

    /// Whether tables show each allocator relative to the best peer, or the value itself.
    fn is_relative(self) -> bool {
        matches!(self, Self::Time | Self::CpuTime)
    }

    /// Whether less is better.
    fn has_best(self) -> bool {
        self != Self::HugePages
    }

    fn format(self, value: f64) -> String {
        match self {
            Self::Time | Self::CpuTime => {
                let (factor, unit) = match value {
                    value if value < 1e-6 => (1e9, "ns"),
                    value if value < 1e-3 => (1e6, "µs"),
                    value if value < 1.0 => (1e3, "ms"),
                    _ => (1.0, "s"),
                };
                format!("{:.*} {unit}", digits(value * factor), value * factor)
            }
            Self::PeakRss => format!("{:.1}", value / 1024.0),
            Self::PageFaults | Self::SystemCalls | Self::HugePages => format!("{value:.0}"),
            Self::Instructions => format!("{value:.1}"),
        }
    }
}

/// Three digits in all.
fn digits(value: f64) -> usize {
    match value {
        value if value < 10.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    }
}

/// Explanations, by the rows' names: lines `row: cause`, comments after `#`.
pub(crate) fn read_causes(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(": "))
        .map(|(row, cause)| (row.trim().to_owned(), cause.trim().to_owned()))
        .collect()
}

// ---- The summary ----------------------------------------------------------------------------------

/// What to know first.
pub(crate) fn summary(comparison: &Comparison, causes: &BTreeMap<String, String>) -> Vec<Block> {
    let mut blocks = vec![
        Block::Title(format!(
            "Comparison of allocators, {}, {}",
            comparison.date, comparison.cpu
        )),
        Block::List(comparison.facts.clone()),
        Block::Code(comparison.command.clone()),
    ];
    if !comparison.is_full {
        blocks.push(Block::Text(
            "Not the full comparison: short runs or chosen rows. It shows that things work; the ratios \
             are not results."
                .to_owned(),
        ));
    }
    blocks.push(Block::Text(
        "All ratios: less is better for the first one named. The best peer of a row is the allocator \
         with the least, of all but hakmem and the system's. Values are medians of rounds; means are \
         geometric, and all rows weigh the same."
            .to_owned(),
    ));
    blocks.push(Block::Table(against_best(comparison)));
    for (quantity, what) in [(Quantity::Time, "time"), (Quantity::PeakRss, "peak RSS")] {
        if comparison.parts.iter().any(|part| part.has(quantity)) {
            blocks.push(Block::Table(against_each(comparison, quantity, what)));
        }
    }
    let counted = |part: &&Part| part.has(Quantity::Instructions);
    for part in comparison.parts.iter().filter(counted) {
        let mut table = figures(part, Quantity::Instructions);
        table.rows.retain(|row| row[1].text != MISSING);
        blocks.push(Block::Table(table));
    }
    let used = |part: &&Part| part.has(Quantity::HugePages);
    for part in comparison.parts.iter().filter(used) {
        blocks.push(Block::Table(memory_table(part)));
    }
    let slow = slow_rows(comparison, causes);
    if !slow.is_empty() {
        let heading = format!("Rows above {LIMIT:.2} of the best peer's time");
        blocks.push(Block::Heading(heading));
        blocks.push(Block::List(slow));
    }
    let failures = failures(comparison);
    if !failures.is_empty() {
        blocks.push(Block::Heading("Not measured".to_owned()));
        blocks.push(Block::List(failures));
    }
    blocks
}

/// Names and rows of each part, and of all.
fn groups(comparison: &Comparison) -> Vec<(&str, Vec<&Row>)> {
    let parts = comparison.parts.iter();
    let mut groups: Vec<(&str, Vec<&Row>)> = parts
        .map(|part| (part.name.as_str(), part.rows.iter().collect()))
        .collect();
    if groups.len() > 1 {
        let all = groups.iter().flat_map(|(_, rows)| rows.clone()).collect();
        groups.push(("all", all));
    }
    groups
}

fn against_best(comparison: &Comparison) -> Table {
    let rows = groups(comparison).into_iter().map(|(name, rows)| {
        let ratios = |quantity| -> Vec<f64> {
            let rows = rows.iter();
            rows.filter_map(|row| row.to_best_peer(HAKMEM, quantity))
                .collect()
        };
        let times = ratios(Quantity::Time);
        let count = |is: &dyn Fn(f64) -> bool| -> Entry {
            let rounded = times.iter().map(|ratio| rounded(*ratio));
            rounded
                .filter(|ratio| is(*ratio))
                .count()
                .to_string()
                .into()
        };
        vec![
            name.into(),
            times.len().to_string().into(),
            judged(geometric_mean(&times)),
            count(&|ratio| ratio <= GOAL),
            count(&|ratio| ratio > GOAL && ratio <= LIMIT),
            count(&|ratio| ratio > LIMIT),
            judged(geometric_mean(&ratios(Quantity::PeakRss))),
            judged(geometric_mean(&ratios(Quantity::Instructions))),
        ]
    });
    Table {
        title: "hakmem / best peer of each row".to_owned(),
        head: [
            "part",
            "rows",
            "time",
            "≤ 1.00",
            "1.01–1.05",
            "> 1.05",
            "peak RSS",
            "instructions/op",
        ]
        .map(str::to_owned)
        .into(),
        rows: rows.collect(),
    }
}

fn against_each(comparison: &Comparison, quantity: Quantity, what: &str) -> Table {
    let mut others: Vec<&str> = Vec::new();
    for name in comparison.parts.iter().flat_map(Part::allocators) {
        if (name == SYSTEM || is_peer(name)) && !others.contains(&name) {
            others.push(name);
        }
    }
    let rows = groups(comparison).into_iter().map(|(name, rows)| {
        let means = others.iter().map(|other| {
            let ratios = rows.iter().filter_map(|row| row.hakmem_to(other, quantity));
            judged(geometric_mean(&ratios.collect::<Vec<_>>()))
        });
        [name.into()].into_iter().chain(means).collect()
    });
    Table {
        title: format!("hakmem / each other allocator, {what}"),
        head: ["part"]
            .into_iter()
            .chain(others.iter().copied())
            .map(str::to_owned)
            .collect(),
        rows: rows.collect(),
    }
}

/// Memory of hakmem beside the fastest peer of each row, which often explains their times.
fn memory_table(part: &Part) -> Table {
    let quantities = [
        (Quantity::PeakRss, "peak RSS in MiB"),
        (Quantity::PageFaults, "minor faults"),
        (Quantity::HugePages, "huge pages in %"),
    ];
    let mut head = vec!["row".to_owned(), "fastest peer".to_owned()];
    for (_, name) in quantities {
        head.extend([format!("{name}: {HAKMEM}"), "of the peer".to_owned()]);
    }
    let rows = part.rows.iter().filter_map(|row| {
        let (peer, _) = row.best_peer(Quantity::Time)?;
        let mut entries = vec![row_name(row).into(), peer.into()];
        for (quantity, _) in quantities {
            entries.extend([HAKMEM, peer].map(|name| figure(row, name, quantity)));
        }
        Some(entries)
    });
    Table {
        title: format!("Memory of {HAKMEM} and the fastest peer: {}", part.name),
        head,
        rows: rows.collect(),
    }
}

/// The slowest first.
fn slow_rows(comparison: &Comparison, causes: &BTreeMap<String, String>) -> Vec<String> {
    let all = comparison.parts.iter().flat_map(|part| &part.rows);
    let mut slow: Vec<_> = all
        .filter_map(|row| Some((row, row.to_best_peer(HAKMEM, Quantity::Time)?)))
        .filter(|(_, ratio)| rounded(*ratio) > LIMIT)
        .collect();
    slow.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let lines = slow.into_iter().map(|(row, ratio)| {
        let best = row.best_peer(Quantity::Time);
        let best = best.map_or(MISSING, |(name, _)| name);
        let cause = causes
            .get(&row.name)
            .map_or("not explained", String::as_str);
        format!("{}: {ratio:.2} of {best}: {cause}", row_name(row))
    });
    lines.collect()
}

fn failures(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for row in comparison.parts.iter().flat_map(|part| &part.rows) {
        lines.extend(
            row.missing
                .iter()
                .map(|cause| format!("{}: {cause}", row.name)),
        );
        for cell in &row.cells {
            let failure = cell.failure.iter();
            lines.extend(
                failure.map(|cause| format!("{} on {}: {cause}", row.name, cell.allocator)),
            );
        }
    }
    lines
}

// ---- The details ----------------------------------------------------------------------------------

/// All figures, part by part.
pub(crate) fn details(comparison: &Comparison) -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in &comparison.parts {
        blocks.push(Block::Heading(part.title.clone()));
        blocks.push(Block::List(part.notes.clone()));
        for (quantity, title) in [(Quantity::Time, "time"), (Quantity::PeakRss, "peak RSS")] {
            if part.has(quantity) {
                blocks.push(Block::Plot(plot::dots(part, quantity, title)));
            }
        }
        for quantity in [
            Quantity::Time,
            Quantity::CpuTime,
            Quantity::PeakRss,
            Quantity::PageFaults,
            Quantity::HugePages,
            Quantity::SystemCalls,
            Quantity::Instructions,
        ] {
            if part.has(quantity) {
                blocks.push(Block::Table(figures(part, quantity)));
            }
        }
        blocks.push(Block::Text(
            "Each row by hand, on hakmem, in the project's folder:".to_owned(),
        ));
        blocks.push(Block::Code(commands(part)));
    }
    blocks
}

/// The name in tables. A row that was measured while other programs ran is marked.
fn row_name(row: &Row) -> String {
    match row.is_noisy() {
        true => format!("{} (noisy)", row.name),
        false => row.name.clone(),
    }
}

fn figures(part: &Part, quantity: Quantity) -> Table {
    let allocators = part.allocators();
    let others = allocators.iter().copied().filter(|name| *name != HAKMEM);
    let shown: Vec<_> = match quantity.is_relative() {
        true => others.collect(),
        false => [HAKMEM].into_iter().chain(others).collect(),
    };
    let mut head = vec!["row".to_owned()];
    head.extend(quantity.has_best().then(|| format!("{HAKMEM} / best")));
    head.extend(shown.iter().map(|name| (*name).to_owned()));
    head.extend(quantity.has_best().then(|| "best peer".to_owned()));
    let has_spread = quantity == Quantity::Time;
    if has_spread {
        head.extend([format!("spread of {HAKMEM}"), "of the best".to_owned()]);
    }
    let has_instructions = has_spread && part.has(Quantity::Instructions);
    if has_instructions {
        head.extend([
            format!("instructions/op of {HAKMEM}"),
            "of the best".to_owned(),
        ]);
    }
    let rows = part.rows.iter().map(|row| {
        let best = row.best_peer(quantity);
        let mut entries = vec![row_name(row).into()];
        if quantity.has_best() {
            entries.push(judged(row.to_best_peer(HAKMEM, quantity)));
        }
        entries.extend(shown.iter().map(|name| figure(row, name, quantity)));
        if quantity.has_best() {
            entries.push(best.map_or(MISSING.into(), |(name, value)| {
                format!("{name}, {}", quantity.format(value)).into()
            }));
        }
        if has_spread {
            entries.push(spread(row, HAKMEM).into());
            entries.push(best.map_or(MISSING.into(), |(name, _)| spread(row, name).into()));
        }
        if has_instructions {
            entries.push(figure(row, HAKMEM, Quantity::Instructions));
            entries.push(best.map_or(MISSING.into(), |(name, _)| {
                figure(row, name, Quantity::Instructions)
            }));
        }
        entries
    });
    Table {
        title: quantity.title().to_owned(),
        head,
        rows: rows.collect(),
    }
}

fn figure(row: &Row, allocator: &str, quantity: Quantity) -> Entry {
    if row.missing.is_some() {
        return "not installed".into();
    }
    if row
        .cell(allocator)
        .is_some_and(|cell| cell.failure.is_some())
    {
        return Entry {
            text: "failed".to_owned(),
            mark: Mark::Bad,
        };
    }
    if quantity.is_relative() {
        return ratio_text(row.to_best_peer(allocator, quantity)).into();
    }
    let value = row.median(allocator, quantity);
    value.map_or(MISSING.into(), |value| quantity.format(value).into())
}

/// The least and the most of the rounds, relative to the median.
fn spread(row: &Row, allocator: &str) -> String {
    let cell = row.cell(allocator);
    let range = cell.and_then(|cell| cell.range(Quantity::Time).zip(cell.median(Quantity::Time)));
    range.map_or(MISSING.to_owned(), |((least, most), median)| {
        format!(
            "{:+.0}..{:+.0} %",
            (least / median - 1.0) * 100.0,
            (most / median - 1.0) * 100.0
        )
    })
}

fn commands(part: &Part) -> String {
    let rows = part.rows.iter();
    let lines = rows.map(|row| format!("# {}\n{}", row.name, row.command));
    lines.collect::<Vec<_>>().join("\n")
}

// ---- Renderings -----------------------------------------------------------------------------------

pub(crate) fn to_page(blocks: &[Block]) -> String {
    let mut html = String::new();
    let mut title = "";
    for block in blocks {
        html += &match block {
            Block::Title(text) => {
                title = text;
                format!("<h1>{}</h1>\n", escape(text))
            }
            Block::Heading(text) => format!("<h2>{}</h2>\n", escape(text)),
            Block::Text(text) => format!("<p>{}</p>\n", escape(text)),
            Block::List(lines) => {
                let lines = lines
                    .iter()
                    .map(|line| format!("<li>{}</li>\n", escape(line)));
                format!("<ul>\n{}</ul>\n", lines.collect::<String>())
            }
            Block::Code(text) => format!("<pre>{}</pre>\n", escape(text)),
            Block::Table(table) => table.to_html(),
            Block::Plot(svg) => svg.clone(),
        };
    }
    document(title, &html)
}

pub(crate) fn to_markdown(blocks: &[Block]) -> String {
    let paragraphs = blocks.iter().filter_map(|block| {
        Some(match block {
            Block::Title(text) => format!("# {text}\n"),
            Block::Heading(text) => format!("## {text}\n"),
            Block::Text(text) => format!("{text}\n"),
            Block::List(lines) => lines.iter().map(|line| format!("- {line}\n")).collect(),
            Block::Code(text) => format!("```sh\n{text}\n```\n"),
            Block::Table(table) => table.to_markdown(),
            Block::Plot(_) => return None,
        })
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

/// For a terminal.
pub(crate) fn to_text(blocks: &[Block]) -> String {
    let mut text = String::new();
    for block in blocks {
        text += &match block {
            Block::Title(text) | Block::Heading(text) | Block::Text(text) => format!("\n{text}\n"),
            Block::List(lines) => lines.iter().map(|line| format!("  {line}\n")).collect(),
            Block::Code(text) => format!("  {text}\n"),
            Block::Table(table) => table.to_text(),
            Block::Plot(_) => String::new(),
        };
    }
    text
}

impl Table {
    fn to_html(&self) -> String {
        let mut html = format!("<h3>{}</h3>\n<table>\n<tr>", escape(&self.title));
        for name in &self.head {
            html += &format!("<th>{}</th>", escape(name));
        }
        html += "</tr>\n";
        for row in &self.rows {
            html += "<tr>";
            for entry in row {
                let class = match entry.mark {
                    Mark::None => "",
                    Mark::Good => " class=\"good\"",
                    Mark::Bad => " class=\"bad\"",
                };
                html += &format!("<td{class}>{}</td>", escape(&entry.text));
            }
            html += "</tr>\n";
        }
        html + "</table>\n"
    }

    fn to_markdown(&self) -> String {
        let line = |texts: Vec<String>| format!("| {} |\n", texts.join(" | ").replace('\n', " "));
        let mut text = format!("**{}**\n\n", self.title);
        text += &line(self.head.clone());
        text += &format!("|---|{}\n", "---:|".repeat(self.head.len() - 1));
        for row in &self.rows {
            let entries = row.iter().map(|entry| match entry.mark {
                Mark::Bad => format!("**{}**", entry.text),
                _ => entry.text.clone(),
            });
            text += &line(entries.collect());
        }
        text
    }

    fn to_text(&self) -> String {
        let head = self.head.iter().map(String::as_str).collect::<Vec<_>>();
        let rows = self.rows.iter();
        let rows = rows.map(|row| row.iter().map(|entry| entry.text.as_str()).collect());
        let lines: Vec<Vec<&str>> = [head].into_iter().chain(rows).collect();
        let columns = 0..self.head.len();
        let width = |i: usize| lines.iter().map(|line| line[i].chars().count()).max();
        let widths: Vec<_> = columns.map(|i| width(i).unwrap_or(0)).collect();
        let mut text = format!("\n{}\n", self.title);
        for line in &lines {
            let mut padded = format!("  {:w$}", line[0], w = widths[0]);
            for (entry, w) in line.iter().zip(&widths).skip(1) {
                padded += &format!("  {entry:>w$}");
            }
            text += padded.trim_end();
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{Cell, Sample};

    fn cell(allocator: &str, seconds: &[f64]) -> Cell {
        let sample = |seconds: &f64| Sample {
            seconds: *seconds,
            peak_rss_kb: Some(2048),
            minor_faults: Some(10),
            huge_share: Some(0.125),
            ..Sample::default()
        };
        Cell {
            samples: seconds.iter().map(sample).collect(),
            ..Cell::new(allocator)
        }
    }

    fn row(name: &str, cells: Vec<Cell>) -> Row {
        Row {
            name: name.to_owned(),
            command: format!("run '{name}'"),
            missing: None,
            cells,
        }
    }

    fn comparison() -> Comparison {
        let failed = Cell {
            failure: Some("signal: 11 & <nothing>".to_owned()),
            ..cell("jemalloc", &[0.1])
        };
        let fast = row(
            "fast",
            vec![
                cell("system", &[0.5]),
                cell("hakmem", &[1.0, 1.2, 0.9]),
                cell("mimalloc", &[2.0]),
                failed,
            ],
        );
        let slow = row(
            "slow",
            vec![cell("hakmem", &[3.0]), cell("mimalloc", &[1.5])],
        );
        let absent = Row {
            missing: Some("not installed: Debian package it".to_owned()),
            ..row("absent", Vec::new())
        };
        Comparison {
            date: "2026-01-02".to_owned(),
            cpu: "processor".to_owned(),
            is_full: true,
            command: "make compare".to_owned(),
            facts: vec!["commit: abc".to_owned()],
            parts: vec![Part {
                name: "programs".to_owned(),
                title: "Programs".to_owned(),
                notes: vec!["3 rounds".to_owned()],
                rows: vec![fast, slow, absent],
            }],
        }
    }

    #[test]
    fn best_peer_is_neither_hakmem_nor_the_system_nor_a_failure() {
        let comparison = comparison();
        let fast = &comparison.parts[0].rows[0];
        assert_eq!(fast.best_peer(Quantity::Time), Some(("mimalloc", 2.0)));
        assert_eq!(fast.to_best_peer(HAKMEM, Quantity::Time), Some(0.5));
        assert_eq!(fast.hakmem_to("system", Quantity::Time), Some(2.0));
        assert_eq!(fast.hakmem_to("jemalloc", Quantity::Time), None);
    }

    /// The words of the first line that begins so.
    fn words_of<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
        let line = text
            .lines()
            .find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_default().split_whitespace().collect()
    }

    #[test]
    fn summary_has_means_counts_slow_rows_and_failures() {
        let causes = read_causes("# comment\nslow: because it is\n");
        let text = to_text(&summary(&comparison(), &causes));
        assert_eq!(
            words_of(&text, "programs"),
            ["programs", "2", "1.00", "1", "0", "1", "1.00", "–"]
        );
        assert!(
            text.contains("slow: 2.00 of mimalloc: because it is"),
            "{text}"
        );
        assert!(text.contains("fast on jemalloc: signal: 11"), "{text}");
        assert!(text.contains("absent: not installed"), "{text}");
        let unexplained = to_text(&summary(&comparison(), &BTreeMap::new()));
        assert!(unexplained.contains("not explained"));
    }

    #[test]
    fn counted_instructions_are_in_the_summary_and_beside_the_time() {
        let mut comparison = comparison();
        let uncounted = to_markdown(&details(&comparison));
        assert!(!uncounted.contains("instructions/op"), "{uncounted}");
        let counts = [("system", 180.0), ("hakmem", 70.06), ("mimalloc", 80.0)];
        for cell in &mut comparison.parts[0].rows[0].cells {
            let count = counts.iter().find(|(name, _)| *name == cell.allocator);
            cell.instructions = count.map(|(_, count)| *count);
        }
        let text = to_text(&summary(&comparison, &BTreeMap::new()));
        let table = text.split_once("Instructions per operation, counted");
        let (_, table) = table.expect("the summary has the table");
        assert_eq!(
            words_of(table, "fast"),
            [
                "fast",
                "0.88",
                "70.1",
                "180.0",
                "80.0",
                "failed",
                "mimalloc,",
                "80.0"
            ]
        );
        let table = table.split("\n\n").next().unwrap_or_default();
        assert!(
            !table.contains("slow") && !table.contains("absent"),
            "{table}"
        );
        let details = to_markdown(&details(&comparison));
        assert!(details.contains("instructions/op of hakmem | of the best |"));
        assert!(details.contains("| 70.1 | 80.0 |"), "{details}");
    }

    #[test]
    fn memory_of_hakmem_is_beside_that_of_the_fastest_peer() {
        let text = to_text(&summary(&comparison(), &BTreeMap::new()));
        let table = text.split_once("Memory of hakmem and the fastest peer: programs");
        let (_, table) = table.expect("the summary has the table");
        let expected = ["slow", "mimalloc", "2.0", "2.0", "10", "10", "12", "12"];
        assert_eq!(words_of(table, "slow"), expected);
    }

    #[test]
    fn disturbed_rows_are_marked() {
        let mut comparison = comparison();
        comparison.parts[0].rows[1].cells[0].samples[0].is_disturbed = true;
        let text = to_text(&summary(&comparison, &BTreeMap::new()));
        assert!(text.contains("slow (noisy): 2.00 of mimalloc"), "{text}");
        let text = to_markdown(&details(&comparison));
        assert!(
            text.contains("| slow (noisy) |") && text.contains("| fast |"),
            "{text}"
        );
    }

    #[test]
    fn huge_pages_have_no_best_peer() {
        let text = to_markdown(&details(&comparison()));
        let table = text.split_once("Huge pages, in per cent of RSS at its peak**\n\n");
        let (_, table) = table.expect("the details have the table");
        assert!(
            table.starts_with("| row | hakmem | system | mimalloc | jemalloc |\n"),
            "{table}"
        );
        assert!(
            table.contains("| fast | 12 | 12 | 12 | **failed** |"),
            "{table}"
        );
    }

    /// Whether each element is closed by its own end.
    fn is_well_formed(html: &str) -> bool {
        let mut open = Vec::new();
        for tag in html.split('<').skip(1) {
            let Some((tag, _)) = tag.split_once('>') else {
                return false;
            };
            let name = tag.split_whitespace().next().unwrap_or_default();
            match name.strip_prefix('/') {
                Some(end) if open.pop() == Some(end) => {}
                Some(_) => return false,
                None if tag.ends_with('/') || ["!DOCTYPE", "meta"].contains(&name) => {}
                None => open.push(name),
            }
        }
        open.is_empty()
    }

    #[test]
    fn page_is_well_formed_and_refers_to_nothing_else() {
        let comparison = comparison();
        let mut blocks = summary(&comparison, &BTreeMap::new());
        blocks.extend(details(&comparison));
        let page = to_page(&blocks);
        assert!(is_well_formed(&page), "{page}");
        assert!(page.contains("<svg") && page.contains("signal: 11 &amp; &lt;nothing&gt;"));
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="));
        assert!(page.contains("<td class=\"good\">0.50</td>"));
        assert!(page.contains("<td class=\"bad\">2.00</td>"));
        assert!(page.contains("-10..+20 %"), "{page}");
    }

    #[test]
    fn markdown_tables_have_as_many_columns_in_each_row() {
        let comparison = comparison();
        let text = to_markdown(&details(&comparison));
        let tables = text.split("\n\n").filter(|piece| piece.starts_with('|'));
        for table in tables {
            let columns = table.lines().map(|line| line.matches('|').count());
            let columns: Vec<_> = columns.collect();
            assert!(columns.iter().all(|count| *count == columns[0]), "{table}");
        }
        assert!(text.contains("| slow | **2.00** |"), "{text}");
    }
}
