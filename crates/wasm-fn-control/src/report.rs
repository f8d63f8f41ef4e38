//! The numbers behind a decision, as they are kept with it and shown.
//!
//! Everything is a whole number or a text, so that the journal's canonical JSON has one form. Fields may be
//! added, with a default.

use serde::{Deserialize, Serialize};

use wasm_fn_rollout::Group;

/// Why a rollout did something, in numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// In a sentence.
    pub reason: String,
    /// What the canary was compared with: `concurrent`, `past`, or `alone` where nothing was heard of stable,
    /// so that its past counted.
    pub baseline: String,
    /// The version under test.
    pub canary: SideReport,
    /// The version it was compared with.
    pub stable: SideReport,
    /// Those of its requests that were served by a handle as fresh as the canary's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline_side: Option<SideReport>,
    /// What the canary did for users who are on it by rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cohort: Option<SideReport>,
    /// The tests, strongest evidence first.
    pub signals: Vec<SignalReport>,
    /// Traps of the canary that stable never showed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traps: Vec<TrapReport>,
    /// Ids of the canary's first requests that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_requests: Vec<String>,
}

/// What one side did in a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SideReport {
    /// The version.
    pub version: String,
    /// Requests that it ran to their end.
    pub requests: u64,
    /// Those among them that failed.
    pub failures: u64,
    /// Median latency, microseconds.
    pub latency_p50_us: Option<u64>,
    /// 99th percentile of the latency, microseconds.
    pub latency_p99_us: Option<u64>,
}

/// One test of the gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalReport {
    /// Its name.
    pub signal: String,
    /// Bad events of the canary, and of so many requests.
    pub canary: (u64, u64),
    /// Bad events of stable, and of so many requests.
    pub stable: (u64, u64),
    /// A thousand times the natural logarithm of the e-value.
    pub log_e_thousandths: i64,
    /// The same of the e-value that fails.
    pub log_threshold_thousandths: i64,
    /// The same in a sentence.
    pub text: String,
}

/// A trap that stable never showed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrapReport {
    /// 16 hexadecimal digits.
    pub fingerprint: String,
    /// How many requests, or users, it hit.
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
