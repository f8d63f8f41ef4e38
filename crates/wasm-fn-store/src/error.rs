//! Why a store cannot be used.

use std::path::PathBuf;

use wasm_fn_core::Revision;

/// Why a store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else has it open.
    #[error("data directory {} is in use by another node", .0.display())]
    InUse(PathBuf),
    /// This process let go of it.
    #[error("data directory {} was handed over to another process", .0.display())]
    Released(PathBuf),
    /// It cannot be written to.
    #[error("data directory {} is not writable, expected to be allowed to create files in it", .path.display())]
    NotWritable {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It was written by a newer program.
    #[error("state in {} has format {found}, this program knows formats up to {known}", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
        /// The newest known.
        known: u64,
    },
    /// Something in it cannot be read.
    #[error("table {table}, key {key:?}: {reason}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The key.
        key: String,
        /// What is wrong with it.
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
    /// The database or the disk.
    #[error("state in {} cannot be read or written: {reason}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}
