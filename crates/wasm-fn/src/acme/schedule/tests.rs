//! Facts about times.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

#[test]
fn a_certificate_is_renewed_when_a_third_of_its_life_is_left_or_a_little_earlier() {
    let begins = SystemTime::UNIX_EPOCH + DAY * 20_000;
    let days = |life: u32, draw: f64| {
        renew_at(begins, begins + DAY * life, draw).duration_since(begins).unwrap().as_secs_f64() / 86400.0
    };
    assert!((days(90, 0.0) - 60.0).abs() < 0.01 && (days(90, 1.0) - 51.0).abs() < 0.01);
    assert!((days(6, 0.0) - 4.0).abs() < 0.01 && (days(6, 9.0) - 3.4).abs() < 0.01);
    assert_eq!(renew_at(begins, begins - DAY, 0.0), begins, "one that never was valid is renewed at once");
}

#[test]
fn waits_double_to_a_bound_and_differ() {
    let minutes = |failures| retry_after(failures, 0.5).as_secs() / 60;
    assert_eq!([1, 2, 3, 4, 7, 8, 33, u32::MAX].map(minutes), [5, 10, 20, 40, 320, 360, 360, 360]);
    assert_eq!(retry_after(0, 0.5), retry_after(1, 0.5));
    assert_eq!(retry_after(1, 0.0), Duration::from_secs(150));
    assert_eq!(retry_after(1, 1.0), Duration::from_secs(450));
}
