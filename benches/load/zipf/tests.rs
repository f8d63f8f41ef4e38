//! Draws follow Zipf's law.

use super::{draws, pick, shares};

#[test]
fn shares_fall_as_one_over_the_rank() {
    // 1 + 1/2 + 1/3 = 11/6.
    let shares = shares(3);
    for (share, expected) in shares.iter().zip([6.0 / 11.0, 9.0 / 11.0, 1.0]) {
        assert!((share - expected).abs() < 1e-12, "{shares:?}");
    }
}

#[test]
fn every_point_falls_on_a_function() {
    let shares = shares(3);
    for (point, function) in [(0.0, 0), (0.5, 0), (0.6, 1), (0.9, 2), (1.0, 2)] {
        assert_eq!(pick(&shares, point), function, "{point}");
    }
}

#[test]
fn draws_are_repeatable_and_follow_the_shares() {
    let drawn = draws(1000, 50_000);
    assert_eq!(drawn, draws(1000, 50_000));
    let count = |function| drawn.iter().filter(|drawn| **drawn == function).count() as f64;
    // 1 / (1 + 1/2 + … + 1/1000) = 0.1336.
    assert!((count(0) / 50_000.0 - 0.1336).abs() < 0.005, "{}", count(0));
    assert!((count(0) / count(1) - 2.0).abs() < 0.15, "{}", count(1));
    assert!(drawn.iter().all(|function| *function < 1000));
}
