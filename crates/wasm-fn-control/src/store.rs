//! Where the state and its journal are kept.

mod embedded;
mod memory;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};

use crate::{
    journal::{ChainError, Entry, Hash},
    state::{Function, State},
};

pub use embedded::EmbeddedStore;
pub use memory::MemoryStore;

/// Keeps the state and the journal of changes that led to it.
pub trait Store: Send + Sync + 'static {
    /// Reads everything.
    fn load(&self) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Makes `commit` durable, all of it or nothing. When this returns `Ok`, it survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the store is not at the revision before the commit's; otherwise
    /// what went wrong, with nothing committed.
    ///
    /// # Cancel safety
    /// A future that is dropped may still commit.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes `traps` durable, which take the place of what was kept for the same versions. They are observations and no
    /// decisions, so they are no part of the journal, and belong to no revision.
    ///
    /// # Errors
    /// What went wrong, with nothing kept.
    fn keep_traps(&self, traps: KnownTraps) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Entries of the journal, newest first.
    fn journal(&self, range: JournalRange) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Walks the whole chain of hashes; gives the revision of its last entry.
    fn verify(&self) -> impl Future<Output = Result<Revision, VerifyError>> + Send;

    /// Lets go of what it holds, once nobody works with it, so that another process can open it. From then
    /// on everything is refused with [`StoreError::Released`], until [`take_back`](Self::take_back).
    fn release(&self) -> impl Future<Output = ()> + Send;

    /// Opens again what was [released](Self::release). It may have changed meanwhile.
    ///
    /// # Errors
    /// As when it was opened; it stays released then.
    fn take_back(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Fingerprints of the traps that versions have shown, by version and stage.
pub type KnownTraps = BTreeMap<(FunctionName, StageName, VersionNo), Vec<u64>>;

/// What a store holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// Traps of versions that the state has.
    pub traps: KnownTraps,
    /// The hash of the last entry.
    pub head: Hash,
}

/// One change to be kept.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The entry; its revision is the store's next.
    pub entry: Entry,
    /// The function that it changed, as it is now.
    pub function: Arc<Function>,
}

/// Which entries of the journal are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRange {
    /// Only those of this function.
    pub function: Option<FunctionName>,
    /// Only those of lower revisions.
    pub before: Option<Revision>,
    /// At most so many.
    pub limit: usize,
}

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

/// Those of `traps` that are of versions which `state` has.
fn of_versions(traps: KnownTraps, state: &State) -> KnownTraps {
    let known = |(name, stage, version): &(FunctionName, StageName, VersionNo)| {
        state.function(name).is_ok_and(|function| {
            function.stages.contains_key(stage) && function.versions.contains_key(version)
        })
    };
    traps.into_iter().filter(|(key, _)| known(key)).collect()
}

/// Why a journal is not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[cfg(test)]
mod tests;
