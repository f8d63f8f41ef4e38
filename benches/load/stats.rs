//! Medians, quartiles and quantiles of measurements.

use serde::Serialize;

/// Where the middle half of some measurements lies.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// Median and quartiles of `values`, interpolated between neighbours; absent when there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |quarter: usize| {
            let (whole, rest) = (last * quarter / 4, last * quarter % 4);
            let (low, high) = (values[whole], values[(whole + 1).min(last)]);
            low + (high - low) * rest as f64 / 4.0
        };
        Some(Self { low: at(1), median: at(2), high: at(3) })
    }
}

/// The smallest of the `sorted` values that at least `permille` of 1,000 parts of them do not exceed.
///
/// # Panics
///
/// When there are no values, or `permille` is 0 or above 1,000.
pub(crate) fn quantile(sorted: &[u64], permille: usize) -> u64 {
    sorted[(sorted.len() * permille).div_ceil(1000) - 1]
}

#[cfg(test)]
mod tests;
