//! Tests of the memory of what was answered.

use std::{sync::Mutex, time::Duration};

use wasm_fn_events::Timestamp;

use super::{ANSWERED_FOR, ANSWERED_MAX, Answer, Answered, Answering, lock};

const NOON: Timestamp = Timestamp::from_unix_seconds(1_796_040_000);

/// Begins to answer `key`, which nobody has answered.
fn begin<'a>(answered: &'a Mutex<Answered>, key: &str, now: Timestamp) -> Answering<'a> {
    assert_eq!(lock(answered).begin(key, now), None);
    Answering { answered, key: key.to_owned() }
}

fn earlier(answered: &Mutex<Answered>, now: Timestamp) -> Option<bool> {
    lock(answered).begin("a", now).map(|Answer { is_given, .. }| is_given)
}

#[test]
fn an_event_is_answered_once_a_day() {
    let answered = Mutex::default();
    begin(&answered, "a", NOON).succeed();
    assert_eq!(earlier(&answered, NOON.saturating_add(ANSWERED_FOR)), Some(true));
    begin(&answered, "a", NOON.saturating_add(ANSWERED_FOR + Duration::from_millis(1))).succeed();
}

#[test]
fn an_event_that_is_being_answered_is_not_answered_beside_it() {
    let answered = Mutex::default();
    let answering = begin(&answered, "a", NOON);
    assert_eq!(earlier(&answered, NOON), Some(false));
    answering.succeed();
    assert_eq!(earlier(&answered, NOON), Some(true));
}

#[test]
fn an_event_that_failed_or_whose_service_left_may_come_again() {
    let answered = Mutex::default();
    drop(begin(&answered, "a", NOON));
    begin(&answered, "a", NOON).succeed();
    assert_eq!(earlier(&answered, NOON), Some(true));
}

#[test]
fn the_oldest_events_are_forgotten_when_there_are_too_many() {
    let answered = Mutex::default();
    for number in 0..=ANSWERED_MAX {
        begin(&answered, &number.to_string(), NOON).succeed();
    }
    {
        let answered = lock(&answered);
        assert_eq!((answered.ids.len(), answered.order.len()), (ANSWERED_MAX, ANSWERED_MAX));
    }
    begin(&answered, "0", NOON).succeed();
    let newest = lock(&answered).begin(&ANSWERED_MAX.to_string(), NOON);
    assert!(newest.is_some_and(|answer| answer.is_given));
}
