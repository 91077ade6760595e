// SPDX-License-Identifier: MIT OR Apache-2.0

//! The table of results.

/// One line of the table.
#[derive(Debug, Clone)]
pub(crate) enum Row {
    /// A heading for the lines below.
    Title(String),
    /// A quantity, measured on both allocators.
    Quantity {
        name: String,
        decimals: usize,
        better: Better,
        system: f64,
        hakmem: f64,
    },
}

/// Whether larger or smaller values are better.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Better {
    More,
    Less,
}

impl Row {
    /// Returns the medians of a quantity with several samples per allocator.
    pub(crate) fn medians<S>(
        name: &str,
        decimals: usize,
        better: Better,
        [system, hakmem]: [&[S]; 2],
        quantity: impl Fn(&S) -> f64,
    ) -> Self {
        Self::Quantity {
            name: name.to_owned(),
            decimals,
            better,
            system: median(system.iter().map(&quantity)),
            hakmem: median(hakmem.iter().map(&quantity)),
        }
    }
}

/// Prints the rows with a header.
pub(crate) fn print(rows: &[Row]) {
    println!(
        "{:36}{:>12}{:>12}{:>16}",
        "", "system", "hakmem", "hakmem/system"
    );
    for row in rows {
        match row {
            Row::Title(title) => println!("{title}"),
            Row::Quantity {
                name,
                decimals,
                better,
                system,
                hakmem,
            } => {
                let ratio = hakmem / system;
                let verdict = match better {
                    Better::More if ratio >= 1.0 => "better",
                    Better::Less if ratio <= 1.0 => "better",
                    _ => "worse",
                };
                println!(
                    "  {name:34}{:>12}{:>12}{ratio:>16.2}  {verdict}",
                    grouped(*system, *decimals),
                    grouped(*hakmem, *decimals),
                );
            }
        }
    }
}

/// Returns the median of the values. For an even number of values, this is the mean of the middle
/// two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => (values[middle - 1] + values[middle]) / 2.0,
    }
}

/// Formats a number with commas as thousands separators.
pub(crate) fn grouped(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let integer_digits = text.find('.').unwrap_or(text.len());
    let mut grouped = String::new();
    for (i, character) in text.char_indices() {
        let to_come = integer_digits.saturating_sub(i);
        if i > 0 && to_come > 0 && to_come % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(character);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0].into_iter()), 2.0);
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert!(median([].into_iter()).is_nan());
    }

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(0.5, 3), "0.500");
        assert_eq!(grouped(999.0, 0), "999");
        assert_eq!(grouped(1000.0, 0), "1,000");
        assert_eq!(grouped(1_234_567.89, 1), "1,234,567.9");
    }
}
