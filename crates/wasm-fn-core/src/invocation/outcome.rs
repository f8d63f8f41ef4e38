//! How an invocation ended, for counting, and whom the end is charged to.

use std::fmt;

/// The class of an invocation's end.
///
/// What the version did, what the client did and what the node did are in different classes, because a
/// rollout charges only the first to the version. See [`blame`](Self::blame).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A complete answer with a status below 500.
    Success,
    /// A complete answer of the guest with a status of 500 or above.
    ServerError,
    /// The guest trapped.
    Trap,
    /// The deadline passed, or the CPU time ran out, before the invocation ended.
    Timeout,
    /// The guest trapped after it was refused memory.
    OutOfMemory,
    /// The guest returned without an answer, or its answer is not valid HTTP.
    InvalidResponse,
    /// The node refused or gave up the invocation: it reached a limit, did not have the version's code, or
    /// was told to stop.
    Shed,
    /// The client left first, or did not do its part: its body was too large or did not arrive, or the client
    /// did not read the answer.
    Cancelled,
    /// The host failed; no guest is to blame.
    Internal,
}

/// Whom an outcome is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The version that answered, or failed to answer. A verdict counts only these outcomes.
    Version,
    /// The client.
    Client,
    /// The node, or its operator.
    Node,
}

impl Blame {
    /// The word in the documentation.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Client => "client",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Outcome {
    /// Every outcome, in the order of [`index`](Self::index).
    pub const ALL: [Self; 9] = [
        Self::Success,
        Self::ServerError,
        Self::Trap,
        Self::Timeout,
        Self::OutOfMemory,
        Self::InvalidResponse,
        Self::Shed,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The index in [`ALL`](Self::ALL), for counters in an array.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whom the outcome is charged to; `None` if nothing went wrong.
    pub fn blame(self) -> Option<Blame> {
        match self {
            Self::Success => None,
            Self::ServerError | Self::Trap | Self::Timeout | Self::OutOfMemory | Self::InvalidResponse => {
                Some(Blame::Version)
            }
            Self::Cancelled => Some(Blame::Client),
            Self::Shed | Self::Internal => Some(Blame::Node),
        }
    }

    /// Whether the outcome is charged to the version.
    pub fn is_failure(self) -> bool {
        self.blame() == Some(Blame::Version)
    }

    /// Whether the outcome tells something about the version. Only then do verdicts and the version's
    /// latencies count it.
    pub fn counts(self) -> bool {
        matches!(self.blame(), None | Some(Blame::Version))
    }

    /// The word in metrics, logs and the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::ServerError => "server-error",
            Self::Trap => "trap",
            Self::Timeout => "timeout",
            Self::OutOfMemory => "out-of-memory",
            Self::InvalidResponse => "invalid-response",
            Self::Shed => "shed",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests;
