//! Quantiles.

use super::*;

fn check(times: &[u64], permille: usize, expected: u64) {
    let times: Vec<_> = times.iter().map(|&ms| Duration::from_millis(ms)).collect();
    assert_eq!(quantile(&times, permille), Duration::from_millis(expected), "{times:?} at {permille}");
}

#[test]
fn quantiles_are_of_the_nearest_rank() {
    let hundred: Vec<u64> = (1..=100).rev().collect();
    check(&hundred, 0, 1);
    check(&hundred, 500, 50);
    check(&hundred, 501, 51);
    check(&hundred, 990, 99);
    check(&hundred, 999, 100);
    check(&hundred, 1000, 100);
}

#[test]
fn quantiles_of_few_are_among_them() {
    check(&[], 500, 0);
    check(&[7], 1, 7);
    check(&[7], 2000, 7);
    check(&[9, 7], 500, 7);
}
