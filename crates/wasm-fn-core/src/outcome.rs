//! How an invocation ended, as it is counted, and whom that is charged to.

use std::fmt;

/// Class of an invocation's end.
///
/// What the version did, what the client did and what the node did are different classes, because a
/// rollout charges only the first to the version: see [`blame`](Self::blame).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A complete answer with a status below 500.
    Success,
    /// A complete answer with a status of 500 or above, made by the guest.
    ServerError,
    /// The guest trapped.
    Trap,
    /// The deadline passed, or the CPU time was used up, first.
    Timeout,
    /// The guest trapped after memory was refused to it.
    OutOfMemory,
    /// The guest returned without an answer, or with one that is no HTTP.
    InvalidResponse,
    /// The node refused it or gave it up: at a limit, without the version's code, or because it was told to.
    Shed,
    /// The client went away first, or did not do its part: its body was too large or did not come, or it did
    /// not read the answer.
    Cancelled,
    /// The host failed; no guest is to blame.
    Internal,
}

/// Whom an outcome is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The version that answered or failed to. Only this counts in a verdict.
    Version,
    /// The client.
    Client,
    /// The node, or who operates it.
    Node,
}

impl Blame {
    /// The word used in the documentation.
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

    /// Place in [`ALL`](Self::ALL), for counters in an array.
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whom it is charged to; `None` when nothing went wrong.
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

    /// Whether the version that answered is to blame.
    pub fn is_failure(self) -> bool {
        self.blame() == Some(Blame::Version)
    }

    /// Whether it says something of the version, so that a verdict and the version's latencies count it.
    pub fn counts(self) -> bool {
        matches!(self.blame(), None | Some(Blame::Version))
    }

    /// The word used in metrics, logs and the API.
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
