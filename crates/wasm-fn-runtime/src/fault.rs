//! How an invocation fails.

pub(crate) mod trap;

use std::time::Duration;

use http::StatusCode;
use wasm_fn_core::{Outcome, Trap, Usage};

/// When to try again if a place may be free at any moment.
const SOON: Duration = Duration::from_secs(1);

/// Why a request cannot be given to a guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Its target is too long for a variable of a command.
    #[error("the target has {found_bytes} bytes, expected at most {max_bytes}")]
    UriTooLong {
        /// Its length, with the name of the variable.
        found_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// A header is too long for a variable of a command.
    #[error("{variable} has {found_bytes} bytes, expected at most {max_bytes}")]
    HeaderTooLong {
        /// The variable, or the beginning of its name.
        variable: String,
        /// Its length, with the name.
        found_bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// It has no form as variables.
    #[error("{reason}")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::UriTooLong { .. } => StatusCode::URI_TOO_LONG,
            Self::HeaderTooLong { .. } => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Malformed { .. } => StatusCode::BAD_REQUEST,
        }
    }
}

/// Why an invocation has no complete response.
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
    /// The deadline passed for a guest that did not have its whole time, because it waited for its place or
    /// its code, or another version had the request before.
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
    /// The guest trapped after it was refused memory.
    #[error("guest ran out of memory, its limit is {limit_bytes} bytes")]
    OutOfMemory {
        /// The configured limit.
        limit_bytes: u64,
    },
    /// The guest gave no response, or one that is not HTTP.
    #[error("guest gave no valid response: {reason}")]
    InvalidResponse {
        /// What is wrong with it.
        reason: String,
    },
    /// The client's request cannot be given to the guest.
    #[error("request was refused: {0}")]
    Refused(Refusal),
    /// The version's code is being compiled.
    #[error("code of the function is being compiled")]
    NotReady {
        /// When to try again.
        retry_after: Duration,
    },
    /// The version is at its concurrency limit, and its queue is full or too slow.
    #[error("function runs as many invocations as it may")]
    FunctionOverloaded {
        /// When a place is likely to be free.
        retry_after: Duration,
    },
    /// The node is at its concurrency limit, or has no memory or time left for this invocation.
    #[error("node has no place, no memory or no time left for the request")]
    NodeOverloaded {
        /// When a place is likely to be free.
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
    /// The node has no place for the request now, but may have one soon.
    pub(crate) fn node_overloaded() -> Self {
        Self::NodeOverloaded { retry_after: SOON }
    }

    /// The code of the version is not available yet.
    pub(crate) fn not_ready() -> Self {
        Self::NotReady { retry_after: SOON }
    }

    /// The status of the answer that replaces the guest's, for the log. The data plane decides what it sends;
    /// a test holds the two together.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Trap { .. }
            | Self::CpuExceeded { .. }
            | Self::OutOfMemory { .. }
            | Self::InvalidResponse { .. }
            | Self::Internal { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Timeout { .. } | Self::BeganLate { .. } => StatusCode::GATEWAY_TIMEOUT,
            Self::Refused(refusal) => refusal.status(),
            Self::NotReady { .. } | Self::FunctionOverloaded { .. } | Self::NodeOverloaded { .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The outcome that it counts as.
    pub fn outcome(&self) -> Outcome {
        match self {
            Self::Trap { .. } => Outcome::Trap,
            Self::Timeout { .. } | Self::CpuExceeded { .. } => Outcome::Timeout,
            Self::OutOfMemory { .. } => Outcome::OutOfMemory,
            Self::InvalidResponse { .. } => Outcome::InvalidResponse,
            Self::Refused(_) => Outcome::Cancelled,
            Self::BeganLate { .. }
            | Self::NotReady { .. }
            | Self::FunctionOverloaded { .. }
            | Self::NodeOverloaded { .. } => Outcome::Shed,
            Self::Internal { .. } => Outcome::Internal,
        }
    }
}

/// An invocation failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{fault}")]
pub struct InvocationError {
    /// Why.
    pub fault: Fault,
    /// What it used until then.
    pub usage: Usage,
}
