//! The numbers behind a decision, as stored with it and shown to people.
//!
//! All values are whole numbers or texts, so that the journal's canonical JSON has only one form. New fields
//! need a default.

use serde::{Deserialize, Serialize};

use wasm_fn_rollout::Group;

/// Why a rollout made a decision, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The reason, in a sentence.
    pub reason: String,
    /// What the canary was compared with: `concurrent`, `past`, or `alone` if stable answered nothing, so
    /// that its past counted.
    pub baseline: String,
    /// The version under test.
    pub canary: SideReport,
    /// The version that it was compared with.
    pub stable: SideReport,
    /// The baseline: requests of stable that a handle as fresh as the canary's served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_side: Option<SideReport>,
    /// The canary's numbers for users whom a cohort rule places on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<SideReport>,
    /// The tests, strongest evidence first.
    pub signals: Vec<SignalReport>,
    /// Traps of the canary that stable has never had.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<TrapReport>,
    /// Ids of the canary's first failed requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_requests: Vec<String>,
    /// What each node of a cluster contributed. The other numbers are those of all nodes; latencies are those
    /// of the node that made the decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeReport>,
}

/// What one node of a cluster contributed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Failures of the canary, and the number of requests.
    pub canary: (u64, u64),
    /// Failures of stable, and the number of requests.
    pub stable: (u64, u64),
}

/// The numbers of one side of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideReport {
    /// The version.
    pub version: String,
    /// Requests that the version ran to the end.
    pub requests: u64,
    /// Requests among them that failed.
    pub failures: u64,
    /// Median latency, microseconds.
    pub latency_p50_us: Option<u64>,
    /// 99th percentile of the latency, microseconds.
    pub latency_p99_us: Option<u64>,
}

/// One test of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// The name of the test.
    pub signal: String,
    /// Bad events of the canary, and the number of requests.
    pub canary: (u64, u64),
    /// Bad events of stable, and the number of requests.
    pub stable: (u64, u64),
    /// The natural logarithm of the e-value, times 1000.
    pub log_e_thousandths: i64,
    /// The natural logarithm of the e-value that fails the canary, times 1000.
    pub log_threshold_thousandths: i64,
    /// The result in a sentence.
    pub text: String,
}

/// A trap that stable has never had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrapReport {
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    /// How many requests, or users, the trap hit.
    pub hits: u64,
    /// The trap and its backtrace.
    pub backtrace: String,
}

impl From<&wasm_fn_rollout::SignalEvidence> for SignalReport {
    fn from(evidence: &wasm_fn_rollout::SignalEvidence) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "clamped to what fits")]
        let thousandths = |log: f64| (log * 1000.0).clamp(-1e15, 1e15).round() as i64;
        Self {
            signal: match evidence.group {
                Group::Placed => evidence.signal.to_string(),
                Group::Alone => format!("alone.{}", evidence.signal),
                Group::Cohort => format!("cohort.{}", evidence.signal),
            },
            canary: (evidence.canary.requests, evidence.canary_requests),
            stable: (evidence.stable.requests, evidence.stable_requests),
            log_e_thousandths: thousandths(evidence.log_e),
            log_threshold_thousandths: thousandths(evidence.log_threshold),
            text: evidence.to_string(),
        }
    }
}
