//! Tests of the rank test, against known values.

use super::deviations;

#[test]
fn equal_samples_do_not_deviate() {
    assert!(deviations(&[1.0, 2.0, 3.0], &[1.0, 2.0, 3.0]).abs() < 1e-12);
    assert!(deviations(&[1.0; 5], &[1.0; 5]).abs() < 1e-12);
}

#[test]
fn separate_samples_deviate_as_the_tables_say() {
    // U = 25 of 25, mean 12.5, variance 25 * 11 / 12.
    let found = deviations(&[1.0, 2.0, 3.0, 4.0, 5.0], &[6.0, 7.0, 8.0, 9.0, 10.0]);
    assert!((found - 12.5 / (25.0_f64 * 11.0 / 12.0).sqrt()).abs() < 1e-12, "{found}");
}
