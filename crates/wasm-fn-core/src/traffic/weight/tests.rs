//! Tests for `weight`.

use proptest::{prelude::*, test_runner::RngSeed};

use super::*;

#[track_caller]
fn check(text: &str, basis_points: u16) {
    assert_eq!(text.parse(), Ok(Weight::from_basis_points(basis_points).unwrap()), "{text:?}");
}

#[test]
fn percentages_are_weights() {
    check("0%", 0);
    check("0.00%", 0);
    check("0.01%", 1);
    check("0.05%", 5);
    check("0.5%", 50);
    check("1%", 100);
    check("10%", 1000);
    check("12.34%", 1234);
    check("012%", 1200);
    check("99.99%", 9999);
    check("100%", 10_000);
    check("100.00%", 10_000);
}

#[test]
fn anything_over_everything_is_refused() {
    for text in ["100.01%", "101%", "655.36%", "656%", "65536%", "99999999999999999999%"] {
        assert_eq!(text.parse::<Weight>(), Err(WeightError::OverFull(text.to_owned())), "{text:?}");
    }
}

#[test]
fn malformed_percentages_are_refused() {
    let texts = [
        "", "%", "10", "10 %", " 10%", "10% ", "-1%", "+1%", "1e1%", ".5%", "5.%", "0.001%", "1.2.3%",
        "1,5%", "ten%", "10%%", "١%", "1.-1%", "1.+1%", "\u{0}1%",
    ];
    for text in texts {
        assert_eq!(text.parse::<Weight>(), Err(WeightError::Malformed(text.to_owned())), "{text:?}");
    }
}

#[test]
fn weights_are_written_without_needless_zeros() {
    let written = |points| Weight::from_basis_points(points).unwrap().to_string();
    assert_eq!(
        [0, 1, 10, 50, 100, 1000, 1005, 1050, 10_000].map(written),
        ["0%", "0.01%", "0.1%", "0.5%", "1%", "10%", "10.05%", "10.5%", "100%"]
    );
}

#[test]
fn messages_say_what_was_expected() {
    assert_eq!(
        "10".parse::<Weight>().unwrap_err().to_string(),
        r#""10" is not a weight, expected a percentage such as 10% or 0.05%"#
    );
    assert_eq!("101%".parse::<Weight>().unwrap_err().to_string(), "weight 101% is over 100%");
}

#[test]
fn every_weight_round_trips_and_has_a_complement() {
    for points in 0..=10_000 {
        let weight = Weight::from_basis_points(points).unwrap();
        assert_eq!(weight.to_string().parse(), Ok(weight));
        assert_eq!(weight.basis_points() + weight.complement().basis_points(), 10_000);
    }
    assert_eq!(Weight::from_basis_points(10_001), None);
}

#[test]
fn points_end_before_ten_thousand() {
    assert_eq!(Point::new(9999).map(Point::place), Some(9999));
    assert_eq!(Point::new(10_000), None);
    assert_eq!(Point::from_bits(0).place(), 0);
    assert_eq!(Point::from_bits(u64::MAX).place(), 9999);
    assert_eq!(Point::from_bits(1 << 63).place(), 5000);
}

#[test]
fn evenly_spread_bits_give_every_point_alike() {
    let mut counts = vec![0; 10_000];
    let step = u64::MAX / 100_000;
    for i in 0..100_000 {
        counts[usize::from(Point::from_bits(i * step + step / 2).place())] += 1;
    }
    assert!(counts.iter().all(|&count| count == 10));
}

proptest! {
    #![proptest_config(ProptestConfig { rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Weight>();
    }

    #[test]
    fn more_bits_never_give_a_lower_point(low: u64, high: u64) {
        let (low, high) = (low.min(high), low.max(high));
        prop_assert!(Point::from_bits(low) <= Point::from_bits(high));
    }
}
