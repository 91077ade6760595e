// SPDX-License-Identifier: MIT OR Apache-2.0

//! The blocks of a report. They are rendered as a page, as Markdown and as text.

use comfy_table::{CellAlignment, presets};
use maud::{DOCTYPE, Markup, PreEscaped, Render, html};

/// Stands for a value that does not exist.
pub(crate) const MISSING: &str = "–";

/// A part of a report.
pub(crate) enum Block {
    /// The title of the whole report.
    Title(String),
    /// The title of a section.
    Heading(String),
    /// A paragraph.
    Text(String),
    /// A list of lines.
    List(Vec<String>),
    /// Commands for a shell.
    Code(String),
    /// A table of figures.
    Table(Table),
    /// A chart. Only pages show it.
    Figure(Markup),
    /// A section that a page shows closed at first.
    Folded(String, Vec<Block>),
}

/// A table. The first column holds names, and the others hold figures. The title may be empty.
pub(crate) struct Table {
    pub(crate) title: String,
    pub(crate) head: Vec<String>,
    pub(crate) rows: Vec<Vec<Entry>>,
}

/// An entry of a table.
#[derive(Clone, Default, Debug)]
pub(crate) struct Entry {
    pub(crate) text: String,
    /// Whether the value is as good as promised, if something is promised.
    pub(crate) is_good: Option<bool>,
}

impl<T: Into<String>> From<T> for Entry {
    fn from(text: T) -> Self {
        Self { text: text.into(), is_good: None }
    }
}

/// The head of a column, and its entry for each item of which a table has a row.
pub(crate) type Column<'a, T> = (String, Box<dyn Fn(&T) -> Entry + 'a>);

pub(crate) fn column<'a, T, E: Into<Entry>>(
    head: impl Into<String>,
    entry: impl Fn(&T) -> E + 'a,
) -> Column<'a, T> {
    (head.into(), Box::new(move |item| entry(item).into()))
}

/// Renders a page, one HTML file that refers to no others.
pub(crate) fn to_page(blocks: &[Block]) -> String {
    let title = blocks.iter().find_map(|block| match block {
        Block::Title(title) => Some(title.as_str()),
        _ => None,
    });
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title.unwrap_or_default()) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body { @for block in blocks { (block) "\n" } }
        }
    };
    page.into_string()
}

impl Render for Block {
    fn render(&self) -> Markup {
        match self {
            Self::Title(text) => html! { h1 { (text) } },
            Self::Heading(text) => html! { h2 { (text) } },
            Self::Text(text) => html! { p { (text) } },
            Self::List(lines) => html! { ul { @for line in lines { li { (line) } "\n" } } },
            Self::Code(text) => html! { pre { (text) } },
            Self::Table(table) => table.render(),
            Self::Figure(figure) => figure.clone(),
            Self::Folded(title, blocks) => {
                html! { details { summary { (title) } @for block in blocks { (block) } } }
            }
        }
    }
}

/// Renders Markdown.
pub(crate) fn to_markdown(blocks: &[Block]) -> String {
    let paragraphs = blocks.iter().filter_map(|block| {
        Some(match block {
            Block::Title(text) => format!("# {text}\n"),
            Block::Heading(text) => format!("## {text}\n"),
            Block::Text(text) => format!("{text}\n"),
            Block::List(lines) => lines.iter().map(|line| format!("- {line}\n")).collect(),
            Block::Code(text) => format!("```sh\n{text}\n```\n"),
            Block::Table(table) => table.to_markdown(),
            Block::Figure(_) => return None,
            Block::Folded(title, blocks) => format!("## {title}\n\n{}", to_markdown(blocks)),
        })
    });
    paragraphs.collect::<Vec<_>>().join("\n")
}

/// Renders text for a terminal.
pub(crate) fn to_text(blocks: &[Block]) -> String {
    let texts = blocks.iter().map(|block| match block {
        Block::Title(text) | Block::Heading(text) | Block::Text(text) => format!("\n{text}\n"),
        Block::List(lines) => lines.iter().map(|line| format!("  {line}\n")).collect(),
        Block::Code(text) => format!("  {text}\n"),
        Block::Table(table) => table.to_text(),
        Block::Figure(_) => String::new(),
        Block::Folded(title, blocks) => format!("\n{title}\n{}", to_text(blocks)),
    });
    texts.collect()
}

impl Table {
    /// A table with a row for each item.
    pub(crate) fn of<'t, T: 't>(
        title: impl Into<String>,
        items: impl IntoIterator<Item = &'t T>,
        columns: &[Column<'_, T>],
    ) -> Self {
        let row = |item: &T| columns.iter().map(|(_, entry)| entry(item)).collect();
        Self {
            title: title.into(),
            head: columns.iter().map(|(head, _)| head.clone()).collect(),
            rows: items.into_iter().map(row).collect(),
        }
    }

    fn render(&self) -> Markup {
        let class = |entry: &Entry| entry.is_good.map(|good| if good { "good" } else { "bad" });
        html! {
            @if !self.title.is_empty() { h3 { (self.title) } }
            table {
                tr { @for name in &self.head { th { (name) } } }
                @for row in &self.rows {
                    "\n" tr { @for entry in row { td class=[class(entry)] { (entry.text) } } }
                }
            }
        }
    }

    fn to_markdown(&self) -> String {
        let line = |texts: Vec<String>| format!("| {} |\n", texts.join(" | ").replace('\n', " "));
        let rows = self.rows.iter().map(|row| {
            let entries = row.iter().map(|entry| match entry.is_good {
                Some(false) => format!("**{}**", entry.text),
                _ => entry.text.clone(),
            });
            line(entries.collect())
        });
        format!(
            "**{}**\n\n{}|---|{}\n{}",
            self.title,
            line(self.head.clone()),
            "---:|".repeat(self.head.len() - 1),
            rows.collect::<String>()
        )
    }

    fn to_text(&self) -> String {
        let mut text = comfy_table::Table::new();
        text.load_preset(presets::NOTHING).set_header(&self.head);
        for row in &self.rows {
            text.add_row(row.iter().map(|entry| &entry.text));
        }
        for (i, column) in text.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            let side = if i == 0 { CellAlignment::Left } else { CellAlignment::Right };
            column.set_cell_alignment(side);
        }
        let title = if self.title.is_empty() { "" } else { &format!("\n{}\n\n", self.title) };
        format!("{title}{}\n", text.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks() -> Vec<Block> {
        let bad = Entry { text: "2.00".to_owned(), is_good: Some(false) };
        let table = Table {
            title: "Ratios".to_owned(),
            head: ["row", "ratio"].map(str::to_owned).into(),
            rows: vec![vec!["a & <b>".into(), bad], vec!["c".into(), "10".into()]],
        };
        vec![
            Block::Title("Report".to_owned()),
            Block::Folded("Causes".to_owned(), vec![Block::List(vec!["none".to_owned()])]),
            Block::Table(table),
        ]
    }

    #[test]
    fn page_escapes_text_marks_figures_and_refers_to_nothing_else() {
        let page = to_page(&blocks());
        assert!(page.contains("<title>Report</title>"), "{page}");
        assert!(page.contains("<td>a &amp; &lt;b&gt;</td><td class=\"bad\">2.00</td>"), "{page}");
        assert!(page.contains("<details><summary>Causes</summary><ul><li>none</li>"), "{page}");
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("src="));
    }

    #[test]
    fn markdown_and_text_have_the_same_content() {
        let markdown = to_markdown(&blocks());
        assert!(markdown.starts_with("# Report\n\n## Causes\n\n- none\n\n**Ratios**\n\n"));
        assert!(
            markdown.ends_with("| row | ratio |\n|---|---:|\n| a & <b> | **2.00** |\n| c | 10 |\n")
        );
        let text = to_text(&blocks());
        assert!(text.ends_with("\na & <b>   2.00\nc           10\n"), "{text:?}");
    }
}
