//! Tests for `watcher`.

use super::*;

#[test]
fn looks_that_fail_are_further_apart() {
    let wait = |every, failures| wait(Duration::from_secs(every), failures).as_secs();
    assert_eq!([0, 1, 2, 4, 5, u32::MAX].map(|failures| wait(60, failures)), [60, 120, 240, 900, 900, 900]);
    // One that is seldom looked at is looked at as often as ever.
    assert_eq!([0, 1, 9].map(|failures| wait(3600, failures)), [3600; 3]);
}
