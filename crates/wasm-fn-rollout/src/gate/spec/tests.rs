//! Tests of what a gate may ask for.

use std::time::Duration;

use super::{AlphaBudget, Floor, GateError, GateSpec, Group};
use crate::{Baseline, Gate, Signal};

fn concurrent() -> Baseline {
    Baseline::Concurrent(Box::default())
}

#[track_caller]
fn check(spec: GateSpec, expected: &str) {
    let error = Gate::new(spec, 1, concurrent()).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn the_default_is_a_gate() {
    assert!(Gate::new(GateSpec::default(), 1, concurrent()).is_ok());
}

#[test]
fn values_out_of_bounds_are_named() {
    let spec = GateSpec::default;
    for alpha in [0.0, -0.1, 0.5, 1.0, f64::NAN, f64::INFINITY] {
        check(GateSpec { alpha, ..spec() }, &format!("alpha is {alpha}, expected more than 0"));
    }
    for found in [0.9, -1.0, 100.1, f64::NAN, f64::INFINITY] {
        check(GateSpec { errors: Some(found), ..spec() }, &format!("errors tolerates {found} times"));
        check(GateSpec { latency_p99: Some(found), ..spec() }, "latency_p99 tolerates");
        check(GateSpec { memory_p99: Some(found), ..spec() }, "memory_p99 tolerates");
    }
    for rate in [0.0, 1.0, -0.1, f64::NAN] {
        check(GateSpec { max_error_rate: Some(rate), ..spec() }, "max_error_rate is");
    }
    check(GateSpec { max_latency_p99: Some(Duration::ZERO), ..spec() }, "max_latency_p99 is 0");
    check(GateSpec { min_requests: 0, ..spec() }, "min_requests is 0");
    for (error_rate, requests) in [(0.0, 20), (1.1, 20), (f64::NAN, 20), (0.5, 2)] {
        let floor = Floor { error_rate, requests };
        check(GateSpec { floor, ..spec() }, &format!("the floor is {error_rate} of {requests} requests"));
    }
}

#[test]
fn a_gate_without_signals_is_none() {
    let spec = GateSpec { errors: None, latency_p99: None, memory_p99: None, ..GateSpec::default() };
    assert_eq!(spec.check(), Err(GateError::NoSignal));
}

/// A gate with every signal there is.
fn everything() -> GateSpec {
    GateSpec {
        max_error_rate: Some(0.1),
        max_latency_p99: Some(Duration::from_secs(1)),
        ..GateSpec::default()
    }
}

#[test]
fn parts_of_alpha_never_exceed_it_over_all_gates_of_a_rollout() {
    let only_latency = GateSpec { errors: None, memory_p99: None, ..GateSpec::default() };
    for spec in [everything(), only_latency, GateSpec::default()] {
        for beside_first in [true, false] {
            let of = |gate_no: u32| {
                let budget = spec.budget(gate_no, beside_first && gate_no != 2);
                assert!(budget.traps > 0.0 && budget.tests.iter().all(|test| test.2 > 0.0));
                budget.traps + budget.tests.iter().map(|test| test.2).sum::<f64>()
            };
            let sum: f64 = (1..=10_000).map(of).sum();
            assert!(sum <= spec.alpha * (1.0 + 1e-9), "{sum}");
            assert!(sum > 0.85 * spec.alpha, "{sum}");
        }
    }
}

#[test]
fn pooled_failures_have_half_and_the_others_equal_parts() {
    let AlphaBudget { tests, traps } = everything().budget(1, true);
    let placed: Vec<_> = tests.iter().filter(|test| test.0 == Group::Placed).collect();
    assert_eq!(placed.len(), Signal::ALL.len());
    let whole = 0.75 * 0.001 * 0.8;
    for (_, signal, alpha) in placed {
        let expected = match signal {
            Signal::Errors => whole / 2.0,
            Signal::Latency | Signal::LatencyMedian => whole / 2.0 / 10.0 / 2.0,
            _ => whole / 2.0 / 10.0,
        };
        assert!((alpha - expected).abs() < 1e-12, "{signal}: {alpha}");
    }
    assert!((traps - whole / 20.0).abs() < 1e-12);
    let of = |wanted| {
        let of_group = tests.iter().filter(|(group, ..)| *group == wanted);
        of_group.map(|&(_, signal, _)| signal).collect::<Vec<_>>()
    };
    assert_eq!(of(Group::Alone), [Signal::Errors, Signal::Latency, Signal::Memory]);
    assert_eq!(of(Group::Cohort), [Signal::Errors, Signal::MaxErrorRate, Signal::MaxLatency]);
}

#[test]
fn the_past_has_all_of_alpha_where_there_is_nothing_else() {
    let AlphaBudget { tests, traps } = GateSpec::default().budget(1, false);
    assert!(tests.iter().all(|test| test.0 == Group::Placed && test.1 != Signal::LatencyMedian));
    let sum: f64 = traps + tests.iter().map(|test| test.2).sum::<f64>();
    assert!((sum - 0.000_75).abs() < 1e-12, "{sum}");
}

#[test]
fn later_gates_have_less_and_none_has_nothing() {
    let errors = |gate_no| GateSpec::default().budget(gate_no, true).tests[0].2;
    assert!([1, 2, 3, 4, 1_000_000, u32::MAX].windows(2).all(|pair| errors(pair[0]) > errors(pair[1])));
    assert!(errors(u32::MAX) > 0.0);
}
