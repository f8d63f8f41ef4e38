//! The numbers behind a verdict, as clients see them.

use wasm_fn_api as api;

use wasm_fn_control::report::{NodeReport, Report, SideReport, SignalReport, TrapReport};

/// The numbers of `report`.
pub(crate) fn evidence(report: &Report) -> api::EvidenceView {
    // During a watch, the new version is already stable and is compared with the past of the previous one.
    let (new, old) = match report.baseline.as_str() {
        "past" => (api::VersionRole::Stable, api::VersionRole::Previous),
        _ => (api::VersionRole::Canary, api::VersionRole::Stable),
    };
    api::EvidenceView {
        baseline: report.baseline.clone(),
        canary: side(&report.canary, Some(new)),
        stable: side(&report.stable, Some(old)),
        baseline_side: report.baseline_side.as_ref().map(|baseline| side(baseline, None)),
        cohort: report.cohort.as_ref().map(|cohort| side(cohort, None)),
        signals: report.signals.iter().map(signal).collect(),
        traps: report.traps.iter().map(trap).collect(),
        failed_requests: report.failed_requests.clone(),
        nodes: report.nodes.iter().map(node).collect(),
    }
}

fn node(node: &NodeReport) -> api::NodeEvidenceView {
    let ((canary_failures, canary_requests), (stable_failures, stable_requests)) = (node.canary, node.stable);
    let name = node.node.clone();
    api::NodeEvidenceView { node: name, canary_requests, canary_failures, stable_requests, stable_failures }
}

fn side(side: &SideReport, role: Option<api::VersionRole>) -> api::SideView {
    let millis = |micros: u64| micros as f64 / 1e3;
    api::SideView {
        version: side.version.clone(),
        role,
        requests: side.requests,
        failures: side.failures,
        latency_p50_ms: side.latency_p50_us.map(millis),
        latency_p99_ms: side.latency_p99_us.map(millis),
    }
}

fn signal(signal: &SignalReport) -> api::SignalEvidenceView {
    let log_e = signal.log_e_thousandths as f64 / 1e3;
    let log_threshold = signal.log_threshold_thousandths as f64 / 1e3;
    let rate = |(bad, of): (u64, u64)| if of == 0 { 0.0 } else { bad as f64 / of as f64 };
    api::SignalEvidenceView {
        signal: signal.signal.clone(),
        canary: signal.canary.0,
        stable: signal.stable.0,
        canary_rate: rate(signal.canary),
        stable_rate: rate(signal.stable),
        // JSON has no infinity.
        e_value: log_e.exp().min(f64::MAX),
        threshold: log_threshold.exp().min(f64::MAX),
        progress: if log_threshold > 0.0 { (log_e / log_threshold).clamp(0.0, 1.0) } else { 0.0 },
        text: signal.text.clone(),
    }
}

fn trap(trap: &TrapReport) -> api::TrapEvidenceView {
    api::TrapEvidenceView {
        fingerprint: trap.fingerprint.clone(),
        hits: trap.hits,
        backtrace: trap.backtrace.clone(),
    }
}
