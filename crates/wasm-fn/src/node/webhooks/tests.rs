//! Tests of the memory of what was answered.

use std::time::Duration;

use wasm_fn_events::Timestamp;

use super::{ANSWERED_FOR, ANSWERED_MAX, Answered};

const NOON: Timestamp = Timestamp::from_unix_seconds(1_796_040_000);

#[test]
fn an_event_is_answered_once_a_day() {
    let mut answered = Answered::default();
    assert!(answered.begin("a", NOON));
    assert!(!answered.begin("a", NOON.saturating_add(ANSWERED_FOR)));
    assert!(answered.begin("a", NOON.saturating_add(ANSWERED_FOR + Duration::from_millis(1))));
}

#[test]
fn an_event_that_failed_may_come_again() {
    let mut answered = Answered::default();
    assert!(answered.begin("a", NOON));
    answered.forget("a");
    assert!(answered.begin("a", NOON));
    assert!(!answered.begin("a", NOON));
}

#[test]
fn the_oldest_events_are_forgotten_when_there_are_too_many() {
    let mut answered = Answered::default();
    for number in 0..=ANSWERED_MAX {
        assert!(answered.begin(&number.to_string(), NOON));
    }
    assert_eq!((answered.ids.len(), answered.order.len()), (ANSWERED_MAX, ANSWERED_MAX));
    assert!(answered.begin("0", NOON));
    assert!(!answered.begin(&ANSWERED_MAX.to_string(), NOON));
}
