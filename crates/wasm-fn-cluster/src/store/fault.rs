//! Why the replica does not go on.

use std::path::PathBuf;

use wasm_fn_core::Revision;
use wasm_fn_store::StoreError;

use crate::log::FORMAT;

/// Why the replica does not go on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The log does not follow what the replica has.
    Diverged { revision: Revision, reason: String },
    /// A newer program writes the log.
    Newer { log: String, found: u64 },
    /// The replica takes nothing.
    Replica(StoreError),
}

impl Clone for Fault {
    fn clone(&self) -> Self {
        match self {
            Self::Diverged { revision, reason } => {
                Self::Diverged { revision: *revision, reason: reason.clone() }
            }
            Self::Newer { log, found } => Self::Newer { log: log.clone(), found: *found },
            Self::Replica(_) => Self::Replica(self.to_error()),
        }
    }
}

impl Fault {
    /// Whether it stays for as long as the process runs.
    pub(super) fn is_lasting(&self) -> bool {
        !matches!(self, Self::Replica(_))
    }

    /// The error of whoever needs the replica to go on.
    pub(super) fn to_error(&self) -> StoreError {
        match self {
            Self::Diverged { revision, reason } => {
                StoreError::Diverged { revision: *revision, reason: reason.clone() }
            }
            Self::Newer { log, found } => {
                StoreError::Newer { path: PathBuf::from(log), found: *found, known: FORMAT }
            }
            Self::Replica(StoreError::DiskFull { path, reason }) => {
                StoreError::DiskFull { path: path.clone(), reason: reason.clone() }
            }
            Self::Replica(StoreError::Released(path)) => StoreError::Released(path.clone()),
            Self::Replica(StoreError::Database { path, reason }) => {
                StoreError::Database { path: path.clone(), reason: reason.clone() }
            }
            Self::Replica(error) => {
                StoreError::Database { path: PathBuf::from("replica"), reason: error.to_string() }
            }
        }
    }

    pub(super) fn to_text(&self) -> String {
        self.to_error().to_string()
    }
}
