//! Tests of users: each is one voice, in each run.

use std::time::Duration;

use wasm_fn_core::Outcome;

use super::*;
use crate::{Response, Thresholds};

/// One failed request of each of `users` on `arm`.
fn of_users(share: u16, arm: Arm, users: std::ops::Range<u64>) -> Batch {
    let mut batch = Batch::new(weight(share), Weight::ZERO);
    for user in users {
        let response = Response {
            arm,
            outcome: Outcome::ServerError,
            latency: Duration::ZERO,
            memory_peak_bytes: 0,
            user: Some(user),
            clustered: false,
            sampled: false,
        };
        batch.add(&response, &Thresholds::default());
    }
    batch
}

/// Hits of the failures of all classes, by run.
fn hits(gate: &Gate) -> Vec<u64> {
    let checks = gate.state().checks;
    let errors =
        |check: &&super::super::CheckState| (check.group, check.signal) == (Group::Placed, Signal::Errors);
    checks.iter().find(errors).unwrap().runs.iter().map(|run| run.hits).collect()
}

#[test]
fn one_user_for_whom_everything_fails_fails_nothing() {
    let mut gate = gate();
    (0..500).for_each(|_| gate.observe(&of_users(100, Arm::Canary, 7..8)));
    let trapped = Trapped { arm: Arm::Canary, fingerprint: 1, user: Some(7), share: weight(100), begun: 500 };
    (0..500).for_each(|_| gate.trap(&trapped));
    assert!(!failed(&gate));
    assert_eq!(gate.canary().bad(Event::FailedAtAll), Bad { requests: 500, units: 1 });
}

#[test]
fn a_user_counts_once_in_each_run() {
    let mut gate = gate();
    gate.observe(&of_users(1_000, Arm::Canary, 1..3));
    gate.observe(&of_users(1_000, Arm::Canary, 1..3));
    assert_eq!(hits(&gate), [2]);
    gate.renew();
    gate.observe(&of_users(1_000, Arm::Canary, 1..4));
    gate.observe(&of_users(1_000, Arm::Canary, 1..4));
    assert_eq!(hits(&gate), [3, 3]);
    gate.renew();
    gate.observe(&of_users(1_000, Arm::Canary, 1..2));
    assert_eq!(hits(&gate), [3, 3, 1]);
}

#[test]
fn a_user_who_failed_on_stable_is_heard_again_in_a_later_run_alone() {
    let mut gate = gate();
    gate.observe(&of_users(1_000, Arm::Stable, 1..3));
    gate.observe(&of_users(1_000, Arm::Canary, 1..3));
    assert_eq!(hits(&gate), [0]);
    gate.renew();
    gate.observe(&of_users(1_000, Arm::Canary, 1..3));
    assert_eq!(hits(&gate), [0, 2]);
}

#[test]
fn runs_from_before_a_step_learn_no_more_from_users() {
    let mut gate = gate();
    gate.observe(&of_users(1_000, Arm::Canary, 1..3));
    gate.step();
    gate.observe(&of_users(5_000, Arm::Canary, 1..10));
    assert_eq!(hits(&gate), [2, 9]);
    // What drew its version goes on in all of them.
    gate.observe(&batch(5_000, failing(1, 1), Counts::default()));
    assert_eq!(hits(&gate), [3, 10]);
    let mut resumed = self::gate().resume(gate.state()).unwrap();
    resumed.observe(&of_users(5_000, Arm::Canary, 1..3));
    assert_eq!(hits(&resumed), [3, 10, 2]);
}

#[test]
fn runs_that_have_ended_take_nobody_with_them() {
    let mut gate = gate();
    for _ in 0..30 {
        gate.renew();
        gate.observe(&of_users(1_000, Arm::Canary, 1..2));
    }
    assert_eq!(hits(&gate), [1; super::super::RUNS_MAX]);
}

#[test]
fn a_fault_after_every_user_has_had_some_other_is_found() {
    let mut gate = gate();
    gate.observe(&of_users(1_000, Arm::Canary, 0..10));
    gate.observe(&of_users(1_000, Arm::Stable, 10..100));
    gate.renew();
    gate.observe(&of_users(1_000, Arm::Canary, 0..10));
    assert!(failed(&gate), "ten users of ten, and none of ninety");
}

#[test]
fn too_few_voices_neither_pass_nor_fail() {
    let mut gate = gate();
    let of_voices = |voices| Batch { voices, ..batch(5_000, Counts::of(1_000), Counts::of(1_000)) };
    gate.observe(&of_voices(2));
    let Verdict::Wait(Waiting { voices: Some((found, needed)), .. }) = gate.verdict() else {
        panic!("expected to wait for voices, found {:?}", gate.verdict())
    };
    assert_eq!(found, 2);
    // So many users who fail, and none of stable's, are found.
    let mut broken = self::gate();
    broken.observe(&of_users(5_000, Arm::Canary, 0..needed - 1));
    assert!(!failed(&broken));
    broken.observe(&of_users(5_000, Arm::Canary, needed - 1..needed));
    assert!(failed(&broken));
    gate.observe(&of_voices(needed - 3));
    assert!(matches!(gate.verdict(), Verdict::Wait(_)));
    gate.observe(&of_voices(1));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.step();
    gate.observe(&of_voices(1));
    assert!(matches!(gate.verdict(), Verdict::Wait(_)), "each step has its own");
}

#[test]
fn voices_of_a_later_step_are_held_to_its_own_run() {
    let needed = |steps| {
        let mut gate = gate();
        (0..steps).for_each(|_| gate.step());
        gate.observe(&Batch { voices: 1, ..batch(5_000, Counts::of(1_000), Counts::of(1_000)) });
        match gate.verdict() {
            Verdict::Wait(Waiting { voices: Some((1, needed)), .. }) => (gate, needed),
            verdict => panic!("expected to wait for voices, found {verdict:?}"),
        }
    };
    let (_, first) = needed(0);
    let (mut third, later) = needed(2);
    assert!(later > first, "{later} {first}");
    third.observe(&of_users(5_000, Arm::Canary, 0..later));
    assert!(failed(&third), "so many users who all fail are found");
}

#[test]
fn users_who_are_all_on_the_canary_are_heard_again_when_stable_is_silent() {
    let mut gate = beside(failing(20_000, 0), Counts::default());
    // All of them have spoken before it is known that nobody is left on stable.
    for requests in [99, 1, 100, 100] {
        let users = of_users(5_000, Arm::Canary, 0..8);
        gate.observe(&users);
        gate.observe(&Batch { voices: 0, ..batch(5_000, Counts::of(requests), Counts::default()) });
    }
    assert_eq!(failure(&gate).group, Group::Alone);
}

#[test]
fn too_few_voices_against_the_past_wait_too() {
    let mut gate = beside(failing(20_000, 0), Counts::default());
    let of_voices = |voices| Batch { voices, ..alone(Counts::of(1_000)) };
    gate.observe(&of_voices(2));
    assert!(matches!(gate.verdict(), Verdict::Wait(Waiting { voices: Some((2, _)), .. })));
    gate.observe(&of_voices(6));
    assert_eq!(gate.verdict(), Verdict::Pass);
}
