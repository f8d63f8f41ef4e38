//! Why an invocation gave no answer, or not all of one.

use std::time::Duration;

use wasm_fn_core::{Outcome, Trap};

use crate::Usage;

/// An invocation that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct Failure {
    /// Whose fault, and which.
    pub cause: Cause,
    /// What happened, in a sentence. Clients see its beginning when the guest is to blame.
    pub detail: String,
    /// When to try again; only for the overloaded causes. `None` means a second.
    pub retry_after: Option<Duration>,
    /// What was used until then.
    pub usage: Usage,
    /// The trap, when it was one and is known.
    pub trap: Option<Trap>,
}

/// Class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The guest trapped.
    #[error("guest trapped")]
    Trap,
    /// The deadline passed first.
    #[error("guest timed out")]
    Timeout,
    /// The guest computed for longer than it may.
    #[error("guest used up its CPU time")]
    CpuExceeded,
    /// The guest trapped after memory was refused to it.
    #[error("guest ran out of memory")]
    OutOfMemory,
    /// The guest returned without an answer, or with one that is no HTTP.
    #[error("guest gave no valid response")]
    InvalidResponse,
    /// The function's own limits are used up.
    #[error("function overloaded")]
    FunctionOverloaded,
    /// The node's limits are used up.
    #[error("node overloaded")]
    NodeOverloaded,
    /// The version was recalled while it worked on the request.
    #[error("version recalled")]
    Recalled,
    /// The host failed; no guest is to blame.
    #[error("internal error")]
    Internal,
}

impl Failure {
    /// A failure before anything was used.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), retry_after: None, usage: Usage::default(), trap: None }
    }
}

impl Cause {
    /// How it is counted.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Trap => Outcome::Trap,
            Self::Timeout | Self::CpuExceeded => Outcome::Timeout,
            Self::OutOfMemory => Outcome::OutOfMemory,
            Self::InvalidResponse => Outcome::InvalidResponse,
            Self::FunctionOverloaded | Self::NodeOverloaded => Outcome::Shed,
            Self::Recalled => Outcome::Cancelled,
            Self::Internal => Outcome::Internal,
        }
    }
}
