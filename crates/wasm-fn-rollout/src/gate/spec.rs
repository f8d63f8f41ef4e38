//! The settings of a gate, checked.

use std::time::Duration;

use crate::Signal;

/// Largest multiple of stable that can be tolerated.
const TOLERATE_MAX: f64 = 100.0;

/// The rule that a rollout must satisfy.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// Maximum probability that a canary that is no worse fails in one rollout, by any of its gates: above 0,
    /// below 0.5.
    pub alpha: f64,
    /// Tolerated multiple of stable's failure rate, 1 to 100. `None` does not watch failures.
    pub errors: Option<f64>,
    /// Tolerated multiple of the baseline's latency, at the p99 and in steps also at the median; 1 to 100.
    pub latency_p99: Option<f64>,
    /// The same for memory peaks.
    pub memory_p99: Option<f64>,
    /// Ceiling of the failure rate: above 0, below 1.
    pub max_error_rate: Option<f64>,
    /// Ceiling of the p99 latency.
    pub max_latency_p99: Option<Duration>,
    /// Minimum number of requests in a step, of the canary and of what it is compared with, before the gate
    /// passes; at least 1.
    pub min_requests: u64,
    /// What fails a version where there is nothing to compare it with.
    pub floor: Floor,
}

/// What fails a version where there is nothing to compare it with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// Failure rate that fails it: above 0, at most 1.
    pub error_rate: f64,
    /// Minimum number of requests before it applies; at least 3.
    pub requests: u64,
}

/// Which requests a test is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// Those that chance or a user's key placed.
    Placed,
    /// The same while stable has no requests: compared with stable's past.
    Alone,
    /// Those that a rule placed on the canary: compared with the same users' past on stable.
    Cohort,
}

/// How alpha is divided among the tests of one gate.
#[derive(Clone, Debug, PartialEq)]
pub struct AlphaBudget {
    /// Each test's part.
    pub tests: Vec<(Group, Signal, f64)>,
    /// The part of novel traps.
    pub traps: f64,
}

/// Minimum number of requests for a version's past to be compared with.
pub(crate) const HISTORY_MIN: u64 = 100;

/// Part of a gate's alpha for [`Group::Placed`], where the other groups have a part too.
const PLACED: f64 = 0.8;

/// Maximum number of nodes of a cluster among which alpha is divided.
pub const NODES_MAX: usize = 64;

/// Part of alpha for the gate that judges the evidence of all nodes of a cluster.
const JOINT: f64 = 0.75;

/// Whose evidence a gate judges.
///
/// In a cluster, several gates can fail a canary, so they share its alpha: three quarters belong to those
/// that judge the evidence of all nodes, and one quarter to the nodes' own gates, [`NODES_MAX`] of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GateScope {
    /// That of the only node.
    Single,
    /// That of all nodes of a cluster. Such a gate fails nothing before it [leads](crate::Gate::lead).
    Joint,
    /// That of one node of a cluster.
    Own,
}

/// Why the settings of a gate are refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GateError {
    /// Alpha is not a probability below one half.
    #[error("alpha is {0}, expected more than 0 and less than 0.5")]
    Alpha(f64),
    /// A multiple is out of bounds.
    #[error("{signal} tolerates {found} times stable, expected 1 to 100")]
    Tolerate {
        /// The signal.
        signal: Signal,
        /// What was found.
        found: f64,
    },
    /// A failure ceiling is not a share.
    #[error("max_error_rate is {0}, expected more than 0 and less than 1")]
    MaxErrorRate(f64),
    /// A latency ceiling is zero.
    #[error("max_latency_p99 is 0, expected more")]
    MaxLatency,
    /// The minimum number of requests is zero.
    #[error("min_requests is 0, expected at least 1")]
    MinRequests,
    /// A floor is out of bounds.
    #[error("the floor is {} of {} requests, expected a share above 0 and at most 1 of at least 3", .0.error_rate, .0.requests)]
    Floor(Floor),
    /// No signal is in use.
    #[error(
        "the gate has no signal, expected at least one of errors, latency_p99, memory_p99, max_error_rate and max_latency_p99"
    )]
    NoSignal,
}

impl Default for GateSpec {
    /// Failures at 1.1 times stable's, latency and memory at 1.2 times, alpha 0.001, 100 requests, the floor
    /// at half of 20.
    fn default() -> Self {
        Self {
            alpha: 0.001,
            errors: Some(1.1),
            latency_p99: Some(1.2),
            memory_p99: Some(1.2),
            max_error_rate: None,
            max_latency_p99: None,
            min_requests: 100,
            floor: Floor { error_rate: 0.5, requests: 20 },
        }
    }
}

impl GateSpec {
    /// Tolerated multiple of `signal`. `None` if the signal is not in use or is a ceiling.
    pub fn tolerate(&self, signal: Signal) -> Option<f64> {
        match signal {
            Signal::Errors | Signal::ErrorsOf(_) => self.errors,
            Signal::Latency | Signal::LatencyMedian => self.latency_p99,
            Signal::Memory => self.memory_p99,
            Signal::MaxErrorRate | Signal::MaxLatency => None,
        }
    }

    /// Alpha as the tests of a rollout's gate number `gate_no`, from 1, divide it; `beside_stable` is whether
    /// it compares with what stable does meanwhile.
    ///
    /// The first gate has three quarters. Later gates (a watch, one after each `resume`) share the rest, so a
    /// rollout has one alpha in total, however many gates it has. Of the alpha for requests placed by chance,
    /// half belongs to failures of all classes together, where a broken canary shows first. The other signals
    /// and novel traps share the rest equally. Latency has one part, which its two tests halve in a step. The
    /// signals of the other groups have equal parts.
    pub fn budget(&self, gate_no: u32, beside_stable: bool) -> AlphaBudget {
        let alpha = self.alpha * gate_part(gate_no);
        // There is no median test against the past: it would charge a change of the load to the version.
        let asked = |signal| self.uses(signal) && (beside_stable || signal != Signal::LatencyMedian);
        let signals: Vec<_> = Signal::ALL.into_iter().filter(|&signal| asked(signal)).collect();
        let pooled = if self.errors.is_some() { 0.5 } else { 0.0 };
        let placed = if beside_stable { PLACED } else { 1.0 } * alpha;
        let is_part = |signal: &Signal| !matches!(signal, Signal::Errors | Signal::LatencyMedian);
        // Novel traps are one more.
        let others = 1.0 + signals.iter().copied().filter(is_part).count() as f64;
        let part = |signal| match signal {
            Signal::Errors => pooled,
            Signal::Latency | Signal::LatencyMedian if beside_stable => (1.0 - pooled) / others / 2.0,
            _ => (1.0 - pooled) / others,
        };
        let mut tests: Vec<_> =
            signals.iter().map(|&signal| (Group::Placed, signal, placed * part(signal))).collect();
        if beside_stable {
            let rest = (1.0 - PLACED) / 2.0 * alpha;
            for (group, of_group) in [
                (Group::Alone, &[Signal::Errors, Signal::Latency, Signal::Memory][..]),
                (Group::Cohort, &[Signal::Errors, Signal::MaxErrorRate, Signal::MaxLatency]),
            ] {
                let used: Vec<_> = of_group.iter().copied().filter(|&signal| self.uses(signal)).collect();
                let each = rest / used.len().max(1) as f64;
                tests.extend(used.into_iter().map(|signal| (group, signal, each)));
            }
        }
        AlphaBudget { tests, traps: placed * (1.0 - pooled) / others }
    }

    fn uses(&self, signal: Signal) -> bool {
        match signal {
            Signal::MaxErrorRate => self.max_error_rate.is_some(),
            Signal::MaxLatency => self.max_latency_p99.is_some(),
            signal => self.tolerate(signal).is_some(),
        }
    }

    /// Checks the settings. A [`Gate`](crate::Gate) can be made of settings that pass.
    ///
    /// # Errors
    /// A value is out of bounds, or no signal is in use.
    pub fn check(&self) -> Result<(), GateError> {
        if !(self.alpha > 0.0 && self.alpha < 0.5) {
            return Err(GateError::Alpha(self.alpha));
        }
        for signal in [Signal::Errors, Signal::Latency, Signal::Memory] {
            let found = self.tolerate(signal).unwrap_or(1.0);
            if !(1.0..=TOLERATE_MAX).contains(&found) {
                return Err(GateError::Tolerate { signal, found });
            }
        }
        if let Some(rate) = self.max_error_rate.filter(|rate| !(*rate > 0.0 && *rate < 1.0)) {
            return Err(GateError::MaxErrorRate(rate));
        }
        if self.max_latency_p99 == Some(Duration::ZERO) {
            return Err(GateError::MaxLatency);
        }
        if self.min_requests == 0 {
            return Err(GateError::MinRequests);
        }
        let Floor { error_rate, requests } = self.floor;
        if !(error_rate > 0.0 && error_rate <= 1.0) || requests < 3 {
            return Err(GateError::Floor(self.floor));
        }
        if !Signal::ALL.into_iter().any(|signal| self.uses(signal)) {
            return Err(GateError::NoSignal);
        }
        Ok(())
    }
}

impl GateScope {
    /// Its part of alpha.
    pub(super) fn part(self) -> f64 {
        match self {
            Self::Single => 1.0,
            Self::Joint => JOINT,
            Self::Own => (1.0 - JOINT) / NODES_MAX as f64,
        }
    }

    /// How many gates of different pasts share the part. Each node knows a past of its own.
    pub(super) fn pasts(self) -> f64 {
        match self {
            Self::Single | Self::Own => 1.0,
            Self::Joint => NODES_MAX as f64,
        }
    }
}

/// The part of alpha that belongs to the joint gate whose node was the rollout's leader as number `term`,
/// from 1. The parts of infinitely many leaders add up to 1.
pub(super) fn term_part(term: u32) -> f64 {
    gate_part(term)
}

/// The part of alpha of gate number `gate_no` of a rollout, from 1. The parts of infinitely many gates add up
/// to 1.
fn gate_part(gate_no: u32) -> f64 {
    if gate_no <= 1 {
        return 0.75;
    }
    let number = f64::from(gate_no);
    0.25 / (number * (number - 1.0))
}

#[cfg(test)]
mod tests;
