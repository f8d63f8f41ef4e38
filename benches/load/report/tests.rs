//! Medians and ratios are what they say.

use super::{median, ratio};
use crate::Sample;

fn costs(costs: &[f64]) -> Vec<Sample> {
    costs.iter().map(|&cost| Sample { requests_per_second: 1e6 / cost, cpu_us_per_request: cost }).collect()
}

#[test]
fn median_is_the_middle_or_the_mean_of_two() {
    assert_eq!(median(vec![7.0]), 7.0);
    assert_eq!(median(vec![9.0, 1.0, 2.0]), 2.0);
    assert_eq!(median(vec![4.0, 1.0, 2.0, 9.0]), 3.0);
}

#[test]
fn ratio_compares_within_a_round() {
    // The second round was three times slower for both: it says nothing about either.
    assert_eq!(ratio(&costs(&[50.0, 150.0, 60.0]), &costs(&[100.0, 300.0, 100.0])), 0.5);
}
