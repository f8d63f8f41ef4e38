//! How an invocation fails, and what it used.

use std::time::Duration;

use wasm_fn_core::{Outcome, Trap};

/// When it is worth to try again what may be possible at any moment.
const SOON: Duration = Duration::from_secs(1);

/// What an invocation used, whether it succeeded or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time spent waiting for a place among the running ones.
    pub queue_wait: Duration,
    /// Most linear memory held at once, bytes.
    pub memory_peak_bytes: u64,
    /// Whether the node had no memory left that the guest asked for.
    pub starved: bool,
}

/// Why an invocation has no complete answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The guest trapped or exited with an error.
    #[error("guest trapped: {reason}")]
    Trap {
        /// The trap, without backtrace.
        reason: String,
        /// The same, with its backtrace.
        trap: Trap,
    },
    /// The deadline passed.
    #[error("guest did not answer within {limit:?}")]
    Timeout {
        /// The configured limit.
        limit: Duration,
    },
    /// The deadline passed for a guest that had not its whole time: it had to wait for its place or its code, or
    /// another version had been given the request before.
    #[error("guest did not answer within what was left of {limit:?} when it began")]
    BeganLate {
        /// The configured limit.
        limit: Duration,
    },
    /// The guest computed for longer than it may.
    #[error("guest used more than its {limit:?} of CPU time")]
    CpuExceeded {
        /// The configured limit.
        limit: Duration,
    },
    /// The guest trapped after memory was refused to it.
    #[error("guest ran out of memory, its limit is {limit_bytes} bytes")]
    OutOfMemory {
        /// The configured limit.
        limit_bytes: u64,
    },
    /// The guest gave no answer, or one that is no HTTP.
    #[error("guest gave no valid response: {reason}")]
    InvalidResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// The version's code is not there yet; it is being made.
    #[error("code of the function is being compiled")]
    NotReady {
        /// When to try again.
        retry_after: Duration,
    },
    /// The version runs as many invocations as it may, and its queue is full or too slow.
    #[error("function runs as many invocations as it may")]
    FunctionOverloaded {
        /// When a place is likely.
        retry_after: Duration,
    },
    /// The node runs as many invocations as it may, or has no memory or no time left for this one.
    #[error("node has no place, no memory or no time left for the request")]
    NodeOverloaded {
        /// When a place is likely.
        retry_after: Duration,
    },
    /// The host failed.
    #[error("{reason}")]
    Internal {
        /// What failed.
        reason: String,
    },
}

impl Fault {
    /// The node has nothing left for the request; something may be there in a moment.
    pub(crate) fn node_overloaded() -> Self {
        Self::NodeOverloaded { retry_after: SOON }
    }

    /// The code of its version is not there yet.
    pub(crate) fn not_ready() -> Self {
        Self::NotReady { retry_after: SOON }
    }

    /// The class under which it is counted.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Trap { .. } => Outcome::Trap,
            Self::Timeout { .. } | Self::CpuExceeded { .. } => Outcome::Timeout,
            Self::OutOfMemory { .. } => Outcome::OutOfMemory,
            Self::InvalidResponse { .. } => Outcome::InvalidResponse,
            Self::BeganLate { .. }
            | Self::NotReady { .. }
            | Self::FunctionOverloaded { .. }
            | Self::NodeOverloaded { .. } => Outcome::Shed,
            Self::Internal { .. } => Outcome::Internal,
        }
    }
}

/// A failed invocation: why, and what it used.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// What it used until then.
    pub usage: Usage,
}
