//! Tests of the gate: whom it fails, how soon, and whom it never does.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use wasm_fn_core::Weight;

use super::{
    Against, Arm, Bad, Baseline, Batch, Counts, Gate, GateFailure, GateSpec, Group, PastCounts, RATIOS,
    SignalEvidence, StateError, Trapped, Verdict, Waiting,
};
use crate::{Class, Event, Signal};

mod by_cohort;
mod groups;
mod median;
mod people;

const RUNS: u64 = 60;

fn weight(basis_points: u16) -> Weight {
    Weight::from_basis_points(basis_points).unwrap()
}

fn gate() -> Gate {
    beside(Counts::default(), Counts::default())
}

/// A gate beside stable, which did `stable` before, and `cohort` for the cohort.
fn beside(stable: Counts, cohort: Counts) -> Gate {
    let baseline = Baseline::Concurrent(Box::new(PastCounts { stable, cohort }));
    Gate::new(GateSpec::default(), 1, baseline).unwrap()
}

/// A gate against the past alone.
fn against(past: Counts) -> Gate {
    Gate::new(GateSpec::default(), 1, Baseline::Past(past)).unwrap()
}

/// `requests`, of which `bad` failed with a 5xx.
fn failing(requests: u64, bad: u64) -> Counts {
    let events = [Event::FailedAtAll, Event::Failed(Class::ServerError)];
    events.into_iter().fold(Counts::of(requests), |counts, event| counts.with(event, Bad::each(bad)))
}

/// `requests`, of which `bad` were slow.
fn slow(requests: u64, bad: u64) -> Counts {
    let events = [Event::Slow, Event::OverCeiling];
    events.into_iter().fold(Counts::of(requests), |counts, event| counts.with(event, Bad::each(bad)))
}

/// Responses of requests that drew their version.
fn batch(share: u16, canary: Counts, stable: Counts) -> Batch {
    let voices = canary.requests;
    Batch { canary, stable, voices, ..Batch::new(weight(share), Weight::ZERO) }
}

/// Those of a canary that everybody has.
fn alone(canary: Counts) -> Batch {
    batch(10_000, canary, Counts::default())
}

fn failed(gate: &Gate) -> bool {
    matches!(gate.verdict(), Verdict::Fail(_))
}

/// The signal that failed the gate.
#[track_caller]
fn failure(gate: &Gate) -> SignalEvidence {
    match gate.verdict() {
        Verdict::Fail(GateFailure::Signal(evidence)) => evidence,
        verdict => panic!("expected a failure by a signal, found {verdict:?}"),
    }
}

fn evidence(gate: &Gate, group: Group, signal: Signal) -> SignalEvidence {
    let mut signals = gate.evidence().signals.into_iter();
    signals.find(|found| (found.group, found.signal) == (group, signal)).unwrap()
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
        for seed in 0..RUNS / 4 {
            assert_eq!(simulate(seed, 1_000, [rate; 2], 4_000), None, "seed {seed}, rate {rate}");
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
    let waiting =
        Waiting { canary: 2, stable: 10_000, needed: 100, voices: None, by_cohort: false, failed: None };
    assert_eq!(gate.verdict(), Verdict::Wait(waiting));
    gate.observe(&batch(1, failing(1, 1), failing(0, 0)));
    assert!(failed(&gate), "the third of three at a share of 0.01 % is no coincidence");
}

#[test]
fn passing_needs_requests_on_both_sides_and_in_each_step() {
    let mut gate = gate();
    gate.observe(&batch(5_000, failing(1_000, 0), failing(99, 0)));
    assert!(matches!(gate.verdict(), Verdict::Wait(_)));
    gate.observe(&batch(5_000, failing(0, 0), failing(1, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.step();
    assert!(matches!(gate.verdict(), Verdict::Wait(Waiting { canary: 0, .. })));
}

#[test]
fn a_failure_is_final_and_keeps_its_numbers() {
    let mut gate = gate();
    gate.observe(&batch(1_000, failing(10, 10), failing(90, 0)));
    let evidence = failure(&gate);
    assert_eq!(evidence.signal, Signal::Errors);
    assert_eq!((evidence.canary.requests, evidence.canary_requests), (10, 10));
    assert_eq!((evidence.stable.requests, evidence.stable_requests), (0, 90));
    assert!(
        evidence.e_value() >= evidence.threshold() && (evidence.threshold() - 10_000.0 / 3.0).abs() < 1e-6
    );
    gate.observe(&batch(1_000, failing(10_000, 0), failing(90_000, 10_000)));
    assert_eq!(gate.verdict(), Verdict::Fail(GateFailure::Signal(evidence.clone())));
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
    let evidence = failure(&gate);
    assert_eq!(evidence.signal, Signal::ErrorsOf(Class::Trap));
}

/// Slow responses of the canary and of the baseline, at 10 % each.
fn beside_baseline(canary: Counts, baseline: Counts, stable: Counts) -> Batch {
    Batch { baseline, baseline_share: weight(1_000), ..batch(1_000, canary, stable) }
}

#[test]
fn latencies_are_compared_with_the_baseline_alone() {
    // Each side's slow responses are by its own limit; those of stable are nobody's measure.
    let mut equal = gate();
    equal.observe(&beside_baseline(slow(1_000, 60), slow(1_000, 60), slow(8_000, 0)));
    assert_eq!(equal.verdict(), Verdict::Pass);
    let mut worse = gate();
    worse.observe(&beside_baseline(slow(1_000, 60), slow(1_000, 10), slow(8_000, 4_000)));
    let evidence = failure(&worse);
    assert_eq!((evidence.signal, evidence.against), (Signal::Latency, Against::Baseline));
    assert_eq!((evidence.stable.requests, evidence.stable_requests), (10, 1_000));
    let mut without = gate();
    without.observe(&batch(1_000, slow(1_000, 1_000), slow(9_000, 0)));
    assert_eq!(without.verdict(), Verdict::Pass, "no baseline, nothing to compare with");
}

#[test]
fn odds_against_the_baseline_are_those_of_the_shares() {
    // Twice as many slow responses at twice the baseline's share are no more than expected.
    let batch = Batch {
        baseline: slow(10_000, 150),
        baseline_share: weight(1_000),
        ..batch(2_000, slow(20_000, 300), Counts::of(70_000))
    };
    let mut gate = gate();
    gate.observe(&batch);
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&Batch { baseline_share: weight(4_000), ..batch });
    assert!(failed(&gate), "at four tenths the baseline would have had twice as many, not half");
}

#[test]
fn failures_of_the_baseline_are_stables_too() {
    let mut gate = gate();
    gate.observe(&beside_baseline(failing(1_000, 20), failing(1_000, 180), failing(8_000, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    let evidence = evidence(&gate, Group::Placed, Signal::Errors);
    assert_eq!((evidence.stable.requests, evidence.stable_requests), (180, 9_000));
    assert_eq!(gate.evidence().baseline.requests, 1_000);
}

#[test]
fn percentiles_fail_only_above_one_percent() {
    let mut gate = gate();
    gate.observe(&beside_baseline(slow(10_000, 90), slow(10_000, 0), slow(80_000, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&beside_baseline(slow(100, 50), slow(100, 0), slow(800, 0)));
    assert_eq!(failure(&gate).signal, Signal::Latency);
}

#[test]
fn ceilings_hold_whatever_stable_does() {
    let spec = GateSpec { max_error_rate: Some(0.05), ..GateSpec::default() };
    let mut gate = Gate::new(spec, 1, Baseline::Concurrent(Box::default())).unwrap();
    gate.observe(&batch(5_000, failing(1_000, 50), failing(1_000, 50)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&batch(5_000, failing(1_000, 300), failing(1_000, 300)));
    let evidence = failure(&gate);
    assert_eq!((evidence.signal, evidence.rate_max), (Signal::MaxErrorRate, Some(0.05)));
}

#[test]
fn the_past_is_what_everybody_is_compared_with() {
    let past = failing(20_000, 200);
    let mut equal = against(past);
    equal.observe(&alone(failing(20_000, 220)));
    assert_eq!(equal.verdict(), Verdict::Pass);
    let mut worse = against(past);
    worse.observe(&alone(failing(1_000, 60)));
    assert_eq!(failure(&worse).against, Against::Past);
    assert_eq!((worse.evidence().stable, worse.evidence().past), (past, true));
}

#[test]
fn slow_responses_of_one_cluster_count_once_against_the_past() {
    let clustered = |clustered: Counts| Batch { clustered, ..alone(Counts::default()) };
    let new = || against(slow(10_000, 60));
    let (mut gate, mut each) = (new(), new());
    gate.observe(&alone(slow(30, 1)));
    gate.observe(&clustered(slow(100, 100)));
    (0..30).for_each(|_| each.observe(&alone(slow(4, 3))));
    assert!(failed(&each) && !failed(&gate));
    assert_eq!(gate.canary().bad(Event::Slow), Bad::each(101), "people are shown all of them");
    // Good responses of the cluster are no evidence either: slow ones after it are as rare as they were
    // before.
    let mut with_good = gate.clone();
    with_good.observe(&clustered(slow(10_000, 0)));
    for gate in [&mut gate, &mut with_good] {
        (0..20).for_each(|_| gate.observe(&alone(slow(1, 1))));
    }
    let log_e = |gate: &Gate| evidence(gate, Group::Placed, Signal::Latency).log_e;
    assert!(failed(&gate) && log_e(&gate) == log_e(&with_good), "twenty clusters are no chance");
}

#[test]
fn slow_responses_of_one_batch_or_of_a_stall_are_one_cause() {
    let mut gate = against(slow(10_000, 60));
    gate.observe(&alone(slow(100, 100)));
    let log_e = |gate: &Gate| evidence(gate, Group::Placed, Signal::Latency).log_e;
    let before = log_e(&gate);
    (0..100).for_each(|_| gate.observe(&Batch { stalled: true, ..alone(slow(1, 1)) }));
    assert!(!failed(&gate) && log_e(&gate) <= before);
}

#[test]
fn failures_and_what_the_baseline_is_held_to_as_well_count_in_a_cluster_too() {
    let mut gate = against(failing(10_000, 10));
    gate.observe(&Batch { clustered: failing(20, 20), ..alone(Counts::default()) });
    assert!(failed(&gate));
    let mut gate = self::gate();
    let clustered = slow(40, 40);
    gate.observe(&Batch { clustered, ..beside_baseline(Counts::default(), slow(40, 0), Counts::default()) });
    assert!(failed(&gate));
}

#[test]
fn a_share_of_nothing_teaches_nothing() {
    let mut gate = gate();
    gate.observe(&batch(0, failing(1_000, 1_000), failing(1_000, 0)));
    assert_eq!(gate.verdict(), Verdict::Pass);
}

#[test]
fn a_stored_gate_goes_on_in_a_step_that_begins_anew() {
    let mut whole = gate();
    whole.observe(&batch(1_000, failing(100, 4), failing(900, 0)));
    let mut stored = gate().resume(whole.state()).unwrap();
    assert_eq!(stored.step_requests(), 0);
    whole.step();
    assert_eq!(stored.state(), whole.state());
    for gate in [&mut whole, &mut stored] {
        gate.observe(&batch(1_000, failing(10, 2), failing(90, 0)));
    }
    assert_eq!(stored.verdict(), whole.verdict());
    assert!(failed(&whole));
}

#[test]
fn a_gate_that_is_stored_again_and_again_keeps_its_runs_bounded_and_in_order() {
    let mut gate = gate();
    for _ in 0..50 {
        gate.observe(&batch(1_000, failing(10, 1), failing(90, 9)));
        gate.renew();
        gate = self::gate().resume(gate.state()).unwrap();
    }
    assert_eq!(gate.state().start, 100);
    assert!(!failed(&gate));
}

#[test]
fn stored_evidence_is_checked() {
    let mut state = gate().state();
    state.checks[0].runs[0].logs = [f64::NAN; RATIOS.len()];
    assert_eq!(gate().resume(state.clone()).unwrap_err(), StateError::Malformed(Signal::Errors));
    state.checks.clear();
    assert_eq!(gate().resume(state).unwrap_err(), StateError::Missing(Signal::Errors));
}

#[test]
fn a_fault_that_begins_late_is_found_by_a_run_that_began_late() {
    let mut gate = gate();
    gate.observe(&batch(1_000, failing(100_000, 1_000), failing(900_000, 9_000)));
    gate.renew();
    let needed = (1..20).find(|_| {
        gate.observe(&batch(1_000, failing(1, 1), failing(9, 0)));
        failed(&gate)
    });
    assert!(needed.is_some_and(|needed| needed <= 8), "{needed:?}");
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
