//! Why an invocation gave no response, or not all of one.

use std::time::Duration;

use wasm_fn_core::{Outcome, Trap, Usage};

/// An invocation that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{cause}: {detail}")]
pub struct InvokeFailure {
    /// What failed.
    pub cause: FailureCause,
    /// What happened, in a sentence. Clients see its beginning when the guest is at fault.
    pub detail: String,
    /// When to try again, for causes with status 503. `None` means one second.
    pub retry_after: Option<Duration>,
    /// What the invocation used until then.
    pub usage: Usage,
    /// The trap, if there was one and it is known.
    pub trap: Option<Trap>,
}

/// The cause of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FailureCause {
    /// The guest trapped.
    #[error("guest trapped, or exited with an error")]
    Trap,
    /// The deadline passed.
    #[error("guest did not answer within its timeout")]
    Timeout,
    /// The guest computed for longer than it may.
    #[error("guest used up its CPU time")]
    CpuExceeded,
    /// The guest trapped after it was refused memory.
    #[error("guest trapped for want of memory, at its own limit")]
    OutOfMemory,
    /// The guest returned without a response, or with one that is not HTTP.
    #[error("guest gave no valid response")]
    InvalidResponse,
    /// The deadline passed because the client did not send its body or did not read the response.
    #[error("client did not send its body in time, or did not read the answer in time")]
    ClientTooSlow,
    /// The client's body is longer than the node's limit.
    #[error("client's body is over the node's limit")]
    BodyTooLarge,
    /// The request's target does not fit into a variable of a command.
    #[error("target of the client's request is longer than a command can take")]
    UriTooLong,
    /// A header does not fit into a variable of a command.
    #[error("header of the client's request is longer than a command can take")]
    HeaderTooLong,
    /// The request has no form as variables of a command.
    #[error("client's request has a part that no command can take")]
    Malformed,
    /// The version's code is being compiled.
    #[error("version's code is being compiled")]
    NotReady,
    /// The function is at its own limits.
    #[error("function is at its limits")]
    FunctionOverloaded,
    /// The node is at its limits, or has no thread, memory or time left for the request.
    #[error("node is at its limits")]
    NodeOverloaded,
    /// The deadline passed for a guest that had begun late and so did not have its whole time.
    #[error("guest began late, and did not answer in the time that was left")]
    BeganLate,
    /// The version was recalled while it worked on the request.
    #[error("canary was taken back by `wasm-fn abort --now`")]
    Recalled,
    /// The host failed; no guest is at fault.
    #[error("node failed")]
    Internal,
}

/// Why nobody waits for the response to a request any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The client left, or reset its stream or connection.
    #[error("client left, or reset its stream or its connection")]
    ClientLeft,
    /// The node ended before the request did.
    #[error("node ended before the request did: the drain's time was up")]
    Drained,
    /// The host panicked.
    #[error("node's own code panicked")]
    Panicked,
}

impl InvokeFailure {
    /// A failure of an invocation that used nothing.
    pub fn new(cause: FailureCause, detail: impl Into<String>) -> Self {
        Self { cause, detail: detail.into(), retry_after: None, usage: Usage::default(), trap: None }
    }
}

impl FailureCause {
    /// Every cause: those of the version first, then of the client, then of the node.
    pub(crate) const ALL: [Self; 16] = [
        Self::Trap,
        Self::Timeout,
        Self::CpuExceeded,
        Self::OutOfMemory,
        Self::InvalidResponse,
        Self::ClientTooSlow,
        Self::BodyTooLarge,
        Self::UriTooLong,
        Self::HeaderTooLong,
        Self::Malformed,
        Self::NotReady,
        Self::FunctionOverloaded,
        Self::NodeOverloaded,
        Self::BeganLate,
        Self::Recalled,
        Self::Internal,
    ];

    /// The outcome that it counts as, which decides whom it is charged to.
    pub fn outcome(self) -> Outcome {
        match self {
            Self::Trap => Outcome::Trap,
            Self::Timeout | Self::CpuExceeded => Outcome::Timeout,
            Self::OutOfMemory => Outcome::OutOfMemory,
            Self::InvalidResponse => Outcome::InvalidResponse,
            Self::ClientTooSlow
            | Self::BodyTooLarge
            | Self::UriTooLong
            | Self::HeaderTooLong
            | Self::Malformed => Outcome::Cancelled,
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
    /// Every value.
    pub(crate) const ALL: [Self; 3] = [Self::ClientLeft, Self::Drained, Self::Panicked];

    /// The outcome that it counts as.
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::ClientLeft => Outcome::Cancelled,
            Self::Drained => Outcome::Shed,
            Self::Panicked => Outcome::Internal,
        }
    }
}
