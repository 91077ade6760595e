// SPDX-License-Identifier: MIT OR Apache-2.0

//! Charts: dots of HTML, which fit a page of any width, and lines, which are also pictures of their
//! own.

use maud::{Markup, PreEscaped, html};

use crate::allocators::HAKMEM;

/// Okabe and Ito's colours, which colour-blind readers can tell apart, and two dark ones.
const COLOURS: [(&str, &str); 9] = [
    (HAKMEM, "#d55e00"),
    ("system", "#000000"),
    ("jemalloc", "#0072b2"),
    ("tcmalloc", "#009e73"),
    ("mimalloc", "#cc79a7"),
    ("mimalloc2", "#882255"),
    ("snmalloc", "#e69f00"),
    ("rpmalloc", "#56b4e9"),
    (LIVE, "#999999"),
];
/// The colour of all other names.
const OTHER_COLOUR: &str = "#b3a100";
/// The name of the line of live bytes.
pub(crate) const LIVE: &str = "live bytes";

fn colour(name: &str) -> &'static str {
    let known = COLOURS.iter().find(|(other, _)| *other == name);
    known.map_or(OTHER_COLOUR, |(_, colour)| colour)
}

// ---- Dots ---------------------------------------------------------------------------------------

/// A value of an allocator relative to that of the best peer.
pub(crate) struct Dot<'a> {
    pub(crate) allocator: &'a str,
    pub(crate) ratio: f64,
    /// The least and the most of all rounds.
    pub(crate) range: Option<(f64, f64)>,
}

const TICKS: [f64; 9] = [0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0];

/// A logarithmic axis of ratios. Dots beyond its ends are drawn at the ends.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// The axis from tick to tick that has room for all ratios and for 1.
    fn over(ratios: &[f64]) -> Self {
        let least = ratios.iter().copied().fold(0.9, f64::min);
        let most = ratios.iter().copied().fold(1.1, f64::max);
        let below = TICKS.iter().rev().find(|tick| **tick <= least);
        let above = TICKS.iter().find(|tick| **tick >= most);
        Self { least: *below.unwrap_or(&TICKS[0]), most: *above.unwrap_or(&TICKS[8]) }
    }

    /// The place of a ratio, in per cent of the axis.
    fn place(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.least, self.most);
        100.0 * (ratio / self.least).ln() / (self.most / self.least).ln()
    }
}

/// Draws a row of dots for each name, on one axis.
pub(crate) fn dots(title: &str, allocators: &[&str], rows: &[(String, Vec<Dot<'_>>)]) -> Markup {
    let all = rows.iter().flat_map(|(_, dots)| dots);
    let axis = Axis::over(&all.map(|dot| dot.ratio).collect::<Vec<_>>());
    let ticks = TICKS.iter().filter(|tick| (axis.least..=axis.most).contains(tick));
    let left = |ratio: f64| format!("left:{:.1}%", axis.place(ratio));
    let grid = html! {
        @for tick in ticks.clone() { s.one[*tick == 1.0] style=(left(*tick)) {} }
    };
    html! {
        figure {
            figcaption { (title) }
            div.legend { @for name in allocators {
                span { b style=(format!("background:{}", colour(name))) {} (name) }
            } }
            @for (name, dots) in rows {
                div.row {
                    span { (name) }
                    div.axis { (grid) @for dot in dots { (dot_of(name, dot, &axis)) } }
                }
                "\n"
            }
            div.row { span {} div.axis { @for tick in ticks {
                span style=(left(*tick)) { (tick.to_string()) }
            } } }
        }
    }
}

fn dot_of(row: &str, dot: &Dot<'_>, axis: &Axis) -> Markup {
    let at = axis.place(dot.ratio);
    let colour = colour(dot.allocator);
    let title = format!("{row}, {}: {:.3}", dot.allocator, dot.ratio);
    html! {
        @if let Some((least, most)) = dot.range.map(|(a, b)| (axis.place(a), axis.place(b))) {
            i style=(format!("left:{least:.1}%;width:{:.1}%;background:{colour}", most - least)) {}
        }
        b.own[dot.allocator == HAKMEM] title=(title)
            style=(format!("left:{at:.1}%;background:{colour}")) {}
    }
}

// ---- Lines --------------------------------------------------------------------------------------

/// A line of points in seconds and MiB.
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = WIDTH - 180.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = HEIGHT - 40.0;

/// Follows the light or dark scheme of the reader.
const STYLE: &str = "
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  [stroke='#000000'] { stroke: #e6edf3 }
  [stroke='#ddd'] { stroke: #333a44 }
}
";

/// Draws resident memory over time, the first line above the others.
pub(crate) fn lines(lines: &[Line<'_>], style: &str) -> Markup {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most_seconds = points().map(|point| point.0).fold(0.001, f64::max);
    let most_mib = points().map(|point| point.1).fold(0.001, f64::max) * 1.05;
    let x = |seconds: f64| LEFT + seconds / most_seconds * (RIGHT - LEFT);
    let y = |mib: f64| BOTTOM - mib / most_mib * (BOTTOM - TOP);
    let path = |line: &Line<'_>| {
        let points = line.points.iter();
        let points = points.map(|point| format!("{:.1},{:.1}", x(point.0), y(point.1)));
        points.collect::<Vec<_>>().join(" ")
    };
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img"
            aria-label="resident memory over time" {
            style { (PreEscaped(style)) }
            @for mib in ticks(most_mib) {
                path d=(format!("M{LEFT} {:.1}H{RIGHT}", y(mib))) stroke="#ddd" {}
                (text(LEFT - 6.0, y(mib) + 4.0, "end", &mib.to_string()))
            }
            @for seconds in ticks(most_seconds) {
                path d=(format!("M{:.1} {BOTTOM}v4", x(seconds))) stroke="#888" {}
                (text(x(seconds), BOTTOM + 17.0, "middle", &seconds.to_string()))
            }
            path d=(format!("M{LEFT} {TOP}V{BOTTOM}H{RIGHT}")) fill="none" stroke="#888" {}
            (text((LEFT + RIGHT) / 2.0, HEIGHT - 6.0, "middle", "s"))
            text transform=(format!("translate(14 {}) rotate(-90)", (TOP + BOTTOM) / 2.0))
                text-anchor="middle" { "MiB resident" }
            @for line in lines.iter().rev() {
                "\n"
                polyline points=(path(line)) fill="none" stroke=(colour(line.name))
                    stroke-width=(if line.name == HAKMEM { "2.5" } else { "1.4" })
                    stroke-dasharray=[(line.name == LIVE).then_some("4 3")] {
                    title { (line.name) }
                }
            }
            @for (line, y) in lines.iter().zip((0_u8..).map(|i| TOP + 12.0 + 20.0 * f64::from(i))) {
                path d=(format!("M{} {y}h16", RIGHT + 12.0)) stroke=(colour(line.name))
                    stroke-width="3" {}
                (text(RIGHT + 34.0, y + 4.0, "start", line.name))
            }
        }
    }
}

/// The same as a file.
pub(crate) fn picture(all: &[Line<'_>]) -> String {
    lines(all, STYLE).into_string()
}

fn text(x: f64, y: f64, anchor: &str, text: &str) -> Markup {
    html! { text x=(format!("{x:.1}")) y=(format!("{y:.1}")) text-anchor=(anchor) { (text) } }
}

/// Steps of 1, 2 or 5 times a power of ten, about five up to `most`.
fn ticks(most: f64) -> impl Iterator<Item = f64> {
    let power = 10_f64.powf((most / 5.0).log10().floor());
    let mut factors = [1.0, 2.0, 5.0].into_iter();
    let factor = factors.find(|factor| most / (factor * power) <= 5.5).unwrap_or(10.0);
    let ticks = (0_u8..7).map(move |i| f64::from(i) * factor * power);
    // Without the error of a product such as 3 * 0.1.
    ticks.take_while(move |tick| *tick <= most).map(|tick| (tick * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_has_room_for_all_ratios_and_the_rest_at_its_ends() {
        let axis = Axis::over(&[0.6, 1.0, 1.9]);
        assert_eq!((axis.least, axis.most), (0.5, 2.0));
        assert!((axis.place(1.0) - 50.0).abs() < 1e-9);
        assert_eq!((axis.place(0.01), axis.place(99.0)), (0.0, 100.0));
        assert_eq!(Axis::over(&[1000.0]).most, 16.0);
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(ticks(0.5).collect::<Vec<_>>(), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]);
        assert_eq!(ticks(540.0).collect::<Vec<_>>(), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
    }

    #[test]
    fn charts_name_each_allocator() {
        let dot = |ratio| Dot { allocator: HAKMEM, ratio, range: Some((ratio, 2.0)) };
        let dots = dots("time", &[HAKMEM], &[("a & b".to_owned(), vec![dot(1.0)])]).into_string();
        assert!(dots.contains("a &amp; b, hakmem: 1.000"), "{dots}");
        assert!(dots.contains("class=\"own\""), "{dots}");
        let line = Line { name: LIVE, points: vec![(0.0, 1.0), (2.0, 5.0)] };
        let picture = picture(&[line]);
        assert!(picture.contains("stroke-dasharray=\"4 3\"><title>live bytes"), "{picture}");
    }
}
