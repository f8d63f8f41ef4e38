//! A run is good when nothing is missing and everything held.

use super::{Latency, Results, Row, Sample};
use crate::{
    budgets::{Check, Required, Unit},
    guests::Guest,
    machine::Machine,
    stats::Spread,
};

/// A run of two systems with one budget between them.
pub(crate) fn example() -> Results {
    let row = |system: &str, ours, cost: f64| Row {
        system: system.to_owned(),
        guest: Guest::Hello02,
        ours,
        samples: Ok(vec![Sample {
            requests_per_second: 1e6 / cost,
            cpu_us_per_request: cost,
            memory_max_bytes: 32 * 1024 * 1024,
        }]),
        latencies: Ok(vec![Latency { rate: 5e5 / cost, p50_us: 70.0, p99_us: 140.4, p999_us: 1200.0 }]),
    };
    Results {
        machine: Machine {
            processor: "Some Processor".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            cores: 2,
            date: "2026-11-24".to_owned(),
        },
        command: "cargo xtask bench --compare".to_owned(),
        versions: vec!["wasm-fn 0.1.0".to_owned(), "wasmtime 48.0.8".to_owned()],
        rounds: 1,
        seconds: 3,
        connections: 16,
        rows: vec![row("wasm-fn", true, 25.0), row("wasmtime serve", false, 100.0)],
        tls: None,
        checks: vec![Check {
            name: "wasm-fn, hello 0.2 / wasmtime serve, hello 0.2".to_owned(),
            required: Required::AtMost(0.27),
            unit: Unit::Ratio,
            found: Ok(Spread { low: 0.24, median: 0.25, high: 0.26 }),
        }],
        skipped: Vec::new(),
    }
}

#[test]
fn whole_run_within_its_budgets_is_good() {
    assert!(example().good());
}

#[test]
fn skipped_peer_takes_nothing_from_a_run() {
    let skipped = vec!["workerd: `workerd` cannot be started".to_owned()];
    assert!(Results { skipped, ..example() }.good());
}

#[test]
fn refused_figure_or_exceeded_budget_is_not_good() {
    let mut refused = example();
    refused.rows[1].samples = Err("the client was the bottleneck".to_owned());
    assert!(!refused.good());
    let mut late = example();
    late.rows[0].latencies = Err("the generator was late".to_owned());
    assert!(!late.good());
    let mut exceeded = example();
    exceeded.checks[0].required = Required::AtMost(0.2);
    assert!(!exceeded.good());
    let mut unknown = example();
    unknown.checks[0].found = Err("the client was the bottleneck".to_owned());
    assert!(!unknown.good());
}

#[test]
fn json_names_system_guest_and_figures() {
    let json = serde_json::to_value(example()).unwrap();
    assert_eq!(json["rows"][0]["guest"], "hello 0.2");
    assert_eq!(json["rows"][0]["samples"]["Ok"][0]["cpu_us_per_request"], 25.0);
    assert_eq!(json["checks"][0]["at_most"], 0.27);
    assert_eq!(json["checks"][0]["found"]["Ok"]["median"], 0.25);
}
