// SPDX-License-Identifier: MIT OR Apache-2.0

//! A dot for each allocator in each row, on a logarithmic axis on which the best peer is at 1.

use hakmem_reports::allocators::HAKMEM;
use hakmem_reports::page::{colour, escape};

use crate::samples::{Part, Quantity, Row};

const WIDTH: f64 = 960.0;
const LEFT: f64 = 260.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 24.0;
const ROW_HEIGHT: f64 = 18.0;

const TICKS: [f64; 9] = [0.25, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0, 8.0, 16.0];

/// The ratios from one end of the axis to the other. Dots beyond are drawn at its ends.
struct Axis {
    least: f64,
    most: f64,
}

impl Axis {
    /// From tick to tick, with all that is there, and 1.
    fn over(ratios: &[f64]) -> Self {
        let least = ratios.iter().copied().fold(0.9, f64::min);
        let most = ratios.iter().copied().fold(1.1, f64::max);
        let below = TICKS.iter().rev().find(|tick| **tick <= least);
        let above = TICKS.iter().find(|tick| **tick >= most);
        Self {
            least: *below.unwrap_or(&TICKS[0]),
            most: *above.unwrap_or(&TICKS[TICKS.len() - 1]),
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        let ratio = ratio.clamp(self.least, self.most);
        let share = (ratio / self.least).ln() / (self.most / self.least).ln();
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }
}

/// The plot of a part. A line through a dot is the spread of the rounds.
pub(crate) fn dots(part: &Part, quantity: Quantity, title: &str) -> String {
    let allocators = part.allocators();
    let rows: Vec<&Row> = part
        .rows
        .iter()
        .filter(|row| row.best_peer(quantity).is_some())
        .collect();
    let ratios: Vec<f64> = rows
        .iter()
        .flat_map(|row| {
            allocators
                .iter()
                .map(|name| row.to_best_peer(name, quantity))
        })
        .flatten()
        .collect();
    let axis = Axis::over(&ratios);
    let bottom = TOP + ROW_HEIGHT * rows.len() as f64;
    let title = escape(&format!(
        "{}: {title}, relative to the best peer",
        part.name
    ));
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{title}\">\n\
         <text x=\"0\" y=\"14\">{title}</text>\n",
        bottom + BOTTOM
    );
    svg += &legend(&allocators);
    for tick in TICKS
        .iter()
        .filter(|tick| (axis.least..=axis.most).contains(tick))
    {
        let colour = if *tick == 1.0 { "#888" } else { "#ddd" };
        svg += &format!(
            "<path d=\"M{x:.1} {TOP}V{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{tick}</text>\n",
            bottom + 16.0,
            x = axis.x(*tick),
        );
    }
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + ROW_HEIGHT * (i as f64 + 0.5);
        svg += &format!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            y + 4.0,
            escape(&row.name)
        );
        // hakmem's last, above the others.
        let others = allocators.iter().filter(|name| **name != HAKMEM);
        for name in others.chain([&HAKMEM]) {
            svg += &dot(row, name, quantity, &axis, y);
        }
    }
    svg + "</svg>\n"
}

fn legend(allocators: &[&str]) -> String {
    let left = 8.0;
    let step = (WIDTH - left) / allocators.len().max(1) as f64;
    let mut svg = String::new();
    for (i, name) in allocators.iter().enumerate() {
        let x = left + step * i as f64;
        svg += &format!(
            "<circle cx=\"{x:.1}\" cy=\"32\" r=\"5\" fill=\"{}\"/><text x=\"{:.1}\" y=\"36\">{}</text>\n",
            colour(name),
            x + 9.0,
            escape(name)
        );
    }
    svg
}

fn dot(row: &Row, allocator: &str, quantity: Quantity, axis: &Axis, y: f64) -> String {
    let range = row.cell(allocator).and_then(|cell| cell.range(quantity));
    let found = row.to_best_peer(allocator, quantity).zip(range);
    let Some(((ratio, (least, most)), (_, best))) = found.zip(row.best_peer(quantity)) else {
        return String::new();
    };
    let radius = if allocator == HAKMEM { 5.5 } else { 4.0 };
    let colour = colour(allocator);
    format!(
        "<path d=\"M{:.1} {y:.1}H{:.1}\" stroke=\"{colour}\" stroke-width=\"1.5\" opacity=\"0.5\"/>\
         <circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" fill-opacity=\"0.85\">\
         <title>{}, {}: {ratio:.3}</title></circle>\n",
        axis.x(least / best),
        axis.x(most / best),
        axis.x(ratio),
        escape(&row.name),
        escape(allocator)
    )
}

#[cfg(test)]
mod tests {
    use super::{Axis, LEFT, RIGHT, WIDTH};

    #[test]
    fn axis_has_room_for_all_ratios_and_the_rest_at_its_ends() {
        let axis = Axis::over(&[0.6, 1.0, 1.9]);
        assert_eq!((axis.least, axis.most), (0.5, 2.0));
        assert!((axis.x(1.0) - (LEFT + WIDTH - RIGHT) / 2.0).abs() < 1e-9);
        assert_eq!(axis.x(0.01), LEFT);
        assert!((axis.x(99.0) - (WIDTH - RIGHT)).abs() < 1e-9);
        assert_eq!(Axis::over(&[1000.0]).most, 16.0);
    }
}
