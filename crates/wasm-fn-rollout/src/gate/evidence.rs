//! What the gate says, in numbers that a person understands.

use std::fmt;

use super::{Bad, Baseline};
use crate::Signal;

/// What the gate says.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Enough requests, and no sign that the canary is worse than tolerated.
    Pass,
    /// The canary is worse.
    Fail(Failure),
    /// Too few requests to say.
    Wait(Waiting),
}

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Requests of the canary in this step.
    pub canary: u64,
    /// Requests of what it is compared with.
    pub stable: u64,
    /// How many of each are needed.
    pub needed: u64,
}

/// Why the canary is worse.
#[derive(Clone, Debug, PartialEq)]
pub enum Failure {
    /// A signal's evidence reached its threshold. The numbers are those of that moment.
    Signal(SignalEvidence),
    /// A trap that stable never showed.
    NovelTrap {
        /// Of its backtrace.
        fingerprint: u64,
        /// How many requests, or users, it hit.
        hits: usize,
    },
}

/// The numbers behind a verdict.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// What the canary was compared with.
    pub baseline: Baseline,
    /// Requests of the canary.
    pub canary_requests: u64,
    /// Requests of what it was compared with.
    pub stable_requests: u64,
    /// Each signal in use.
    pub signals: Vec<SignalEvidence>,
}

/// The numbers of one signal.
#[derive(Clone, Debug, PartialEq)]
pub struct SignalEvidence {
    /// Which one.
    pub signal: Signal,
    /// The canary's bad events.
    pub canary: Bad,
    /// Of so many requests.
    pub canary_requests: u64,
    /// Bad events of what it is compared with.
    pub stable: Bad,
    /// Of so many requests.
    pub stable_requests: u64,
    /// How many times the rate of what it is compared with is tolerated; `None` for a ceiling.
    pub tolerate: Option<f64>,
    /// The rate that the canary is held to; `None` when stable's in the same batches decides.
    pub rate_max: Option<f64>,
    /// Natural logarithm of the e-value.
    pub log_e: f64,
    /// Natural logarithm of the e-value that fails.
    pub log_threshold: f64,
}

/// An e-value or its threshold as people read it: `0.20`, `226`, `3.1e12`.
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

    /// How far it is on its way to fail, 0 to 1.
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
        write!(
            f,
            "{}: {} of {} requests ({:.2}%) on the canary, {} of {} ({:.2}%) on stable; e-value {}, fails at {}",
            self.signal,
            self.canary.requests,
            self.canary_requests,
            100.0 * self.canary_rate(),
            self.stable.requests,
            self.stable_requests,
            100.0 * self.stable_rate(),
            Factor(self.e_value()),
            Factor(self.threshold()),
        )
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signal(evidence) => evidence.fmt(f),
            Self::NovelTrap { fingerprint, hits } => {
                write!(f, "trap {fingerprint:016x} hit the canary {hits} times, and stable never")
            }
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { canary, stable, needed } = self;
        write!(f, "{canary} requests on the canary and {stable} on stable, {needed} needed of each")
    }
}
