// SPDX-License-Identifier: MIT OR Apache-2.0

//! Medians and means.

use itertools::Itertools;

/// The middle value; of an even number of values, the mean of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let sorted: Vec<_> = values.into_iter().sorted_by(f64::total_cmp).collect();
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        count if count % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

/// The geometric mean of ratios, in which all weigh the same.
pub(crate) fn geometric_mean(ratios: impl IntoIterator<Item = f64>) -> Option<f64> {
    let logarithms: Vec<_> = ratios.into_iter().map(f64::ln).collect();
    let sum: f64 = logarithms.iter().sum();
    (!logarithms.is_empty()).then(|| (sum / logarithms.len() as f64).exp())
}

#[cfg(test)]
mod tests {
    use super::{geometric_mean, median};

    #[test]
    fn median_is_the_middle_value() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn twice_as_fast_and_half_as_fast_make_one() {
        assert_eq!(geometric_mean([]), None);
        let mean = geometric_mean([2.0, 0.5, 1.0]).expect("there are ratios");
        assert!((mean - 1.0).abs() < 1e-12);
    }
}
