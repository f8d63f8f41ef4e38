//! Tests of what is recent.

use super::{Counts, Floor, Recent};
use crate::{Bad, Event};

const FLOOR: Floor = Floor { error_rate: 0.5, requests: 20 };

fn taken(recent: &mut Recent, requests: u64, failed: u64) {
    recent.take(&Counts::of(requests).with(Event::FailedAtAll, Bad::each(failed)), &FLOOR);
}

#[test]
fn half_of_twenty_are_too_many() {
    let mut recent = Recent::NONE;
    taken(&mut recent, 19, 19);
    assert!(!recent.is_below(&FLOOR));
    taken(&mut recent, 1, 0);
    assert!(recent.is_below(&FLOOR));
    assert_eq!(recent.sum(), (20, 19));
    taken(&mut recent, 19, 0);
    assert!(!recent.is_below(&FLOOR));
}

#[test]
fn a_long_good_time_does_not_hide_what_comes_after() {
    for before in [1, 99, 100, 150, 100_000] {
        let mut recent = Recent::NONE;
        (0..before).for_each(|_| taken(&mut recent, 1, 0));
        let failures = (1..1_000).find(|_| {
            taken(&mut recent, 1, 1);
            recent.is_below(&FLOOR)
        });
        assert!(failures.is_some_and(|failures| failures <= 200), "{before}: {failures:?}");
    }
}

#[test]
fn counts_stop_at_the_largest_number() {
    let mut recent = Recent::NONE;
    (0..3).for_each(|_| taken(&mut recent, u64::MAX, u64::MAX));
    assert_eq!(recent.sum().0, u64::MAX);
}
