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
