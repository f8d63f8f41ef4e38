//! Tests for `backoff`.

use super::*;

#[test]
fn waits_double_from_one_second_to_thirty() {
    let mut backoff = Backoff::default();
    let bounds: Vec<_> = (0..8).map(|_| backoff.next(1.0).as_secs()).collect();
    assert_eq!(bounds, [1, 2, 4, 8, 16, 30, 30, 30]);
    assert_eq!(backoff.next(0.0).as_secs(), 15);
    backoff.reset();
    assert_eq!(backoff.next(0.0).as_millis(), 500);
}
