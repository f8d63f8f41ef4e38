//! What a gate asks for, checked.

use std::time::Duration;

use crate::Signal;

/// Largest multiple of stable that can be tolerated.
const TOLERATE_MAX: f64 = 100.0;

/// The rule that a rollout must satisfy.
#[derive(Clone, Debug, PartialEq)]
pub struct GateSpec {
    /// Probability that a canary which is no worse is failed by its signals: above 0, below 0.5.
    pub alpha: f64,
    /// How many times stable's rate of failures is tolerated, 1 to 100; `None` watches no failures.
    pub errors: Option<f64>,
    /// How many times stable's p99 latency is tolerated, and how many times stable's share of responses
    /// above that; 1 to 100.
    pub latency_p99: Option<f64>,
    /// The same for memory peaks.
    pub memory_p99: Option<f64>,
    /// Share of failures that is too high in any case: above 0, below 1.
    pub max_error_rate: Option<f64>,
    /// Latency that 99 % of requests are to stay below in any case.
    pub max_latency_p99: Option<Duration>,
    /// Requests of the canary in a step, and of what it is compared with, below which nothing passes; at
    /// least 1.
    pub min_requests: u64,
}

/// Why a rule is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum GateError {
    /// Alpha is no probability of an error worth having.
    #[error("alpha is {0}, expected more than 0 and less than 0.5")]
    Alpha(f64),
    /// A multiple out of bounds.
    #[error("{signal} tolerates {found} times stable, expected 1 to 100")]
    Tolerate {
        /// Of which signal.
        signal: Signal,
        /// What was found.
        found: f64,
    },
    /// A ceiling that is no share.
    #[error("max_error_rate is {0}, expected more than 0 and less than 1")]
    MaxErrorRate(f64),
    /// A ceiling that nothing stays below.
    #[error("max_latency_p99 is 0, expected more")]
    MaxLatency,
    /// Passing with no requests.
    #[error("min_requests is 0, expected at least 1")]
    MinRequests,
    /// Nothing to judge by.
    #[error(
        "the gate has no signal, expected at least one of errors, latency_p99, memory_p99, max_error_rate and max_latency_p99"
    )]
    NoSignal,
}

impl Default for GateSpec {
    /// Failures at 1.1 times stable's, latency and memory at 1.2 times, alpha 0.001, 100 requests.
    fn default() -> Self {
        Self {
            alpha: 0.001,
            errors: Some(1.1),
            latency_p99: Some(1.2),
            memory_p99: Some(1.2),
            max_error_rate: None,
            max_latency_p99: None,
            min_requests: 100,
        }
    }
}

impl GateSpec {
    /// How many times stable `signal` tolerates; `None` when it is not in use or compares with no one.
    pub fn tolerate(&self, signal: Signal) -> Option<f64> {
        match signal {
            Signal::Errors | Signal::ErrorsOf(_) => self.errors,
            Signal::Latency => self.latency_p99,
            Signal::Memory => self.memory_p99,
            Signal::MaxErrorRate | Signal::MaxLatency => None,
        }
    }

    /// The signals in use, each with its part of alpha.
    pub fn alphas(&self) -> Vec<(Signal, f64)> {
        let used = |signal: &Signal| match signal {
            Signal::MaxErrorRate => self.max_error_rate.is_some(),
            Signal::MaxLatency => self.max_latency_p99.is_some(),
            signal => self.tolerate(*signal).is_some(),
        };
        let signals: Vec<_> = Signal::ALL.into_iter().filter(used).collect();
        let others = signals.iter().filter(|&&signal| signal != Signal::Errors).count() as f64;
        let pooled = if self.errors.is_some() { 0.5 } else { 0.0 };
        let part = |signal| if signal == Signal::Errors { pooled } else { (1.0 - pooled) / others };
        signals.into_iter().map(|signal| (signal, self.alpha * part(signal))).collect()
    }

    /// Whether it is a rule; a [`Gate`](crate::Gate) can be made of one that is.
    ///
    /// # Errors
    /// A value out of its bounds, or no signal at all.
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
        if self.alphas().is_empty() {
            return Err(GateError::NoSignal);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
