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
    /// When to try again; only for causes that are answered with 503. `None` means a second.
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
    #[error("guest trapped, or exited with an error")]
    Trap,
    /// The deadline passed first.
    #[error("guest did not answer within its timeout")]
    Timeout,
    /// The guest computed for longer than it may.
    #[error("guest used up its CPU time")]
    CpuExceeded,
    /// The guest trapped after memory was refused to it.
    #[error("guest trapped for want of memory, at its own limit")]
    OutOfMemory,
    /// The guest returned without an answer, or with one that is no HTTP.
    #[error("guest gave no valid response")]
    InvalidResponse,
    /// The deadline passed first, for the client did not send its body, or did not read the answer.
    #[error("client did not send its body in time, or did not read the answer in time")]
    ClientTooSlow,
    /// The client's body is over the node's limit.
    #[error("client's body is over the node's limit")]
    BodyTooLarge,
    /// The version's code has to be compiled first.
    #[error("version's code is being compiled")]
    NotReady,
    /// The function's own limits are used up.
    #[error("function is at its limits")]
    FunctionOverloaded,
    /// The node's limits are used up, or it has no thread, no memory or no time left for the request.
    #[error("node is at its limits")]
    NodeOverloaded,
    /// The deadline passed first, and the guest had begun so late that it had not its whole time.
    #[error("guest began late, and did not answer in the time that was left")]
    BeganLate,
    /// The version was recalled while it worked on the request.
    #[error("canary was taken back by `wasm-fn abort --now`")]
    Recalled,
    /// The host failed; no guest is to blame.
    #[error("node failed")]
    Internal,
}

/// Why a request has no answer that anybody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The client left, or reset its stream or its connection.
    #[error("client left, or reset its stream or its connection")]
    ClientLeft,
    /// The node ended before the request did.
    #[error("node ended before the request did: the drain's time was up")]
    Drained,
    /// A panic of the host's.
    #[error("node's own code panicked")]
    Panicked,
}

impl Failure {
    /// A failure before anything was used.
    pub fn new(cause: Cause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), retry_after: None, usage: Usage::default(), trap: None }
    }
}

impl Cause {
    /// Every cause, the version's first, then the client's, then the node's.
    pub(crate) const ALL: [Self; 13] = [
        Self::Trap,
        Self::Timeout,
        Self::CpuExceeded,
        Self::OutOfMemory,
        Self::InvalidResponse,
        Self::ClientTooSlow,
        Self::BodyTooLarge,
        Self::NotReady,
        Self::FunctionOverloaded,
        Self::NodeOverloaded,
        Self::BeganLate,
        Self::Recalled,
        Self::Internal,
    ];

    /// How it is counted, and so whom it is charged to.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Trap => Outcome::Trap,
            Self::Timeout | Self::CpuExceeded => Outcome::Timeout,
            Self::OutOfMemory => Outcome::OutOfMemory,
            Self::InvalidResponse => Outcome::InvalidResponse,
            Self::ClientTooSlow | Self::BodyTooLarge => Outcome::Cancelled,
            Self::NotReady
            | Self::FunctionOverloaded
            | Self::NodeOverloaded
            | Self::BeganLate
            | Self::Recalled => Outcome::Shed,
            Self::Internal => Outcome::Internal,
        }
    }
}

impl Lost {
    /// Every way.
    pub(crate) const ALL: [Self; 3] = [Self::ClientLeft, Self::Drained, Self::Panicked];

    /// How it is counted.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ClientLeft => Outcome::Cancelled,
            Self::Drained => Outcome::Shed,
            Self::Panicked => Outcome::Internal,
        }
    }
}
