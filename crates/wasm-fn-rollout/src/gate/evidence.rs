//! What the gate says, in numbers that people understand.

use std::fmt;

use wasm_fn_core::NodeName;

use super::{Bad, Counts, Group};
use crate::Signal;

/// What the gate says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Enough requests, and no sign that the canary is worse than tolerated.
    Pass,
    /// The canary is worse.
    Fail(GateFailure),
    /// There are too few requests to tell.
    Wait(Waiting),
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Requests of the canary in this step, or of the cohort in a cohort's step.
    pub canary: u64,
    /// Requests of what it is compared with.
    pub stable: u64,
    /// How many of each are needed.
    pub needed: u64,
    /// Voices of the canary in this step and how many are needed, if voices are missing.
    pub voices: Option<(u64, u64)>,
    /// Whether the cohort's requests are counted.
    pub by_cohort: bool,
    /// How many of the cohort's requests failed, if those failures prevent a pass.
    pub failed: Option<u64>,
}

/// Why the canary is worse.
#[derive(Clone, Debug, PartialEq)]
pub enum GateFailure {
    /// A signal's evidence reached its threshold. The numbers are those of that moment.
    Signal(SignalEvidence),
    /// A trap that stable never had.
    NovelTrap {
        /// Fingerprint of its backtrace.
        fingerprint: u64,
        /// How many requests or users it hit.
        hits: u64,
    },
    /// It fails so often that no comparison is needed.
    Floor {
        /// Failed requests.
        failed: u64,
        /// All requests.
        requests: u64,
    },
    /// Another node's own evidence failed it.
    Elsewhere {
        /// Which node.
        node: NodeName,
        /// What it found.
        found: String,
    },
}

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What the canary did.
    pub canary: Counts,
    /// What stable did in the same steps, or before them if there is nothing else.
    pub stable: Counts,
    /// What the baseline did. `stable` includes it. Empty if there is no baseline.
    pub baseline: Counts,
    /// What the canary did for users whom a rule placed on it.
    pub cohort: Counts,
    /// Whether the canary is compared with stable's past.
    pub past: bool,
    /// Each test.
    pub signals: Vec<SignalEvidence>,
}

/// What a test compares the canary with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Against {
    /// All of stable, at the same time.
    Stable,
    /// The baseline, at the same time.
    Baseline,
    /// Stable's past.
    Past,
    /// A ceiling.
    Nothing,
}

/// The numbers of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalEvidence {
    /// Which one.
    pub signal: Signal,
    /// Whose requests.
    pub group: Group,
    /// What they are compared with.
    pub against: Against,
    /// The canary's bad events.
    pub canary: Bad,
    /// The canary's requests: all of them or, for the median, the sampled ones.
    pub canary_requests: u64,
    /// Bad events of what the canary is compared with.
    pub stable: Bad,
    /// The requests of what the canary is compared with.
    pub stable_requests: u64,
    /// The rate that the canary is held to. `None` if it is held to stable's rate in the same batches.
    pub rate_max: Option<f64>,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// Natural logarithm of the e-value that fails.
    pub log_threshold: f64,
}

/// An e-value or its threshold in readable form: `0.20`, `226`, `3.1e12`.
#[derive(Clone, Copy, Debug)]
pub struct Factor(pub f64);

impl SignalEvidence {
    /// How many times more likely the events are if the canary is worse; capped at the largest number.
    pub fn e_value(&self) -> f64 {
        self.log_e.exp().min(f64::MAX)
    }

    /// The e-value that fails.
    pub fn threshold(&self) -> f64 {
        self.log_threshold.exp()
    }

    /// Progress towards failing, 0 to 1.
    pub fn progress(&self) -> f64 {
        (self.log_e / self.log_threshold).clamp(0.0, 1.0)
    }

    /// Share of the canary's requests that are bad; 0 without requests.
    pub fn canary_rate(&self) -> f64 {
        rate(self.canary, self.canary_requests)
    }

    /// Share of the requests of what it is compared with that are bad; 0 without requests.
    pub fn stable_rate(&self) -> f64 {
        rate(self.stable, self.stable_requests)
    }
}

fn rate(bad: Bad, requests: u64) -> f64 {
    if requests == 0 { 0.0 } else { bad.requests as f64 / requests as f64 }
}

impl fmt::Display for SignalEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match (self.group, self.signal) {
            (Group::Cohort, _) => "requests of a cohort",
            (_, Signal::LatencyMedian) => "sampled requests above the median",
            _ => "requests",
        };
        write!(
            f,
            "{}: {} of {} {what} ({:.2}%) on the canary",
            self.signal,
            self.canary.requests,
            self.canary_requests,
            100.0 * self.canary_rate(),
        )?;
        let compared = match self.against {
            Against::Stable => Some("stable"),
            Against::Baseline => Some("the baseline"),
            Against::Past => Some("stable before"),
            Against::Nothing => None,
        };
        match (compared, self.rate_max) {
            (Some(compared), _) => {
                let (bad, of) = (self.stable.requests, self.stable_requests);
                write!(f, ", {bad} of {of} ({:.2}%) on {compared}", 100.0 * self.stable_rate())?;
            }
            (None, Some(rate)) => write!(f, ", at most {:.2}% allowed", 100.0 * rate)?,
            (None, None) => {}
        }
        write!(f, "; e-value {}, fails at {}", Factor(self.e_value()), Factor(self.threshold()))
    }
}

impl fmt::Display for Factor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value < 10.0 => write!(f, "{value:.2}"),
            value if value < 1e6 => write!(f, "{value:.0}"),
            value => write!(f, "{value:.1e}"),
        }
    }
}

impl fmt::Display for GateFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(evidence) => evidence.fmt(f),
            Self::NovelTrap { fingerprint, hits } => {
                write!(f, "trap {fingerprint:016x} hit the canary {hits} times, and stable never")
            }
            Self::Elsewhere { node, found } => write!(f, "on node {node}: {found}"),
            Self::Floor { failed, requests } => {
                write!(f, "{failed} of {requests} requests failed, with nothing to compare that with")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { canary, stable, needed, voices, by_cohort, failed } = self;
        if let Some(failed) = failed {
            let few = "of too few users to call it worse, and too many to pass";
            return write!(f, "{failed} of {canary} requests of the cohort failed: {few}");
        }
        if *by_cohort {
            return write!(f, "{canary} requests of the cohort, {needed} needed");
        }
        if let Some((found, needed)) = voices {
            return write!(f, "{found} independent users or requests on the canary, {needed} needed");
        }
        write!(f, "{canary} requests on the canary and {stable} on stable, {needed} needed of each")
    }
}
