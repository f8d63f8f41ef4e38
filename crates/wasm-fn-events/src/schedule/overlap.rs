//! What happens to a tick while an earlier run of its schedule is in progress.

use std::{fmt, str::FromStr};

/// Runs of one schedule that may be in progress at a time, under any policy.
pub const RUNS_MAX: usize = 1000;

/// What happens to a tick while an earlier run is in progress. The policies are those of Temporal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlap {
    /// The tick does not run.
    #[default]
    Skip,
    /// One tick waits until the earlier run has ended; further ones do not run.
    BufferOne,
    /// The tick runs beside it.
    AllowAll,
    /// The earlier run is broken off, and the tick runs then.
    CancelOther,
}

/// Every policy, in the order of the documentation.
pub const OVERLAPS: [Overlap; 4] =
    [Overlap::Skip, Overlap::BufferOne, Overlap::AllowAll, Overlap::CancelOther];

/// A word is no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("overlap policy {found:?} is not known, expected skip, buffer-one, allow-all or cancel-other")]
pub struct OverlapError {
    /// The word found.
    pub found: String,
}

/// What to do with a tick that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlapDecision {
    /// Run it now.
    Start,
    /// Run it when no other run is in progress.
    Buffer,
    /// Do not run it.
    Skip,
    /// Break off the runs that are in progress, then run it.
    CancelThenStart,
}

impl Overlap {
    /// What to do with a tick that is due while `running` runs are in progress and `buffered` wait.
    pub fn decide(self, running: usize, buffered: usize) -> OverlapDecision {
        match self {
            _ if running == 0 && buffered == 0 => OverlapDecision::Start,
            Self::AllowAll if running + buffered < RUNS_MAX => OverlapDecision::Start,
            Self::BufferOne if buffered == 0 => OverlapDecision::Buffer,
            Self::CancelOther => OverlapDecision::CancelThenStart,
            Self::Skip | Self::BufferOne | Self::AllowAll => OverlapDecision::Skip,
        }
    }

    /// The word on the command line and in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::BufferOne => "buffer-one",
            Self::AllowAll => "allow-all",
            Self::CancelOther => "cancel-other",
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Overlap {
    type Err = OverlapError;

    fn from_str(word: &str) -> Result<Self, OverlapError> {
        let policy = OVERLAPS.into_iter().find(|policy| policy.as_str() == word);
        policy.ok_or_else(|| OverlapError { found: word.chars().take(64).collect() })
    }
}
