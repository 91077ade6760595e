// SPDX-License-Identifier: MIT OR Apache-2.0

//! The report of a comparison: a headline and a chart, tables against the peers, and all figures.

use std::collections::BTreeMap;

use super::samples::{Comparison, Part, Quantity, Row, is_peer};
use crate::allocators::{HAKMEM, SYSTEM};
use crate::chart::{Dot, dots};
use crate::document::{Block, Entry, MISSING, Table, column};
use crate::statistics::geometric_mean;

/// hakmem is to need at most as much as the best peer. A ratio above the limit needs an
/// explanation.
const GOAL: f64 = 1.00;
const LIMIT: f64 = 1.05;

/// The quantities that have charts and means.
const CHARTED: [(Quantity, &str); 2] = [(Quantity::Time, "time"), (Quantity::PeakRss, "peak RSS")];

/// A ratio of hakmem, marked if it reaches the goal or misses the limit.
fn judged(ratio: Option<f64>) -> Entry {
    let is_good = match ratio.map(rounded) {
        Some(ratio) if ratio <= GOAL => Some(true),
        Some(ratio) if ratio > LIMIT => Some(false),
        _ => None,
    };
    Entry { text: ratio_text(ratio), is_good }
}

/// A ratio with two digits, as readers see it.
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

    fn format(self, value: f64) -> String {
        let time = |factor, unit| {
            let value = value * factor;
            let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
            format!("{value:.digits$} {unit}")
        };
        match self {
            Self::Time | Self::CpuTime if value < 1e-6 => time(1e9, "ns"),
            Self::Time | Self::CpuTime if value < 1e-3 => time(1e6, "µs"),
            Self::Time | Self::CpuTime if value < 1.0 => time(1e3, "ms"),
            Self::Time | Self::CpuTime => time(1.0, "s"),
            Self::PeakRss => format!("{:.1}", value / 1024.0),
            Self::PageFaults | Self::SystemCalls | Self::HugePages => format!("{value:.0}"),
            Self::Instructions => format!("{value:.1}"),
        }
    }
}

/// Reads explanations by the names of rows: lines `row: cause`, and comments after `#`.
pub(crate) fn read_causes(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once(": "));
    pairs.map(|(row, cause)| (row.trim().to_owned(), cause.trim().to_owned())).collect()
}

// ---- The summary --------------------------------------------------------------------------------

const NOTE: &str = "All ratios: less is better for the first one named. The best peer of a row is \
                    the allocator with the least, of all but hakmem and the system's. Values are \
                    medians of rounds; means are geometric, and all rows weigh the same.";
const PARTIAL: &str = "Not the full comparison: short runs or chosen rows. It shows that things \
                       work; the ratios are not results.";

/// The beginning of the report.
pub(crate) fn summary(comparison: &Comparison, causes: &BTreeMap<String, String>) -> Vec<Block> {
    let title = format!("Comparison of allocators, {}, {}", comparison.date, comparison.cpu);
    let mut blocks = vec![Block::Title(title), Block::Text(headline(comparison))];
    blocks.extend((!comparison.is_full).then(|| Block::Text(PARTIAL.to_owned())));
    blocks.extend([
        Block::Figure(overview(comparison)),
        Block::Text(NOTE.to_owned()),
        Block::List(comparison.facts.clone()),
        Block::Code(comparison.command.clone()),
        Block::Table(against_best(comparison)),
    ]);
    let parts = |quantity| comparison.parts.iter().filter(move |part| part.has(quantity));
    for (quantity, name) in CHARTED {
        if parts(quantity).next().is_some() {
            blocks.push(Block::Table(against_each(comparison, quantity, name)));
        }
    }
    for part in parts(Quantity::Instructions) {
        let mut table = figures(part, Quantity::Instructions);
        table.rows.retain(|row| row[1].text != MISSING);
        blocks.push(Block::Table(table));
    }
    blocks.extend(parts(Quantity::HugePages).map(|part| Block::Table(memory_table(part))));
    let slow = slow_rows(comparison, causes);
    if !slow.is_empty() {
        let heading = format!("Rows above {LIMIT:.2} of the best peer's time");
        blocks.push(Block::Folded(heading, vec![Block::List(slow)]));
    }
    let failures = failures(comparison);
    if !failures.is_empty() {
        blocks.push(Block::Heading("Not measured".to_owned()));
        blocks.push(Block::List(failures));
    }
    blocks
}

fn headline(comparison: &Comparison) -> String {
    let times = to_best(comparison.rows(), Quantity::Time);
    let Some(time) = geometric_mean(times.iter().copied()) else {
        return format!("No row was measured on both {HAKMEM} and a peer.");
    };
    let memory = geometric_mean(to_best(comparison.rows(), Quantity::PeakRss));
    let memory = memory.map_or(String::new(), |ratio| format!(" and {ratio:.2} of its peak RSS"));
    let reached = times.iter().filter(|ratio| rounded(**ratio) <= GOAL).count();
    let missed = times.iter().filter(|ratio| rounded(**ratio) > LIMIT).count();
    format!(
        "{HAKMEM} needs {time:.2} of the time of the best peer{memory}, the geometric mean of {}. \
         {} at or below {GOAL:.2}, and {} above {LIMIT:.2}.",
        count(times.len(), "row", "rows"),
        count(reached, "row is", "rows are"),
        count(missed, "is", "are")
    )
}

/// A number and its words in the singular or in the plural.
fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// The chart of all parts: the means of all allocators, relative to the best peer of each row.
fn overview(comparison: &Comparison) -> maud::Markup {
    let mut allocators = comparison.allocators();
    allocators.retain(|name| [HAKMEM, SYSTEM].contains(name) || is_peer(name));
    let mut rows = Vec::new();
    for part in &comparison.parts {
        for (quantity, name) in CHARTED {
            let means = allocators.iter().filter_map(|allocator| {
                let ratios = part.rows.iter().map(|row| row.to_best_peer(allocator, quantity));
                let ratio = geometric_mean(ratios.flatten())?;
                Some(Dot { allocator, ratio, range: None })
            });
            rows.push((format!("{}: {name}", part.name), means.collect::<Vec<_>>()));
        }
    }
    rows.retain(|(_, dots)| !dots.is_empty());
    let title = "Means of each part, relative to the best peer of each row; less is better";
    dots(title, &allocators, &rows)
}

/// hakmem's ratios to the best peers.
fn to_best<'a>(rows: impl IntoIterator<Item = &'a Row>, quantity: Quantity) -> Vec<f64> {
    rows.into_iter().filter_map(|row| row.to_best_peer(HAKMEM, quantity)).collect()
}

/// The name and the rows of a part, or of all.
type Group<'a> = (&'a str, Vec<&'a Row>);

fn groups(comparison: &Comparison) -> Vec<Group<'_>> {
    let parts = comparison.parts.iter();
    let mut groups: Vec<Group<'_>> =
        parts.map(|part| (part.name.as_str(), part.rows.iter().collect())).collect();
    if groups.len() > 1 {
        groups.push(("all", comparison.rows().collect()));
    }
    groups
}

fn against_best(comparison: &Comparison) -> Table {
    let ratios = |group: &Group<'_>, quantity| to_best(group.1.iter().copied(), quantity);
    let count = |head, is: fn(f64) -> bool| {
        column(head, move |group: &Group<'_>| {
            let times = ratios(group, Quantity::Time).into_iter();
            times.filter(|ratio| is(rounded(*ratio))).count().to_string()
        })
    };
    let mean = |head, quantity| {
        column(head, move |group: &Group<'_>| judged(geometric_mean(ratios(group, quantity))))
    };
    let columns = [
        column("part", |(name, _): &Group<'_>| *name),
        count("rows", |_| true),
        mean("time", Quantity::Time),
        count("≤ 1.00", |ratio| ratio <= GOAL),
        count("1.01–1.05", |ratio| ratio > GOAL && ratio <= LIMIT),
        count("> 1.05", |ratio| ratio > LIMIT),
        mean("peak RSS", Quantity::PeakRss),
        mean("instructions/op", Quantity::Instructions),
    ];
    Table::of("hakmem / best peer of each row", &groups(comparison), &columns)
}

fn against_each(comparison: &Comparison, quantity: Quantity, name: &str) -> Table {
    let others = comparison.allocators().into_iter();
    let mut columns = vec![column("part", |(name, _): &Group<'_>| *name)];
    columns.extend(others.filter(|name| *name == SYSTEM || is_peer(name)).map(|other| {
        column(other, move |(_, rows): &Group<'_>| {
            let ratios = rows.iter().filter_map(|row| row.hakmem_to(other, quantity));
            judged(geometric_mean(ratios))
        })
    }));
    let title = format!("hakmem / each other allocator, {name}");
    Table::of(title, &groups(comparison), &columns)
}

/// The slowest rows first.
fn slow_rows(comparison: &Comparison, causes: &BTreeMap<String, String>) -> Vec<String> {
    let ratios =
        comparison.rows().filter_map(|row| Some((row, row.to_best_peer(HAKMEM, Quantity::Time)?)));
    let mut slow: Vec<_> = ratios.filter(|(_, ratio)| rounded(*ratio) > LIMIT).collect();
    slow.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    let lines = slow.into_iter().map(|(row, ratio)| {
        let best = row.best_peer(Quantity::Time).map_or(MISSING, |(name, _)| name);
        let cause = causes.get(&row.name).map_or("not explained", String::as_str);
        format!("{}: {ratio:.2} of {best}: {cause}", row_name(row))
    });
    lines.collect()
}

fn failures(comparison: &Comparison) -> Vec<String> {
    let mut lines = Vec::new();
    for row in comparison.rows() {
        lines.extend(row.missing.iter().map(|cause| format!("{}: {cause}", row.name)));
        for cell in &row.cells {
            let failure = cell.failure.iter();
            let name = |cause| format!("{} on {}: {cause}", row.name, cell.allocator);
            lines.extend(failure.map(name));
        }
    }
    lines
}

// ---- The details --------------------------------------------------------------------------------

/// All figures, part by part.
pub(crate) fn details(comparison: &Comparison) -> Vec<Block> {
    let mut blocks = Vec::new();
    for part in &comparison.parts {
        blocks.push(Block::Heading(part.title.clone()));
        blocks.push(Block::List(part.notes.clone()));
        for (quantity, title) in CHARTED {
            blocks.extend(part.has(quantity).then(|| plot(part, quantity, title)));
        }
        let quantities = Quantity::ALL.into_iter().filter(|quantity| part.has(*quantity));
        blocks.extend(quantities.map(|quantity| Block::Table(figures(part, quantity))));
        let commands = part.rows.iter().map(|row| format!("# {}\n{}", row.name, row.command));
        let commands = Block::Code(commands.collect::<Vec<_>>().join("\n"));
        let title = "Each row by hand, on hakmem, in the project's folder";
        blocks.push(Block::Folded(title.to_owned(), vec![commands]));
    }
    blocks
}

/// A dot for each allocator in each row. The line through a dot is the spread of the rounds.
fn plot(part: &Part, quantity: Quantity, title: &str) -> Block {
    let allocators = part.allocators();
    let row_dots = |row: &Row| -> Option<(String, Vec<Dot<'_>>)> {
        let (_, best) = row.best_peer(quantity)?;
        let dots = allocators.iter().filter_map(|allocator| {
            let ratio = row.to_best_peer(allocator, quantity)?;
            let (least, most) = row.cell(allocator)?.range(quantity)?;
            Some(Dot { allocator, ratio, range: Some((least / best, most / best)) })
        });
        Some((row.name.clone(), dots.collect()))
    };
    let rows: Vec<_> = part.rows.iter().filter_map(row_dots).collect();
    let title = format!("{}: {title}, relative to the best peer", part.name);
    Block::Figure(dots(&title, &allocators, &rows))
}

/// The name in tables. A row that was measured while other programs ran is marked.
fn row_name(row: &Row) -> String {
    if row.is_noisy() { format!("{} (noisy)", row.name) } else { row.name.clone() }
}

fn figures(part: &Part, quantity: Quantity) -> Table {
    let allocators = part.allocators();
    // More or fewer huge pages are not better in themselves.
    let has_best = quantity != Quantity::HugePages;
    let mut columns = vec![column("row", row_name)];
    if has_best {
        let ratio = move |row: &Row| judged(row.to_best_peer(HAKMEM, quantity));
        columns.push(column(format!("{HAKMEM} / best"), ratio));
    }
    if !quantity.is_relative() {
        columns.push(column(HAKMEM, move |row| figure(row, HAKMEM, quantity)));
    }
    for name in allocators.into_iter().filter(|name| *name != HAKMEM) {
        columns.push(column(name, move |row| figure(row, name, quantity)));
    }
    if has_best {
        let text = move |name: &str, value| format!("{name}, {}", quantity.format(value)).into();
        columns.push(column("best peer", move |row| of_best(row, quantity, text)));
    }
    if quantity == Quantity::Time {
        columns.push(column(format!("spread of {HAKMEM}"), |row| spread(row, HAKMEM)));
        let spread_of_best = |row: &Row| of_best(row, quantity, |name, _| spread(row, name));
        columns.push(column("of the best", spread_of_best));
    }
    if quantity == Quantity::Time && part.has(Quantity::Instructions) {
        let count = |row: &Row, name: &str| figure(row, name, Quantity::Instructions);
        columns.push(column(format!("instructions/op of {HAKMEM}"), move |row| count(row, HAKMEM)));
        let of_best = move |row: &Row| of_best(row, quantity, |name, _| count(row, name));
        columns.push(column("of the best", of_best));
    }
    Table::of(quantity.title(), &part.rows, &columns)
}

/// Memory of hakmem beside the fastest peer of each row, which often explains their times.
fn memory_table(part: &Part) -> Table {
    let fastest = |row: &Row| row.best_peer(Quantity::Time).map(|(name, _)| name.to_owned());
    let name = |row: &Row| fastest(row).unwrap_or_default();
    let mut columns = vec![column("row", row_name), column("fastest peer", name)];
    for (quantity, head) in [
        (Quantity::PeakRss, "peak RSS in MiB"),
        (Quantity::PageFaults, "minor faults"),
        (Quantity::HugePages, "huge pages in %"),
    ] {
        let own = move |row: &Row| figure(row, HAKMEM, quantity);
        columns.push(column(format!("{head}: {HAKMEM}"), own));
        let of_peer = move |row: &Row| figure(row, &name(row), quantity);
        columns.push(column("of the peer", of_peer));
    }
    let rows = part.rows.iter().filter(|row| fastest(row).is_some());
    Table::of(format!("Memory of {HAKMEM} and the fastest peer: {}", part.name), rows, &columns)
}

/// An entry that depends on the best peer and its value.
fn of_best(row: &Row, quantity: Quantity, entry: impl Fn(&str, f64) -> Entry) -> Entry {
    row.best_peer(quantity).map_or(MISSING.into(), |(name, value)| entry(name, value))
}

fn figure(row: &Row, allocator: &str, quantity: Quantity) -> Entry {
    if row.missing.is_some() {
        return "not installed".into();
    }
    if row.cell(allocator).is_some_and(|cell| cell.failure.is_some()) {
        return Entry { text: "failed".to_owned(), is_good: Some(false) };
    }
    if quantity.is_relative() {
        return ratio_text(row.to_best_peer(allocator, quantity)).into();
    }
    let value = row.median(allocator, quantity);
    value.map_or(MISSING.into(), |value| quantity.format(value).into())
}

/// The least and the most of the rounds, relative to the median.
fn spread(row: &Row, allocator: &str) -> Entry {
    let cell = row.cell(allocator);
    let range = cell.and_then(|cell| cell.range(Quantity::Time).zip(cell.median(Quantity::Time)));
    let Some(((least, most), median)) = range else { return MISSING.into() };
    let percent = |value: f64| (value / median - 1.0) * 100.0;
    format!("{:+.0}..{:+.0} %", percent(least), percent(most)).into()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{Cell, Sample};
    use super::*;
    use crate::document::{to_markdown, to_page, to_text};

    fn cell(allocator: &str, seconds: &[f64]) -> Cell {
        let sample = |seconds: &f64| Sample {
            seconds: *seconds,
            peak_rss_kb: Some(2048),
            minor_faults: Some(10),
            huge_share: Some(0.125),
            ..Sample::default()
        };
        Cell { samples: seconds.iter().map(sample).collect(), ..Cell::new(allocator) }
    }

    fn row(name: &str, cells: Vec<Cell>) -> Row {
        Row { name: name.to_owned(), command: format!("run '{name}'"), missing: None, cells }
    }

    fn comparison() -> Comparison {
        let failure = Some("signal: 11 & <nothing>".to_owned());
        let failed = Cell { failure, ..cell("jemalloc", &[0.1]) };
        let hakmem = cell("hakmem", &[1.0, 1.2, 0.9]);
        let fast = vec![cell("system", &[0.5]), hakmem, cell("mimalloc", &[2.0]), failed];
        let slow = vec![cell("hakmem", &[3.0]), cell("mimalloc", &[1.5])];
        let missing = Some("not installed: Debian package it".to_owned());
        let absent = Row { missing, ..row("absent", Vec::new()) };
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
                rows: vec![row("fast", fast), row("slow", slow), absent],
            }],
        }
    }

    fn texts(comparison: &Comparison) -> [String; 2] {
        let causes = read_causes("# comment\nslow: because it is\n");
        [to_text(&summary(comparison, &causes)), to_markdown(&details(comparison))]
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

    /// The words of the first line that begins so after some text.
    fn words_of<'a>(text: &'a str, after: &str, start: &str) -> Vec<&'a str> {
        let (_, text) = text.split_once(after).unwrap_or_default();
        let line = text.lines().find(|line| line.trim_start().starts_with(start));
        line.unwrap_or_default().split_whitespace().collect()
    }

    #[test]
    fn summary_has_a_headline_means_slow_rows_memory_and_failures() {
        let [text, _] = texts(&comparison());
        assert!(text.contains("needs 1.00 of the time of the best peer and 1.00 of its"), "{text}");
        assert!(
            text.contains("of 2 rows. 1 row is at or below 1.00, and 1 is above 1.05"),
            "{text}"
        );
        let means = ["programs", "2", "1.00", "1", "0", "1", "1.00", "–"];
        assert_eq!(words_of(&text, "best peer of each row\n", "programs"), means);
        let memory = ["slow", "mimalloc", "2.0", "2.0", "10", "10", "12", "12"];
        assert_eq!(words_of(&text, "fastest peer: programs", "slow"), memory);
        for line in [
            "slow: 2.00 of mimalloc: because it is",
            "fast on jemalloc: signal: 11",
            "absent: not installed",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let unexplained = to_text(&summary(&comparison(), &BTreeMap::new()));
        assert!(unexplained.contains("not explained"));
    }

    #[test]
    fn counted_instructions_are_in_the_summary_and_beside_the_time() {
        let mut comparison = comparison();
        assert!(!texts(&comparison)[1].contains("instructions/op"));
        let counts = [("system", 180.0), ("hakmem", 70.06), ("mimalloc", 80.0)];
        for cell in &mut comparison.parts[0].rows[0].cells {
            let count = counts.iter().find(|(name, _)| *name == cell.allocator);
            cell.instructions = count.map(|(_, count)| *count);
        }
        let [text, details] = texts(&comparison);
        let table = "Instructions per operation, counted";
        let fast = ["fast", "0.88", "70.1", "180.0", "80.0", "failed", "mimalloc,", "80.0"];
        assert_eq!(words_of(&text, table, "fast"), fast);
        assert!(details.contains("instructions/op of hakmem | of the best |"));
        assert!(details.contains("| 70.1 | 80.0 |"), "{details}");
    }

    #[test]
    fn disturbed_rows_are_marked() {
        let mut comparison = comparison();
        comparison.parts[0].rows[1].cells[0].samples[0].is_disturbed = true;
        let [text, details] = texts(&comparison);
        assert!(text.contains("slow (noisy): 2.00 of mimalloc"), "{text}");
        assert!(details.contains("| slow (noisy) |") && details.contains("| fast |"), "{details}");
    }

    #[test]
    fn huge_pages_have_no_best_peer() {
        let [_, details] = texts(&comparison());
        let table = details.split_once("Huge pages, in per cent of RSS at its peak**\n\n");
        let (_, table) = table.expect("the details have the table");
        assert!(table.starts_with("| row | hakmem | system | mimalloc | jemalloc |\n"), "{table}");
        assert!(table.contains("| fast | 12 | 12 | 12 | **failed** |"), "{table}");
    }

    #[test]
    fn page_begins_with_headline_and_chart_and_folds_causes() {
        let comparison = comparison();
        let mut blocks = summary(&comparison, &BTreeMap::new());
        blocks.extend(details(&comparison));
        let page = to_page(&blocks);
        let (_, body) = page.split_once("</h1>").expect("there is a title");
        let [chart, table] = ["<figure>", "<table>"].map(|tag| body.find(tag));
        assert!(body.trim_start().starts_with("<p>hakmem needs") && chart < table, "{body}");
        assert!(body.contains("<details><summary>Rows above 1.05"), "{body}");
        assert!(page.contains("<td class=\"good\">0.50</td>"), "{page}");
        assert!(page.contains("-10..+20 %"), "{page}");
    }

    #[test]
    fn markdown_tables_have_as_many_columns_in_each_row() {
        let [_, text] = texts(&comparison());
        for table in text.split("\n\n").filter(|piece| piece.starts_with('|')) {
            let columns: Vec<_> = table.lines().map(|line| line.matches('|').count()).collect();
            assert!(columns.iter().all(|count| *count == columns[0]), "{table}");
        }
        assert!(text.contains("| slow | **2.00** |"), "{text}");
    }
}
