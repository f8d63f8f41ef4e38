//! What the gate watches: bad events, and the signals that are tests on them.

use std::{fmt, str::FromStr};

use wasm_fn_core::Outcome;

/// A way in which an invocation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// The guest trapped.
    Trap,
    /// The deadline passed first.
    Timeout,
    /// The guest trapped after memory was refused to it.
    OutOfMemory,
    /// A response with a status of 500 or above.
    ServerError,
    /// No response, or one that is not HTTP.
    InvalidResponse,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 5] =
        [Self::Trap, Self::Timeout, Self::OutOfMemory, Self::ServerError, Self::InvalidResponse];

    /// The class of `outcome`. `None` if the version is not to blame.
    pub fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Trap => Some(Self::Trap),
            Outcome::Timeout => Some(Self::Timeout),
            Outcome::OutOfMemory => Some(Self::OutOfMemory),
            Outcome::ServerError => Some(Self::ServerError),
            Outcome::InvalidResponse => Some(Self::InvalidResponse),
            Outcome::Success | Outcome::Shed | Outcome::Cancelled | Outcome::Internal => None,
        }
    }
}

/// A bad event. One response can be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// Failed in one of these ways.
    Failed(Class),
    /// Failed in any way.
    FailedAtAll,
    /// The canary's: slower than the tolerated multiple of the p99 that it is compared with. The baseline's:
    /// slower than that p99.
    Slow,
    /// Held more memory, likewise.
    Large,
    /// Slower than the ceiling.
    OverCeiling,
    /// The canary's: slower than the tolerated multiple of the median that it is compared with. The
    /// baseline's: slower than that median. Asked of a sample of the requests.
    AboveMedian,
}

impl Event {
    /// Number of events.
    pub const COUNT: usize = Class::ALL.len() + 5;

    /// Every event, in the order of [`index`](Self::index).
    pub const ALL: [Self; Self::COUNT] = [
        Self::Failed(Class::Trap),
        Self::Failed(Class::Timeout),
        Self::Failed(Class::OutOfMemory),
        Self::Failed(Class::ServerError),
        Self::Failed(Class::InvalidResponse),
        Self::FailedAtAll,
        Self::Slow,
        Self::Large,
        Self::OverCeiling,
        Self::AboveMedian,
    ];

    /// Whether it is about the tail of the latency. There, slow responses with one cause count once if
    /// nothing can be compared at the same time.
    pub fn is_of_latency(self) -> bool {
        matches!(self, Self::Slow | Self::OverCeiling)
    }

    /// Place in an array of [`COUNT`](Self::COUNT) counters.
    pub fn index(self) -> usize {
        match self {
            Self::Failed(class) => class as usize,
            Self::FailedAtAll => Class::ALL.len(),
            Self::Slow => Class::ALL.len() + 1,
            Self::Large => Class::ALL.len() + 2,
            Self::OverCeiling => Class::ALL.len() + 3,
            Self::AboveMedian => Class::ALL.len() + 4,
        }
    }
}

/// One test of the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Failures of all classes together, against stable's.
    Errors,
    /// Failures of one class, against stable's: finds a rare class behind a frequent one.
    ErrorsOf(Class),
    /// Latencies above the tolerated multiple of the baseline's p99, against the baseline's above that p99.
    Latency,
    /// The same at the baseline's median, of a sample of the requests. In steps only: beside a baseline.
    LatencyMedian,
    /// Memory peaks, against the baseline's p99.
    Memory,
    /// Share of failures against a fixed ceiling.
    MaxErrorRate,
    /// 99th percentile of the latency against a fixed ceiling.
    MaxLatency,
}

/// The text does not name a signal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a signal, expected errors, errors.CLASS, latency_p50, latency_p99, memory_p99, max_error_rate or \
     max_latency_p99"
)]
pub struct SignalError(String);

impl Signal {
    /// Every signal.
    pub const ALL: [Self; 11] = [
        Self::Errors,
        Self::ErrorsOf(Class::Trap),
        Self::ErrorsOf(Class::Timeout),
        Self::ErrorsOf(Class::OutOfMemory),
        Self::ErrorsOf(Class::ServerError),
        Self::ErrorsOf(Class::InvalidResponse),
        Self::Latency,
        Self::LatencyMedian,
        Self::Memory,
        Self::MaxErrorRate,
        Self::MaxLatency,
    ];

    /// Whether it is about a percentile: the median or the 99th.
    pub fn is_of_percentile(self) -> bool {
        self == Self::LatencyMedian || self.is_of_p99()
    }

    /// Whether it is about a 99th percentile.
    pub fn is_of_p99(self) -> bool {
        matches!(self, Self::Latency | Self::Memory | Self::MaxLatency)
    }

    /// The event that it counts.
    pub fn event(self) -> Event {
        match self {
            Self::Errors | Self::MaxErrorRate => Event::FailedAtAll,
            Self::ErrorsOf(class) => Event::Failed(class),
            Self::Latency => Event::Slow,
            Self::LatencyMedian => Event::AboveMedian,
            Self::Memory => Event::Large,
            Self::MaxLatency => Event::OverCeiling,
        }
    }

    /// The word used in configuration, history and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::ErrorsOf(Class::Trap) => "errors.trap",
            Self::ErrorsOf(Class::Timeout) => "errors.timeout",
            Self::ErrorsOf(Class::OutOfMemory) => "errors.out-of-memory",
            Self::ErrorsOf(Class::ServerError) => "errors.server-error",
            Self::ErrorsOf(Class::InvalidResponse) => "errors.invalid-response",
            Self::Latency => "latency_p99",
            Self::LatencyMedian => "latency_p50",
            Self::Memory => "memory_p99",
            Self::MaxErrorRate => "max_error_rate",
            Self::MaxLatency => "max_latency_p99",
        }
    }
}

impl FromStr for Signal {
    type Err = SignalError;

    fn from_str(text: &str) -> Result<Self, SignalError> {
        let found = Self::ALL.into_iter().find(|signal| signal.as_str() == text);
        found.ok_or_else(|| SignalError(text.to_owned()))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;
