//! Why a store cannot be used.

use std::{
    io,
    path::{Path, PathBuf},
};

use wasm_fn_core::Revision;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another node has it open.
    #[error("data directory {} is in use by another node", .0.display())]
    InUse(PathBuf),
    /// This process has released it.
    #[error("data directory {} was handed over to another process", .0.display())]
    Released(PathBuf),
    /// The directory is not writable.
    #[error("data directory {} is not writable, expected permission to create files in it", .path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// A newer program wrote it.
    #[error("state in {} has format {found}, expected at most {known}, the newest that this program knows", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The format of the file.
        found: u64,
        /// The newest format that this program knows.
        known: u64,
    },
    /// It holds a value that cannot be read.
    #[error("table {table}, key {key:?}: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// What is wrong with the value.
        reason: String,
    },
    /// It is at another revision.
    #[error("state is at revision {found}, expected {expected}")]
    Conflict {
        /// The revision expected.
        expected: Revision,
        /// The revision found.
        found: Revision,
    },
    /// The node is out of touch with the cluster that keeps the state.
    #[error("no change can be made: this node is out of touch with its cluster since {since}: {reason}")]
    OutOfTouch {
        /// Since when, RFC 3339.
        since: String,
        /// Why.
        reason: String,
    },
    /// Whoever keeps it did not answer in time. Nothing was changed.
    #[error("the cluster did not answer in time: {reason}")]
    Unanswered {
        /// Why.
        reason: String,
    },
    /// It is not known whether a commit was made. The store will tell as soon as it is in touch again.
    #[error("it is not known whether the change was made: {reason}")]
    Unknown {
        /// Why.
        reason: String,
    },
    /// The cluster's log does not go on from what this node has: it has lost or changed what it acknowledged.
    #[error("the cluster's log differs from this node's state at revision {revision}: {reason}")]
    Diverged {
        /// The first revision that differs.
        revision: Revision,
        /// What was found, and what was expected.
        reason: String,
    },
    /// The disk has no space for what was to be written. Nothing of it was kept.
    #[error("no space for {}: {reason}", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
        /// What the operating system reported.
        reason: String,
    },
    /// The database or the disk failed.
    #[error("state in {} cannot be read or written: {reason}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it reported.
        reason: String,
    },
}

impl StoreError {
    /// The error of reading or writing the file at `path`.
    pub(crate) fn of_io(path: &Path, error: &io::Error) -> Self {
        let (path, reason) = (path.to_owned(), error.to_string());
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::DiskFull { path, reason }
            }
            _ => Self::Database { path, reason },
        }
    }

    /// The same error for another operation that failed with it.
    pub(crate) fn again(&self, file: &Path) -> Self {
        match self {
            Self::InUse(path) => Self::InUse(path.clone()),
            Self::Released(path) => Self::Released(path.clone()),
            Self::DiskFull { path, reason } => Self::DiskFull { path: path.clone(), reason: reason.clone() },
            Self::Database { path, reason } => Self::Database { path: path.clone(), reason: reason.clone() },
            error => Self::Database { path: file.to_owned(), reason: error.to_string() },
        }
    }
}
