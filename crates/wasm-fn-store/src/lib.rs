//! The durable state of a node: documents of functions and of access, a journal of records, components,
//! events, and what functions keep.
//!
//! A [`Store`] keeps texts under names and revisions, and makes each commit durable as a whole. Only the
//! control plane knows what the texts mean. [`Blobs`] keeps components by their SHA-256, an [`Inbox`] events
//! until they are handled, and [`Buckets`] the keys and values of functions. Another engine would be a second
//! implementation of these traits next to [`EmbeddedStore`], [`EmbeddedInbox`] and [`EmbeddedBuckets`].
//!
//! Invariants: this crate never parses a document, a record or an event; a commit is durable when it returns,
//! as a whole or not at all, unless the trait says otherwise; only an implementation names its database.

mod blobs;
mod buckets;
mod embedded;
mod error;
mod inbox;
mod memory;

use std::{collections::BTreeMap, path::PathBuf};

use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};

pub use blobs::{Blobs, Pin, PutError, Scratch};
pub use buckets::{
    Bucket, BucketAccess, BucketAddress, BucketConsistency, BucketDurability, BucketError, BucketOperation,
    BucketOperationCounts, BucketPlace, BucketQuota, BucketUsage, Buckets, Delta, FunctionBucket,
    FunctionBuckets, KeyPage, KeyRevision, KeyValue, Swap, ValueFuture, ValueOperations,
};
pub use embedded::{AppliedEntry, Delivery, EmbeddedBucket, EmbeddedBuckets, EmbeddedInbox, EmbeddedStore};
pub use error::StoreError;
pub use inbox::{
    ChangeOutcome, DeadEvent, DeadLetters, EventKey, EventPage, EventState, Finish, Inbox, InboxBound,
    InboxChange, InboxError, InboxLimits, LogPlace, Mark, NewEvent, Put, Receipt, ShardHolder, StoredEvent,
    Take, TakenEvent, TriggerCounts,
};
pub use memory::MemoryStore;

/// Keeps the documents of functions and of access, and the journal of the changes that led to them.
pub trait Store: Send + Sync + 'static {
    /// Reads everything except the journal, of which it returns only the last record.
    fn load(&self) -> impl Future<Output = Result<Loaded, StoreError>> + Send;

    /// Makes `commit` durable, as a whole or not at all. If this returns `Ok`, the commit survives a crash.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the store is not at the revision before the commit's. Otherwise the error
    /// that occurred. In both cases nothing is committed.
    ///
    /// # Cancel safety
    /// If the future is dropped, the commit may still happen.
    fn commit(&self, commit: Commit) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes all of `commits` durable, each of which has to follow the one before. The default does so one by
    /// one: if it fails, the first of them may be durable.
    ///
    /// # Errors
    /// As of [`commit`](Self::commit).
    fn commit_all(&self, commits: Vec<Commit>) -> impl Future<Output = Result<(), StoreError>> + Send {
        async move {
            for commit in commits {
                self.commit(commit).await?;
            }
            Ok(())
        }
    }

    /// Waits for the commit after revision `after`, whichever node made it. The default is that of a store
    /// which only this process changes: it has none that the caller does not know, so it waits for ever.
    ///
    /// If the store has the commit, the first poll is ready.
    ///
    /// # Errors
    /// [`StoreError::Diverged`] if there will never be one that follows what the store has.
    fn follow(&self, after: Revision) -> impl Future<Output = Result<Followed, StoreError>> + Send {
        let _ = after;
        std::future::pending()
    }

    /// Makes `traps` durable. They replace the traps that are kept for the same versions. Traps are
    /// observations, not decisions, so they have no revision and no record.
    ///
    /// # Errors
    /// The error that occurred. Nothing is kept.
    fn keep_traps(&self, traps: KnownTraps) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Makes `uses` durable, in place of all that are kept. Like traps, they are observations.
    ///
    /// # Errors
    /// The error that occurred. What was kept stays.
    fn keep_token_uses(&self, uses: TokenUses) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records of the journal, newest first.
    ///
    /// # Errors
    /// The error that occurred.
    fn journal(&self, range: JournalRange) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Records of the journal after revision `after`, oldest first, at most `limit` of them.
    ///
    /// # Errors
    /// The error that occurred.
    fn journal_after(
        &self,
        after: Revision,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Record>, StoreError>> + Send;

    /// Copies everything that the store holds at one moment into a new store in `folder`, for an
    /// [`EmbeddedStore`] to open. Calls `begun` at that moment: later commits are not in the copy, and need
    /// not wait for it.
    ///
    /// # Errors
    /// The error that occurred. The folder then holds no complete copy.
    fn copy(
        &self,
        folder: PathBuf,
        begun: impl FnOnce() + Send + 'static,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Waits for calls that use the store, and then releases it, so that another process can open it. After
    /// that, every call is refused with [`StoreError::Released`] until [`take_back`](Self::take_back).
    fn release(&self) -> impl Future<Output = ()> + Send;

    /// Reopens a store that was [released](Self::release). Another process may have changed it meanwhile.
    ///
    /// # Errors
    /// The errors of opening it. The store then stays released.
    fn take_back(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The fingerprints of the traps that versions have had, by function, stage and version.
pub type KnownTraps = BTreeMap<(FunctionName, StageName, VersionNo), Vec<u64>>;

/// When tokens were used last, by the id of the token, in minutes since 1970.
pub type TokenUses = BTreeMap<String, u64>;

/// The contents of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// The revision of the last commit; 0 before the first.
    pub revision: Revision,
    /// The document of each function.
    pub functions: BTreeMap<FunctionName, String>,
    /// The document about access; `None` before the first.
    pub access: Option<String>,
    /// When tokens were used last, by the id of the token, in minutes since 1970.
    pub token_uses: TokenUses,
    /// Traps of versions, including versions that no longer exist.
    pub traps: KnownTraps,
    /// The record of the last commit.
    pub last: Option<Record>,
}

/// What a commit is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A function.
    Function(FunctionName),
    /// Who may do what.
    Access,
}

/// A change to commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The revision that the commit makes: the next one of the store.
    pub revision: Revision,
    /// What the commit changes.
    pub subject: Subject,
    /// Its new document; `None` if it stays as it is.
    pub document: Option<String>,
    /// The record of the change.
    pub record: String,
    /// Whether to remove the traps of the versions of the subject, a function.
    pub forgets_traps: bool,
}

/// What follows a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// This commit, of the next revision. It is durable in the store.
    Commit(Commit),
    /// More commits than the store tells one by one: [`load`](Store::load) has them all.
    Reload,
}

/// A record of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The revision of the commit.
    pub revision: Revision,
    /// The text of the record.
    pub text: String,
}

/// Which records of the journal to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRange {
    /// Only records about this function.
    pub function: Option<FunctionName>,
    /// Only records of lower revisions.
    pub before: Option<Revision>,
    /// At most this many records.
    pub limit: usize,
}

#[cfg(test)]
mod tests;
