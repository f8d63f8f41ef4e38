//! Where a node keeps what must survive it: documents of functions, a journal of records, and components.
//!
//! A [`Store`] keeps texts under names and revisions, and makes each commit durable as a whole. What the
//! texts say is the control plane's affair. [`Blobs`] keep components by their SHA-256. A second engine is a
//! second implementation of [`Store`] beside [`EmbeddedStore`].
//!
//! Invariants: nothing here reads a document or a record; a commit is durable when it returns, all of it or
//! nothing; only an implementation names its database.

mod blobs;
mod embedded;
mod error;
mod memory;

use std::collections::BTreeMap;

use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};

pub use blobs::{Blobs, Pin, PutError};
pub use embedded::EmbeddedStore;
pub use error::StoreError;
pub use memory::MemoryStore;

/// Keeps the documents of functions, and the journal of the changes that led to them.
pub trait Store: Send + Sync + 'static {
    /// Reads everything but the journal, of which it gives the last record.
    fn load(&self) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Makes `commit` durable, all of it or nothing. When this returns `Ok`, it survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the store is not at the revision before the commit's; otherwise what went
    /// wrong, with nothing committed.
    ///
    /// # Cancel safety
    /// A future that is dropped may still commit.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes `traps` durable. They replace what was kept for the same versions. They are observations and no
    /// decisions, so they have no revision and no record.
    ///
    /// # Errors
    /// What went wrong, with nothing kept.
    fn keep_traps(&self, traps: KnownTraps) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records of the journal, newest first.
    ///
    /// # Errors
    /// What went wrong.
    fn journal(&self, range: JournalRange) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Records of the journal after revision `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// What went wrong.
    fn journal_after(
        &self,
        after: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Lets go of what it holds, once nobody works with it, so that another process can open it. From then on
    /// everything is refused with [`StoreError::Released`], until [`take_back`](Self::take_back).
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The revision of the last commit; 0 before the first.
    pub revision: Revision,
    /// The document of each function.
    pub functions: BTreeMap<FunctionName, String>,
    /// Traps of versions, also of versions that are gone.
    pub traps: KnownTraps,
    /// The record of the last commit.
    pub last: Option<Record>,
}

/// One change to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The revision that it makes: the store's next.
    pub revision: Revision,
    /// The function that it changes.
    pub function: FunctionName,
    /// The function's document from now on.
    pub document: String,
    /// The record of the change.
    pub record: String,
    /// Whether the traps of the function's versions are forgotten.
    pub forgets_traps: bool,
}

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The revision of its commit.
    pub revision: Revision,
    /// What it says.
    pub text: String,
}

/// Which records of the journal are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRange {
    /// Only those about this function.
    pub function: Option<FunctionName>,
    /// Only those of lower revisions.
    pub before: Option<Revision>,
    /// At most so many.
    pub limit: usize,
}

#[cfg(test)]
mod tests;
