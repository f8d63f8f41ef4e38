//! Medians and quantiles are what they say.

use super::{Spread, quantile};

#[test]
fn spread_is_median_and_quartiles() {
    let spread = |values: &[f64]| Spread::of(values.iter().copied());
    assert_eq!(spread(&[]), None);
    assert_eq!(spread(&[7.0]), Some(Spread { low: 7.0, median: 7.0, high: 7.0 }));
    assert_eq!(spread(&[9.0, 1.0, 2.0]), Some(Spread { low: 1.5, median: 2.0, high: 5.5 }));
    assert_eq!(spread(&[4.0, 1.0, 2.0, 9.0]), Some(Spread { low: 1.75, median: 3.0, high: 5.25 }));
    assert_eq!(spread(&[5.0, 4.0, 3.0, 2.0, 1.0]), Some(Spread { low: 2.0, median: 3.0, high: 4.0 }));
}

#[test]
fn quantile_is_a_value_that_was_measured() {
    let sorted: Vec<u64> = (1..=1000).collect();
    assert_eq!([500, 990, 999, 1000].map(|permille| quantile(&sorted, permille)), [500, 990, 999, 1000]);
    assert_eq!([500, 990, 999].map(|permille| quantile(&[3, 8], permille)), [3, 8, 8]);
    assert_eq!(quantile(&[3], 1), 3);
}
