//! Tests of the upper bound of a rate.

use super::upper;

#[test]
fn bounds_lie_above_what_was_seen_and_near_it_with_much_data() {
    let cases = [
        (0, 0, 1.0, 1.0),
        (10, 10, 1.0, 1.0),
        (0, 1_000, 0.0075, 0.0077),
        // For rare events it solves x - 10 - 10 ln(x / 10) = ln 2000, which is x = 27.8.
        (10, 10_000, 0.00277, 0.00279),
        (10_000, 10_000_000, 0.0010, 0.00105),
    ];
    for (bad, requests, least, most) in cases {
        let bound = upper(bad, requests, 0.0005);
        assert!((least..=most).contains(&bound), "{bad} of {requests}: {bound}");
    }
}

#[test]
fn no_events_give_the_exact_binomial_bound() {
    let exact = 1.0 - 0.01_f64.powf(1.0 / 500.0);
    assert!((upper(0, 500, 0.01) - exact).abs() < 1e-12);
}

#[test]
fn the_bound_is_too_low_no_more_often_than_alpha_says() {
    let (requests, alpha) = (300, 0.01);
    for rate in [0.001_f64, 0.01, 0.1, 0.5] {
        let mut probability = (1.0 - rate).powi(300);
        let mut low = 0.0;
        for bad in 0..requests {
            if upper(bad, requests, alpha) < rate {
                low += probability;
            }
            probability *= (requests - bad) as f64 / (bad + 1) as f64 * rate / (1.0 - rate);
        }
        assert!(low <= alpha, "rate {rate}: {low}");
    }
}
