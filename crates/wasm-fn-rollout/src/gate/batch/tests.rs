//! Tests of what counts as what.

use std::time::Duration;

use wasm_fn_core::{Outcome, Side, Weight};

use super::{Bad, Batch, Response, Thresholds};
use crate::{Class, Event, UserSet};

const THRESHOLDS: Thresholds = Thresholds {
    slow_above: Some(Duration::from_millis(10)),
    large_above: Some(1000),
    ceiling: Some(Duration::from_millis(100)),
};

fn response(outcome: Outcome) -> Response {
    Response {
        side: Side::Canary,
        outcome,
        latency: Duration::from_millis(1),
        memory_peak_bytes: 10,
        user: None,
    }
}

/// What a batch holds of `event` after `responses`, and how many requests.
#[track_caller]
fn check(responses: &[Response], event: Event, expected: Bad, requests: u64) {
    let (mut batch, mut users) = (Batch::new(Weight::ZERO), UserSet::new(100));
    responses.iter().for_each(|response| batch.add(response, &THRESHOLDS, &mut users));
    assert_eq!((batch.canary.bad(event), batch.canary.requests), (expected, requests));
    assert_eq!(batch.stable.requests, 0);
}

#[test]
fn failures_count_in_their_class_and_at_all() {
    let responses = [response(Outcome::Trap), response(Outcome::Timeout), response(Outcome::Success)];
    check(&responses, Event::Failed(Class::Trap), Bad { requests: 1, units: 1 }, 3);
    check(&responses, Event::FailedAtAll, Bad { requests: 2, units: 2 }, 3);
}

#[test]
fn what_says_nothing_of_the_version_is_left_out() {
    let responses = [Outcome::Shed, Outcome::Cancelled, Outcome::Internal].map(response);
    check(&responses, Event::FailedAtAll, Bad::default(), 0);
}

#[test]
fn only_what_is_above_a_threshold_is_bad() {
    let at = Response {
        latency: Duration::from_millis(10),
        memory_peak_bytes: 1000,
        ..response(Outcome::Success)
    };
    let above = Response {
        latency: Duration::from_millis(11),
        memory_peak_bytes: 1001,
        ..response(Outcome::Success)
    };
    for event in [Event::Slow, Event::Large] {
        check(&[at, above], event, Bad { requests: 1, units: 1 }, 2);
        check(&[at, above], Event::OverCeiling, Bad::default(), 2);
    }
}

#[test]
fn a_user_is_one_unit_however_often_it_fails() {
    let user = |user| Response { user: Some(user), ..response(Outcome::ServerError) };
    let responses = [user(1), user(1), user(1), user(2)];
    check(&responses, Event::FailedAtAll, Bad { requests: 4, units: 2 }, 4);
}
