//! Tests of latency at the median: in steps, beside a baseline.

use std::time::Duration;

use wasm_fn_core::Outcome;

use super::*;
use crate::{Response, SideLimits, Thresholds};

/// What the baseline is held to, and the canary at a tolerance of 1.2.
fn thresholds() -> Thresholds {
    let median = Duration::from_micros(5_000);
    let median_above = Some(SideLimits { canary: median.mul_f64(1.2), baseline: median });
    Thresholds { median_above, ..Thresholds::default() }
}

fn taking(arm: Arm, millis: f64, user: Option<u64>) -> Response {
    let latency = Duration::from_secs_f64(millis / 1_000.0);
    let (outcome, memory_peak_bytes) = (Outcome::Success, 0);
    Response { arm, outcome, latency, memory_peak_bytes, user, clustered: false, sampled: true }
}

/// Latencies of different shapes with a median of 5 ms, by the place of a response among all.
const SHAPES: [fn(f64) -> f64; 4] = [
    |place| 5.0 * (0.2 * (place / (1.0 - place)).ln()).exp(),
    |place| -5.0 / 2.0_f64.ln() * (1.0 - place).ln(),
    |place| 5.0 / 2.0_f64.powf(1.0 / 1.5) * (1.0 - place).powf(-1.0 / 1.5),
    |place| if place < 0.45 { 1.0 } else { 4.5 + place },
];

/// Canary and baseline at a tenth each, the canary so many times slower, for at most so many requests of
/// both; after how many it fails.
fn simulate(seed: u64, shape: fn(f64) -> f64, slower: f64, requests: u64) -> Option<(u64, Signal)> {
    let (mut random, mut gate) = (StdRng::seed_from_u64(seed), gate());
    for sent in 1..=requests {
        let (arm, times) = if random.random_bool(0.5) { (Arm::Canary, slower) } else { (Arm::Baseline, 1.0) };
        let mut batch = Batch::new(weight(1_000), weight(1_000));
        batch.add(&taking(arm, times * shape(random.random()), None), &thresholds());
        gate.observe(&batch);
        if failed(&gate) {
            return Some((sent, failure(&gate).signal));
        }
    }
    None
}

#[test]
fn a_canary_slower_by_less_than_tolerated_is_above_no_more_often_than_the_baseline() {
    let places = || (0..10_000).map(|place| (f64::from(place) + 0.5) / 10_000.0);
    for shape in SHAPES {
        let mut batch = Batch::new(weight(1_000), weight(1_000));
        for place in places() {
            batch.add(&taking(Arm::Canary, 1.19 * shape(place), None), &thresholds());
            batch.add(&taking(Arm::Baseline, shape(place), None), &thresholds());
        }
        let above = |arm| batch.of(arm).bad(Event::AboveMedian).requests;
        assert!(above(Arm::Canary) <= above(Arm::Baseline) && above(Arm::Baseline) > 4_900);
        for seed in 0..RUNS / 20 {
            assert_eq!(simulate(seed, shape, 1.19, 5_000), None, "seed {seed}");
        }
    }
}

#[test]
fn a_canary_that_is_slower_throughout_is_found_at_the_median() {
    let mut all: Vec<_> =
        (0..RUNS).map(|seed| simulate(seed, |place| 4.8 + 0.4 * place, 1.5, 5_000).unwrap()).collect();
    all.sort_unstable();
    assert!(all.iter().all(|(_, signal)| *signal == Signal::LatencyMedian));
    let median = all[all.len() / 2].0;
    assert!(median <= 500, "{median}");
}

/// So many requests, of which so many were sampled and so many above.
fn above(requests: u64, sampled: u64, above: u64) -> Counts {
    let mut counts = Counts::of(requests).with(Event::AboveMedian, Bad::each(above));
    counts.sampled = sampled;
    counts
}

#[test]
fn the_median_is_compared_with_the_baseline_and_told_of_the_sample() {
    let mut gate = gate();
    gate.observe(&beside_baseline(above(90_000, 300, 150), above(90_000, 300, 150), Counts::of(1)));
    assert_eq!(gate.verdict(), Verdict::Pass);
    gate.observe(&beside_baseline(above(90_000, 300, 290), above(90_000, 300, 110), Counts::of(1)));
    // Few of all requests are sampled: the share that a 99th percentile needs is not asked for.
    let evidence = failure(&gate);
    assert_eq!((evidence.signal, evidence.against), (Signal::LatencyMedian, Against::Baseline));
    assert_eq!((evidence.canary_requests, evidence.stable_requests), (600, 600));
    let text = evidence.to_string();
    let expected = "latency_p50: 440 of 600 sampled requests above the median (73.33%) on the canary, 260 of \
                    600 (43.33%) on the baseline;";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_watch_knows_no_median() {
    let mut watch = against(above(10_000, 1_000, 500));
    watch.observe(&alone(above(1_000, 1_000, 1_000)));
    assert_eq!(watch.verdict(), Verdict::Pass);
    assert!(watch.evidence().signals.iter().all(|test| test.signal != Signal::LatencyMedian));
    // Nor does a step in which stable has nobody.
    let mut silent = beside(above(10_000, 1_000, 500), Counts::default());
    silent.observe(&alone(above(1_000, 1_000, 1_000)));
    assert_eq!(silent.verdict(), Verdict::Pass);
}

#[test]
fn a_user_is_above_the_median_once_a_run_and_pushes_nobody_out() {
    let of_users = |arm, users: std::ops::Range<u64>| {
        let mut batch = Batch::new(weight(1_000), weight(1_000));
        users.for_each(|user| batch.add(&taking(arm, 9.0, Some(user)), &thresholds()));
        batch
    };
    let mut gate = gate();
    (0..1_000).for_each(|_| gate.observe(&of_users(Arm::Canary, 7..8)));
    assert!(!failed(&gate));
    assert_eq!(gate.canary().bad(Event::AboveMedian), Bad { requests: 1_000, units: 1 });
    (0..30).for_each(|round| gate.observe(&of_users(Arm::Baseline, 1_000 * round..1_000 * (round + 1))));
    assert_eq!(gate.users.len(), 0);
    assert!((1_000..=10_000).contains(&gate.users_above_median.len()));
}

#[test]
fn a_gate_that_was_stored_without_the_median_begins_with_it_anew() {
    let mut before = gate();
    before.observe(&beside_baseline(above(1_000, 100, 60), above(1_000, 100, 50), failing(8_000, 3)));
    before.renew();
    let mut state = before.state();
    state.checks.retain(|check| check.signal != Signal::LatencyMedian);
    let resumed = gate().resume(state.clone()).unwrap();
    let runs = |gate: &Gate, signal| {
        let checks = gate.state().checks;
        checks.into_iter().find(|check| check.signal == signal).unwrap().runs
    };
    let (median, errors) = (runs(&resumed, Signal::LatencyMedian), runs(&resumed, Signal::Errors));
    assert!(median.iter().all(|run| run.hits == 0 && run.logs == [0.0; RATIOS.len()]));
    assert_eq!(errors[..2], before.state().checks[0].runs);
    let starts = |runs: &[crate::Run]| runs.iter().map(|run| run.start).collect::<Vec<_>>();
    assert_eq!(starts(&median), starts(&errors));
    state.checks.retain(|check| check.signal != Signal::Latency);
    assert_eq!(gate().resume(state).unwrap_err(), StateError::Missing(Signal::Latency));
}
