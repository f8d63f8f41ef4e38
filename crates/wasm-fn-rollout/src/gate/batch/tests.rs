//! Tests of what counts as what.

use std::time::Duration;

use wasm_fn_core::{Outcome, Weight};

use super::{Arm, Bad, Batch, Counts, Response, SideLimits, Thresholds};
use crate::{Class, Event};

const THRESHOLDS: Thresholds = Thresholds {
    slow_above: Some(SideLimits { canary: Duration::from_millis(12), baseline: Duration::from_millis(10) }),
    median_above: Some(SideLimits { canary: Duration::from_millis(6), baseline: Duration::from_millis(5) }),
    large_above: Some(SideLimits { canary: 1200, baseline: 1000 }),
    ceiling: Some(Duration::from_millis(100)),
};

fn response(outcome: Outcome) -> Response {
    Response {
        arm: Arm::Canary,
        outcome,
        latency: Duration::from_millis(1),
        memory_peak_bytes: 10,
        user: None,
        clustered: false,
        sampled: false,
    }
}

fn batch(responses: &[Response]) -> Batch {
    let mut batch = Batch::new(Weight::ZERO, Weight::ZERO);
    responses.iter().for_each(|response| batch.add(response, &THRESHOLDS));
    batch
}

/// What a batch holds of `event` of `arm` after `responses`, and how many requests.
#[track_caller]
fn check(responses: &[Response], arm: Arm, event: Event, expected: Bad, requests: u64) {
    let counts = batch(responses).of(arm);
    assert_eq!((counts.bad(event), counts.requests), (expected, requests));
}

#[test]
fn failures_count_in_their_class_and_at_all() {
    let responses = [response(Outcome::Trap), response(Outcome::Timeout), response(Outcome::Success)];
    check(&responses, Arm::Canary, Event::Failed(Class::Trap), Bad::each(1), 3);
    check(&responses, Arm::Canary, Event::FailedAtAll, Bad::each(2), 3);
    check(&responses, Arm::Stable, Event::FailedAtAll, Bad::default(), 0);
}

#[test]
fn what_says_nothing_of_the_version_is_left_out() {
    let responses = [Outcome::Shed, Outcome::Cancelled, Outcome::Internal].map(response);
    assert!(batch(&responses).is_empty());
    let long = |outcome| Response { latency: Duration::from_secs(9), ..response(outcome) };
    assert!(batch(&[Outcome::Shed, Outcome::Internal].map(long)).is_empty());
}

#[test]
fn only_what_is_above_the_limit_of_its_arm_is_bad() {
    let of = |arm, millis, bytes| Response {
        arm,
        latency: Duration::from_millis(millis),
        memory_peak_bytes: bytes,
        ..response(Outcome::Success)
    };
    for event in [Event::Slow, Event::Large] {
        for (arm, at, above) in [
            (Arm::Canary, (12, 1200), (13, 1201)),
            (Arm::Cohort, (12, 1200), (13, 1201)),
            (Arm::Baseline, (10, 1000), (11, 1001)),
        ] {
            let responses = [of(arm, at.0, at.1), of(arm, above.0, above.1)];
            check(&responses, arm, event, Bad::each(1), 2);
            check(&responses, arm, Event::OverCeiling, Bad::default(), 2);
        }
        check(&[of(Arm::Stable, 50, 5000)], Arm::Stable, event, Bad::default(), 1);
    }
    check(&[of(Arm::Stable, 101, 10)], Arm::Stable, Event::OverCeiling, Bad::each(1), 1);
}

#[test]
fn a_request_that_was_left_counts_once_it_took_too_long() {
    let left = |millis, bytes| Response {
        latency: Duration::from_millis(millis),
        memory_peak_bytes: bytes,
        ..response(Outcome::Cancelled)
    };
    check(&[left(12, 10), left(12, 9999)], Arm::Canary, Event::Slow, Bad::default(), 0);
    check(&[left(13, 10)], Arm::Canary, Event::Slow, Bad::each(1), 1);
    check(&[left(13, 10)], Arm::Canary, Event::FailedAtAll, Bad::default(), 1);
}

#[test]
fn only_sampled_responses_are_held_to_the_median() {
    let of = |arm, millis, sampled| Response {
        arm,
        latency: Duration::from_millis(millis),
        sampled,
        ..response(Outcome::Success)
    };
    for (arm, at) in [(Arm::Canary, 6), (Arm::Baseline, 5)] {
        let responses = [of(arm, at, true), of(arm, at + 1, true), of(arm, at + 1, false)];
        check(&responses, arm, Event::AboveMedian, Bad::each(1), 3);
        check(&responses, arm, Event::Slow, Bad::default(), 3);
        assert_eq!(batch(&responses).of(arm).sampled, 2);
    }
    check(&[of(Arm::Stable, 50, true)], Arm::Stable, Event::AboveMedian, Bad::default(), 1);
    let left = |sampled| Response { outcome: Outcome::Cancelled, ..of(Arm::Canary, 7, sampled) };
    check(&[left(true), left(false)], Arm::Canary, Event::AboveMedian, Bad::each(1), 1);
}

#[test]
fn clustered_responses_are_counted_apart_and_shown_together() {
    let clustered = Response { clustered: true, ..response(Outcome::Trap) };
    let batch = batch(&[clustered, response(Outcome::Trap), response(Outcome::Success)]);
    assert_eq!((batch.canary.requests, batch.clustered.requests), (2, 1));
    assert_eq!(batch.of(Arm::Canary).bad(Event::FailedAtAll), Bad::each(2));
    assert_eq!(batch.of_lane(Arm::Canary, true).requests, 1);
}

#[test]
fn users_are_no_units_by_themselves_and_are_named_once_an_event() {
    let user = |user| Response { user: Some(user), ..response(Outcome::ServerError) };
    let batch = batch(&[user(1), user(1), user(1), user(2)]);
    assert_eq!(batch.canary.bad(Event::FailedAtAll), Bad { requests: 4, units: 0 });
    let users: Vec<_> = batch.users().collect();
    let class = Event::Failed(Class::ServerError);
    let expected = [1, 2]
        .into_iter()
        .flat_map(|user| [class, Event::FailedAtAll].map(|event| (user, Arm::Canary, false, event)));
    assert_eq!(users, expected.collect::<Vec<_>>());
}

#[test]
fn good_requests_are_added_by_number_and_forgotten_alone() {
    let mut batch = batch(&[response(Outcome::Trap)]);
    for arm in [Arm::Canary, Arm::Stable, Arm::Baseline, Arm::Cohort] {
        batch.add_good(arm, false, 10);
        batch.add_good(arm, false, u64::MAX);
        assert_eq!(batch.of(arm).requests, u64::MAX);
    }
    batch.forget_requests();
    assert!(batch.is_empty());
    assert_eq!(batch.canary.bad(Event::FailedAtAll), Bad::each(1));
}

#[test]
fn counts_add_up_and_stop_at_the_largest_number() {
    let counts = Counts::of(10).with(Event::Slow, Bad { requests: 3, units: 2 });
    let sum = counts.and(&counts);
    assert_eq!((sum.requests, sum.bad(Event::Slow)), (20, Bad { requests: 6, units: 4 }));
    assert_eq!(sum.good(Event::Slow), 14);
    let most = Counts::of(u64::MAX).with(Event::Slow, Bad::each(u64::MAX)).and(&counts);
    assert_eq!((most.requests, most.bad(Event::Slow)), (u64::MAX, Bad::each(u64::MAX)));
}
