//! Answers of nodes for the tests of the state and the picture.

use serde_json::json;
use wasm_fn_api as api;

/// A function in one stage, without a rollout.
pub(super) fn status(function: &str, version: &str, instances: u64, memory: u64) -> api::FunctionStatus {
    let tally = json!({ "requests": 100, "failures": 0, "outcomes": {}, "latency_p50_ms": 0.84,
        "latency_p99_ms": 12.3, "memory_peak_bytes": memory });
    let version = json!({ "version": version, "role": "stable", "weight": "100%", "tally": tally,
        "instances": instances });
    let stage = json!({ "stage": "live", "stable": "v1", "split": [{ "version": "v1", "weight": "100%" }],
        "routes": [format!("/{function}/*")], "sticky": "none", "versions": [version] });
    let status = json!({ "function": function, "revision": 3, "latest": "v1", "stages": [stage] });
    serde_json::from_value(status).expect("it is what a node answers")
}

/// The same with a canary at its second step of three, whose gate has `verdict`.
pub(super) fn rolling(function: &str, verdict: &str, e_value: f64, progress: f64) -> api::FunctionStatus {
    let side = |version: &str, requests: u64, failures: u64| {
        json!({ "version": version, "requests": requests, "failures": failures, "latency_p50_ms": 0.84,
            "latency_p99_ms": 12.3 })
    };
    let signal = |signal: &str, canary: u64, e_value: f64, progress: f64, text: &str| {
        json!({ "signal": signal, "canary": canary, "stable": 3, "canary_rate": 0.0118, "stable_rate": 0.001,
            "e_value": e_value, "threshold": 2000.0, "progress": progress, "text": text })
    };
    let signals = [
        signal("errors", 4, e_value, progress, "4 of 340 requests failed, 3 of 3060 on stable"),
        signal("latency_p99", 1, 0.8, 0.0, "as fast as stable"),
    ];
    let evidence = json!({ "baseline": "concurrent", "canary": side("v2", 340, 4),
        "stable": side("v1", 3060, 3), "signals": signals });
    let gate = json!({ "verdict": verdict, "reason": "34 requests on the canary, 100 needed",
        "requests": 34, "requests_needed": 100, "evidence": evidence });
    let rollout = json!({ "stable": "v1", "canary": "v2", "weight": "10%",
        "strategy": { "name": "canary", "steps": ["1%", "10%"] }, "started_ms": 1_000, "from_split": [],
        "phase": "progressing", "step": 2, "steps": ["1%", "10%", "100%"], "lasted_ms": 34_000,
        "lasts_ms": 60_000, "gate": gate });
    let mut status = status(function, "v1", 2, 1 << 20);
    status.stages[0].rollout = Some(serde_json::from_value(rollout).expect("it is what a node answers"));
    status
}
