//! Tests of the gate: whom it fails, how soon, and whom it never does.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasm_fn_core::{Side, Weight};

use super::{Bad, Baseline, Batch, Counts, Failure, Gate, GateSpec, RATIOS, StateError, Verdict, Waiting};
use crate::{Class, Event, Signal};

const RUNS: u64 = 60;

fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

fn gate() -> Gate {
    Gate::new(GateSpec::default(), Baseline::Concurrent).unwrap()
}

/// `requests`, of which `bad` failed with a 5xx.
fn failing(requests: u64, bad: u64) -> Counts {
    let events = [Event::FailedAtAll, Event::Failed(Class::ServerError)];
    events.into_iter().fold(Counts::of(requests), |counts, event| counts.with(event, Bad::each(bad)))
}

fn batch(share: u16, canary: Counts, stable: Counts) -> Batch {
    Batch { canary, stable, ..Batch::new(weight(share)) }
}

fn failed(gate: &Gate) -> bool {
    matches!(gate.verdict(), Verdict::Fail(_))
}

/// Requests until a canary at `share` is failed, and its failures, if it is within `requests`.
fn simulate(seed: u64, share: u16, rates: [f64; 2], requests: u64) -> Option<(u64, u64)> {
    let (mut random, mut gate, mut failures) = (StdRng::seed_from_u64(seed), gate(), 0);
    let [stable, canary] = rates;
    for sent in 1..=requests {
        let on_canary = random.random_range(0..10_000) < share;
        let bad = random.random_bool(if on_canary { canary } else { stable });
        let one = failing(1, u64::from(bad));
        let both = if on_canary { [one, Counts::default()] } else { [Counts::default(), one] };
        failures += u64::from(bad && on_canary);
        gate.observe(&batch(share, both[0], both[1]));
        if failed(&gate) {
            return Some((sent, failures));
        }
    }
    None
}

#[track_caller]
fn check(canary: f64, median_max: u64, failures_max: u64) {
    let mut aborts: Vec<_> =
        (0..RUNS).map(|seed| simulate(seed, 1_000, [0.001, canary], 20_000).unwrap()).collect();
    aborts.sort_unstable();
    let (median, failures) = (aborts[aborts.len() / 2].0, aborts.iter().map(|abort| abort.1).max());
    assert!(median <= median_max && failures <= Some(failures_max), "{median} {failures:?}");
}

#[test]
fn a_broken_canary_fails_after_five_or_six_failures() {
    check(1.0, 60, 6);
}

#[test]
fn a_bad_canary_fails_soon() {
    check(0.1, 700, 12);
    check(0.02, 4_000, 25);
}

#[test]
fn an_equal_canary_is_not_failed() {
    for rate in [0.0, 0.01, 0.2] {
        for seed in 0..RUNS {
            assert_eq!(simulate(seed, 1_000, [rate; 2], 5_000), None, "seed {seed}, rate {rate}");
        }
    }
}

#[test]
fn shares_that_move_are_accounted_for() {
    for seed in 0..RUNS {
        let (mut random, mut gate) = (StdRng::seed_from_u64(seed), gate());
        for share in [100, 1_000, 5_000, 9_000, 200, 9_999] {
            for _ in 0..300 {
                let on_canary = random.random_range(0..10_000) < share;
                let bad = failing(1, 1);
                let both = if on_canary { [bad, Counts::default()] } else { [Counts::default(), bad] };
                gate.observe(&batch(share, both[0], both[1]));
            }
            gate.step();
        }
        assert!(!failed(&gate), "seed {seed}");
    }
}

#[test]
fn too_few_requests_neither_pass_nor_fail() {
    let mut gate = gate();
    assert!(matches!(gate.verdict(), Verdict::Wait(_)));
    gate.observe(&batch(1, failing(2, 2), failing(10_000, 0)));
    assert_eq!(gate.verdict(), Verdict::Wait(Waiting { canary: 2, stable: 10_000, needed: 100 }));
    gate.observe(&batch(1, failing(1, 1), failing(0, 0)));
    assert!(failed(&gate), "the third of three at a share of 0.01 % is no coincidence");
}

#[test]
fn passing_needs_requests_on_both_sides_and_in_each_step() {
    let mut gate = gate();
    gate.observe(&batch(9_000, failing(1_000, 0), failing(99, 0)));
    assert!(matches!(gate.verdict(), Verdict::Wait(_)));
    gate.observe(&batch(9_000, failing(0, 0), failing(1, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.step();
    assert!(matches!(gate.verdict(), Verdict::Wait(Waiting { canary: 0, .. })));
}

#[test]
fn a_failure_is_final_and_keeps_its_numbers() {
    let mut gate = gate();
    gate.observe(&batch(1_000, failing(10, 10), failing(90, 0)));
    let Verdict::Fail(Failure::Signal(evidence)) = gate.verdict() else { panic!("expected a failure") };
    assert_eq!(evidence.signal, Signal::Errors);
    assert_eq!((evidence.canary.requests, evidence.canary_requests), (10, 10));
    assert_eq!((evidence.stable.requests, evidence.stable_requests), (0, 90));
    assert!(evidence.e_value() >= evidence.threshold() && (evidence.threshold() - 2_000.0).abs() < 1e-6);
    gate.observe(&batch(1_000, failing(10_000, 0), failing(90_000, 10_000)));
    assert_eq!(gate.verdict(), Verdict::Fail(Failure::Signal(evidence.clone())));
    let text = evidence.to_string();
    assert!(text.starts_with("errors: 10 of 10 requests (100.00%) on the canary, 0 of 90"), "{text}");
}

#[test]
fn one_class_is_found_behind_another() {
    let mut gate = gate();
    let trap = Event::Failed(Class::Trap);
    let canary = failing(1_000, 300).with(trap, Bad::each(12));
    let stable = failing(9_000, 2_700).with(trap, Bad::each(0));
    gate.observe(&batch(1_000, canary, stable));
    let Verdict::Fail(Failure::Signal(evidence)) = gate.verdict() else { panic!("expected a failure") };
    assert_eq!(evidence.signal, Signal::ErrorsOf(Class::Trap));
}

#[test]
fn percentiles_fail_only_above_one_percent() {
    let slow = |requests, bad| Counts::of(requests).with(Event::Slow, Bad::each(bad));
    let mut gate = gate();
    gate.observe(&batch(1_000, slow(10_000, 90), slow(90_000, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&batch(1_000, slow(100, 50), slow(900, 0)));
    let Verdict::Fail(Failure::Signal(evidence)) = gate.verdict() else { panic!("expected a failure") };
    assert_eq!(evidence.signal, Signal::Latency);
}

#[test]
fn one_user_for_whom_everything_fails_fails_nothing() {
    let mut gate = gate();
    let counts = [Event::FailedAtAll, Event::Failed(Class::Trap)]
        .into_iter()
        .fold(Counts::of(1_000), |counts, event| counts.with(event, Bad { requests: 500, units: 1 }));
    gate.observe(&batch(1_000, counts, Counts::of(9_000)));
    (0..500).for_each(|_| gate.trap(Side::Canary, 1, Some(77)));
    assert_eq!(gate.verdict(), Verdict::Pass);
}

#[test]
fn a_novel_trap_fails_at_its_third_hit() {
    let mut gate = gate();
    gate.trap(Side::Stable, 1, None);
    for _ in 0..2 {
        gate.trap(Side::Canary, 1, None);
        gate.trap(Side::Canary, 2, None);
    }
    assert!(!failed(&gate));
    gate.trap(Side::Canary, 1, None);
    assert!(!failed(&gate));
    gate.trap(Side::Canary, 2, None);
    assert_eq!(gate.verdict(), Verdict::Fail(Failure::NovelTrap { fingerprint: 2, hits: 3 }));
}

#[test]
fn ceilings_hold_whatever_stable_does() {
    let spec = GateSpec { max_error_rate: Some(0.05), ..GateSpec::default() };
    let mut gate = Gate::new(spec, Baseline::Concurrent).unwrap();
    gate.observe(&batch(5_000, failing(1_000, 50), failing(1_000, 50)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&batch(5_000, failing(1_000, 300), failing(1_000, 300)));
    let Verdict::Fail(Failure::Signal(evidence)) = gate.verdict() else { panic!("expected a failure") };
    assert_eq!((evidence.signal, evidence.rate_max), (Signal::MaxErrorRate, Some(0.05)));
}

#[test]
fn the_past_is_what_everybody_is_compared_with() {
    let past = Baseline::Past(failing(20_000, 200));
    let mut equal = Gate::new(GateSpec::default(), past.clone()).unwrap();
    equal.observe(&batch(10_000, failing(20_000, 220), Counts::default()));
    assert_eq!(equal.verdict(), Verdict::Pass);
    let mut worse = Gate::new(GateSpec::default(), past.clone()).unwrap();
    worse.observe(&batch(10_000, failing(1_000, 60), Counts::default()));
    assert!(failed(&worse));
    assert_eq!(worse.evidence().baseline, past);
    let mut unknown = Gate::new(GateSpec::default(), Baseline::Past(Counts::default())).unwrap();
    unknown.observe(&batch(10_000, failing(1_000, 1_000), Counts::default()));
    assert!(matches!(unknown.verdict(), Verdict::Wait(_)), "nothing is known of the past");
}

/// `requests`, of which `bad` were slow.
fn slow(requests: u64, bad: u64) -> Counts {
    let events = [Event::Slow, Event::OverCeiling];
    events.into_iter().fold(Counts::of(requests), |counts, event| counts.with(event, Bad::each(bad)))
}

#[test]
fn slow_responses_of_one_cluster_count_once_against_the_past() {
    let clustered = |counts| Batch { clustered: true, ..batch(10_000, counts, Counts::default()) };
    let new = || Gate::new(GateSpec::default(), Baseline::Past(slow(10_000, 60))).unwrap();
    let (mut gate, mut each) = (new(), new());
    gate.observe(&batch(10_000, slow(30, 1), Counts::default()));
    gate.observe(&clustered(slow(100, 100)));
    each.observe(&batch(10_000, slow(130, 101), Counts::default()));
    assert!(failed(&each) && !failed(&gate));
    assert_eq!(gate.canary().bad(Event::Slow), Bad::each(101), "people are shown all of them");
    // Good responses of the cluster are no evidence either: slow ones after it are as rare as they were before.
    let mut with_good = gate.clone();
    with_good.observe(&clustered(slow(10_000, 0)));
    for gate in [&mut gate, &mut with_good] {
        (0..8).for_each(|_| gate.observe(&batch(10_000, slow(1, 1), Counts::default())));
    }
    let log_e = |gate: &Gate| {
        let signals = gate.evidence().signals;
        signals.iter().find(|signal| signal.signal == Signal::Latency).unwrap().log_e
    };
    assert!(failed(&gate) && log_e(&gate) == log_e(&with_good), "eight clusters are no chance");
}

#[test]
fn failures_and_what_stable_is_held_to_as_well_count_in_a_cluster_too() {
    let mut gate = Gate::new(GateSpec::default(), Baseline::Past(failing(10_000, 10))).unwrap();
    gate.observe(&Batch { clustered: true, ..batch(10_000, failing(20, 20), Counts::default()) });
    assert!(failed(&gate));
    let mut gate = self::gate();
    gate.observe(&Batch { clustered: true, ..batch(1_000, slow(20, 20), slow(180, 0)) });
    assert!(failed(&gate));
}

#[test]
fn a_share_of_nothing_or_everything_teaches_nothing_beside_stable() {
    for share in [0, 10_000] {
        let mut gate = gate();
        gate.observe(&batch(share, failing(1_000, 1_000), failing(1_000, 0)));
        assert_eq!(gate.verdict(), Verdict::Pass);
    }
}

#[test]
fn a_stored_gate_goes_on_where_it_stood() {
    let mut whole = gate();
    whole.observe(&batch(1_000, failing(100, 4), failing(900, 0)));
    whole.step();
    let mut stored = gate().resume(whole.state()).unwrap();
    assert_eq!(stored.evidence(), whole.evidence());
    for gate in [&mut whole, &mut stored] {
        gate.observe(&batch(1_000, failing(10, 2), failing(90, 0)));
    }
    assert_eq!(stored.verdict(), whole.verdict());
    assert!(failed(&whole));
}

#[test]
fn a_gate_stored_with_a_step_begins_that_step() {
    let mut whole = gate();
    whole.observe(&batch(1_000, failing(100, 4), failing(900, 0)));
    let stored = gate().resume(whole.state().stepped()).unwrap();
    whole.step();
    assert_eq!(stored.state(), whole.state());
    assert_eq!(stored.step_requests(), 0);
}

#[test]
fn stored_evidence_is_checked() {
    let mut state = gate().state();
    state.signals[0].logs = vec![[f64::NAN; RATIOS.len()]];
    assert_eq!(gate().resume(state.clone()).unwrap_err(), StateError::Malformed(Signal::Errors));
    state.signals.clear();
    assert_eq!(gate().resume(state).unwrap_err(), StateError::Missing(Signal::Errors));
}

#[test]
fn counts_at_their_bounds_do_not_overflow() {
    let mut gate = gate();
    for _ in 0..3 {
        gate.observe(&batch(1, failing(u64::MAX, u64::MAX), failing(u64::MAX, u64::MAX)));
    }
    assert!(gate.evidence().signals.iter().all(|signal| !signal.log_e.is_nan()));
}

#[test]
fn e_values_are_short_at_every_size() {
    let values = [0.0, 1.349, 12.4, 999_999.0, 3.14e12, f64::MAX];
    let shown = values.map(|value| super::Factor(value).to_string());
    assert_eq!(shown, ["0.00", "1.35", "12", "999999", "3.1e12", "1.8e308"]);
}
