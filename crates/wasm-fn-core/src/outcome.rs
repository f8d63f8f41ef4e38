//! How an invocation ended, as it is counted.

use std::fmt;

/// Class of an invocation's end.
///
/// The guest's fault, a limit and the client's leaving are different classes, because a rollout
/// charges them differently.
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
    /// Refused at a limit before the guest saw it.
    Shed,
    /// The client went away first.
    Cancelled,
    /// The host failed; no guest is to blame.
    Internal,
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

    /// Whether the version that answered is to blame.
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Self::ServerError | Self::Trap | Self::Timeout | Self::OutOfMemory | Self::InvalidResponse
        )
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
