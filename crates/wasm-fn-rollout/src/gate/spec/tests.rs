//! Tests of what a gate may ask for.

use std::time::Duration;

use super::{GateError, GateSpec};
use crate::{Baseline, Gate, Signal};

#[track_caller]
fn check(spec: GateSpec, expected: &str) {
    let error = Gate::new(spec, Baseline::Concurrent).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn the_default_is_a_gate() {
    assert!(Gate::new(GateSpec::default(), Baseline::Concurrent).is_ok());
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
}

#[test]
fn a_gate_without_signals_is_none() {
    let spec = GateSpec { errors: None, latency_p99: None, memory_p99: None, ..GateSpec::default() };
    assert_eq!(spec.check(), Err(GateError::NoSignal));
}

#[test]
fn parts_of_alpha_never_exceed_it() {
    let all = GateSpec {
        max_error_rate: Some(0.1),
        max_latency_p99: Some(Duration::from_secs(1)),
        ..GateSpec::default()
    };
    assert_eq!(all.alphas().len(), Signal::ALL.len());
    let alone = GateSpec {
        errors: None,
        memory_p99: None,
        max_error_rate: None,
        max_latency_p99: None,
        ..all.clone()
    };
    assert_eq!(alone.alphas(), [(Signal::Latency, 0.001)]);
    for spec in [all, alone, GateSpec::default()] {
        let sum: f64 = spec.alphas().iter().map(|(_, alpha)| alpha).sum();
        assert!((sum - spec.alpha).abs() < 1e-12, "{sum}");
    }
}
