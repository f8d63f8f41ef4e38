//! Tests of what is judged apart: a canary without stable beside it, cohorts, and what nothing is known of.

use super::*;

#[test]
fn a_canary_that_everybody_has_by_hand_is_compared_with_stables_past() {
    let mut worse = beside(failing(20_000, 200), Counts::default());
    worse.observe(&alone(failing(1_000, 60)));
    let evidence = failure(&worse);
    assert_eq!((evidence.group, evidence.against), (Group::Alone, Against::Past));
    assert_eq!(evidence.stable_requests, 20_000);
    let mut equal = beside(failing(20_000, 200), Counts::default());
    equal.observe(&alone(failing(20_000, 200)));
    assert_eq!(equal.verdict(), Verdict::Pass);
    assert!(equal.evidence().past);
}

/// Whether the comparison with stable's past has learnt nothing: its only run has its own part of alpha.
fn says_nothing(gate: &Gate) -> bool {
    (evidence(gate, Group::Alone, Signal::Errors).log_e - 0.8_f64.ln()).abs() < 1e-9
}

#[test]
fn a_stable_that_has_fallen_silent_is_compared_by_its_past() {
    let mut gate = beside(failing(20_000, 20), Counts::default());
    gate.observe(&batch(9_999, failing(99, 99), Counts::default()));
    assert!(says_nothing(&gate), "too few to call it silent");
    gate.observe(&batch(9_999, failing(1, 0), Counts::default()));
    gate.observe(&batch(9_999, failing(20, 20), Counts::default()));
    assert_eq!(failure(&gate).group, Group::Alone);
}

#[test]
fn while_stable_is_heard_its_past_says_nothing() {
    let mut gate = beside(failing(20_000, 0), Counts::default());
    // Everything fails for everybody.
    (0..10).for_each(|_| gate.observe(&batch(5_000, failing(1_000, 1_000), failing(1_000, 1_000))));
    assert_eq!(gate.verdict(), Verdict::Pass);
    assert!(says_nothing(&gate));
}

#[test]
fn without_a_past_the_floor_is_what_a_canary_must_stay_above() {
    let gate = || against(Counts::default());
    let mut broken = gate();
    broken.observe(&alone(failing(19, 19)));
    assert!(matches!(broken.verdict(), Verdict::Wait(_)), "nineteen are too few");
    broken.observe(&alone(failing(1, 0)));
    assert_eq!(broken.verdict(), Verdict::Fail(GateFailure::Floor { failed: 19, requests: 20 }));
    let mut half = gate();
    half.observe(&alone(failing(1_000, 499)));
    assert!(!failed(&half));
    half.observe(&alone(failing(2, 2)));
    assert!(failed(&half));
}

#[test]
fn the_floor_is_not_asked_where_a_past_is_known_or_stable_is_beside() {
    let mut known = against(failing(100, 60));
    known.observe(&alone(failing(100, 60)));
    let mut beside = gate();
    beside.observe(&batch(5_000, failing(100, 60), failing(100, 60)));
    assert!(!failed(&known) && !failed(&beside));
    let mut by_hand = gate();
    by_hand.observe(&alone(failing(20, 20)));
    assert!(
        matches!(by_hand.verdict(), Verdict::Fail(GateFailure::Floor { .. })),
        "100 % with nothing known"
    );
}

#[test]
fn a_version_that_breaks_after_a_long_good_time_is_below_the_floor() {
    let mut gate = against(Counts::default());
    gate.observe(&alone(failing(100_000, 0)));
    (0..200).for_each(|_| gate.observe(&alone(failing(1, 1))));
    assert!(matches!(gate.verdict(), Verdict::Fail(GateFailure::Floor { .. })));
    let mut by_hand = self::gate();
    by_hand.observe(&batch(1_000, failing(10_000, 0), failing(90, 0)));
    by_hand.step();
    by_hand.observe(&alone(failing(20, 20)));
    assert!(failed(&by_hand), "what it did beside stable is no matter");
}

#[test]
fn what_failed_on_stable_as_often_is_no_fault_of_the_canarys() {
    let mut gate = gate();
    gate.observe(&batch(5_000, failing(200, 200), failing(200, 200)));
    gate.step();
    gate.observe(&alone(failing(100, 100)));
    assert!(!failed(&gate));
}

#[test]
fn a_few_users_are_no_floor() {
    let mut gate = against(Counts::default());
    let counts = failing(100, 100);
    let bad = Bad { requests: 100, units: 2 };
    gate.observe(&alone(counts.with(Event::FailedAtAll, bad)));
    assert!(!failed(&gate), "two users who fail all the time");
    gate.observe(&alone(counts.with(Event::FailedAtAll, Bad { requests: 100, units: 1 })));
    assert!(failed(&gate));
}

/// Responses to the cohort's requests, while stable has `stable`.
fn cohort(cohort: Counts, stable: Counts) -> Batch {
    Batch { cohort, ..batch(100, Counts::default(), stable) }
}

#[test]
fn a_cohort_is_compared_with_its_own_past() {
    let new = || beside(failing(10_000, 10), failing(1_000, 200));
    let mut equal = new();
    (0..100).for_each(|_| equal.observe(&cohort(failing(10, 2), failing(90, 0))));
    assert!(!failed(&equal));
    let mut worse = new();
    (0..100).for_each(|_| worse.observe(&cohort(failing(10, 8), failing(90, 0))));
    let evidence = failure(&worse);
    assert_eq!(
        (evidence.group, evidence.signal, evidence.stable_requests),
        (Group::Cohort, Signal::Errors, 1_000)
    );
    assert!(evidence.to_string().contains("requests of a cohort"), "{evidence}");
}

#[test]
fn a_cohort_without_a_past_may_fail_a_little_more_than_others() {
    let new = || beside(failing(10_000, 0), Counts::default());
    let mut odd = new();
    (0..200).for_each(|_| odd.observe(&cohort(failing(25, 1), failing(75, 0))));
    assert!(!failed(&odd));
    let mut broken = new();
    let needed = (1..=20).find(|_| {
        broken.observe(&cohort(failing(1, 1), failing(9, 0)));
        failed(&broken)
    });
    assert!(needed.is_some(), "{:?}", broken.evidence());
}

#[test]
fn what_fails_for_everybody_is_not_the_cohorts() {
    let mut gate = beside(failing(10_000, 10), failing(1_000, 1));
    gate.observe(&cohort(failing(0, 0), failing(60, 60)));
    (0..100).for_each(|_| gate.observe(&cohort(failing(5, 5), failing(60, 60))));
    assert!(!failed(&gate));
    let recovered = cohort(failing(0, 0), failing(500, 0));
    gate.observe(&recovered);
    (0..10).for_each(|_| gate.observe(&cohort(failing(5, 5), failing(60, 0))));
    assert_eq!(failure(&gate).group, Group::Cohort);
}

#[test]
fn an_outage_that_hits_the_cohort_first_is_not_the_cohorts() {
    for part in [1, 10, 40] {
        let mut gate = beside(failing(10_000, 10), failing(1_000, 1));
        for bad in [0, 1, 0, 1] {
            for _ in 0..200 {
                let mut each = |cohort: u64, stable: u64| {
                    gate.observe(&self::cohort(failing(cohort, bad * cohort), failing(stable, bad * stable)));
                };
                (0..part / 10 + 1).for_each(|_| each(1, 0));
                (0..10).for_each(|_| each(0, 1));
            }
        }
        assert!(!failed(&gate), "{part} of the cohort");
    }
}

#[test]
fn a_cohort_of_which_nothing_is_known_has_a_floor() {
    let mut gate = gate();
    gate.observe(&cohort(failing(20, 20), Counts::default()));
    assert_eq!(gate.verdict(), Verdict::Fail(GateFailure::Floor { failed: 20, requests: 20 }));
    let mut beside = self::gate();
    beside.observe(&cohort(failing(0, 0), failing(10_000, 100)));
    beside.observe(&cohort(failing(20, 20), failing(0, 0)));
    assert!(failed(&beside), "what stable does now is no past");
}

#[test]
fn ceilings_hold_for_cohorts_too() {
    let spec = GateSpec { errors: None, max_error_rate: Some(0.05), ..GateSpec::default() };
    let mut gate = Gate::new(spec, 1, Baseline::Concurrent(Box::default())).unwrap();
    gate.observe(&cohort(failing(1_000, 300), failing(1_000, 300)));
    let evidence = failure(&gate);
    assert_eq!((evidence.group, evidence.signal), (Group::Cohort, Signal::MaxErrorRate));
}

fn trapped(arm: Arm, fingerprint: u64, share: u16) -> Trapped {
    Trapped { arm, fingerprint, user: None, share: weight(share), begun: 1_000 }
}

#[test]
fn a_novel_trap_fails_when_its_hits_are_no_chance_at_the_share() {
    let hits = |share| {
        let mut gate = gate();
        (1..100).find(|_| {
            gate.trap(&trapped(Arm::Canary, 1, share));
            failed(&gate)
        })
    };
    assert_eq!([1, 100, 1_000, 5_000].map(hits), [Some(3), Some(3), Some(6), Some(17)]);
}

#[test]
fn a_trap_of_stable_or_of_the_baseline_is_known() {
    for arm in [Arm::Stable, Arm::Baseline] {
        let mut gate = gate();
        gate.trap(&trapped(arm, 1, 0));
        (0..100).for_each(|_| gate.trap(&trapped(Arm::Canary, 1, 100)));
        assert!(!failed(&gate));
        let mut resumed = self::gate().resume(gate.state()).unwrap();
        (0..100).for_each(|_| resumed.trap(&trapped(Arm::Canary, 1, 100)));
        assert!(!failed(&resumed), "it stays known");
    }
}

#[test]
fn a_novel_trap_against_the_past_fails_by_how_long_that_is() {
    let hits = |past: u64| {
        let mut gate = against(Counts::of(past));
        (1..50).find(|_| {
            gate.trap(&trapped(Arm::Canary, 1, 10_000));
            failed(&gate)
        })
    };
    assert_eq!(hits(0), None);
    let (short, long) = (hits(1_000).unwrap(), hits(1_000_000).unwrap());
    assert!(short > long && long == 3, "{short} {long}");
}

#[test]
fn traps_of_a_cohort_are_compared_with_stables_past() {
    let mut gate = beside(Counts::of(1_000_000), Counts::default());
    (0..3).for_each(|_| gate.trap(&trapped(Arm::Cohort, 1, 100)));
    assert_eq!(gate.verdict(), Verdict::Fail(GateFailure::NovelTrap { fingerprint: 1, hits: 3 }));
    assert_eq!(gate.novel_hits(1), Some(3));
}
