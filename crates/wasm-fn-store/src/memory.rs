//! A store that is lost when the process ends: for tests, and for nodes that need not keep their state.

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use wasm_fn_core::{FunctionName, Revision};

use crate::{
    Commit, EmbeddedStore, Followed, JournalRange, KnownTraps, Loaded, Record, Store, StoreError, Subject,
    TokenUses,
};

/// How many commits are told one by one to those who follow.
const NEWEST_MAX: usize = 64;

/// Keeps everything in memory. Several control planes that have the same one are like nodes of a cluster.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
    revision: watch::Sender<Revision>,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    functions: BTreeMap<FunctionName, String>,
    access: Option<String>,
    journal: BTreeMap<Revision, (Subject, String)>,
    token_uses: TokenUses,
    traps: KnownTraps,
    // The newest commits, the last of which made the revision.
    newest: VecDeque<Commit>,
}

impl Kept {
    /// What follows revision `after`; `None` if nothing does yet.
    fn after(&self, after: Revision) -> Option<Followed> {
        let oldest = self.newest.front()?.revision;
        if self.revision() <= after {
            return None;
        }
        let at = after.next().0.checked_sub(oldest.0).and_then(|at| usize::try_from(at).ok());
        Some(at.and_then(|at| self.newest.get(at)).cloned().map_or(Followed::Reload, Followed::Commit))
    }

    fn revision(&self) -> Revision {
        self.journal.last_key_value().map_or(Revision::default(), |(revision, _)| *revision)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while holding the lock, and every commit is checked against the revision.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn record((&revision, (_, text)): (&Revision, &(Subject, String))) -> Record {
    Record { revision, text: text.clone() }
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let kept = self.kept();
        Ok(Loaded {
            revision: kept.revision(),
            functions: kept.functions.clone(),
            access: kept.access.clone(),
            token_uses: kept.token_uses.clone(),
            traps: kept.traps.clone(),
            last: kept.journal.last_key_value().map(record),
        })
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.kept().traps.extend(traps);
        Ok(())
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        self.kept().token_uses = uses;
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let found = kept.revision();
        if found.next() != commit.revision {
            return Err(StoreError::Conflict { expected: Revision(commit.revision.0 - 1), found });
        }
        if kept.newest.len() == NEWEST_MAX {
            kept.newest.pop_front();
        }
        kept.newest.push_back(commit.clone());
        let Commit { revision, subject, document, record, forgets_traps } = commit;
        match (&subject, document) {
            (Subject::Function(function), document) => {
                if forgets_traps {
                    kept.traps.retain(|(name, ..), _| name != function);
                }
                kept.functions.extend(document.map(|document| (function.clone(), document)));
            }
            (Subject::Access, Some(document)) => kept.access = Some(document),
            (Subject::Access, None) => {}
        }
        kept.journal.insert(revision, (subject, record));
        drop(kept);
        self.revision.send_replace(revision);
        Ok(())
    }

    async fn follow(&self, after: Revision) -> Result<Followed, StoreError> {
        let mut revision = self.revision.subscribe();
        loop {
            revision.mark_unchanged();
            if let Some(followed) = self.kept().after(after) {
                return Ok(followed);
            }
            // The sender is in this store.
            let _ = revision.changed().await;
        }
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        let kept = self.kept();
        let before = range.before.unwrap_or(Revision(u64::MAX));
        let about = |(_, (subject, _)): &(&Revision, &(Subject, String))| match (&range.function, subject) {
            (None, _) => true,
            (Some(name), Subject::Function(function)) => name == function,
            (Some(_), Subject::Access) => false,
        };
        Ok(kept.journal.range(..before).rev().filter(about).take(range.limit).map(record).collect())
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        let kept = self.kept();
        let range = (Bound::Excluded(after), Bound::Unbounded);
        Ok(kept.journal.range(range).take(limit).map(record).collect())
    }

    /// The copy holds every document as it is now; no record of a store in memory tells what it was before.
    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        let kept = {
            let kept = self.kept();
            begun();
            kept.clone()
        };
        let copy = EmbeddedStore::open(&folder)?;
        for (revision, (subject, record)) in kept.journal {
            let document = match &subject {
                Subject::Function(function) => kept.functions.get(function).cloned(),
                Subject::Access => kept.access.clone(),
            };
            copy.commit(Commit { revision, subject, document, record, forgets_traps: false }).await?;
        }
        copy.keep_token_uses(kept.token_uses).await?;
        copy.keep_traps(kept.traps).await?;
        copy.release().await;
        Ok(())
    }

    /// No other process can open a store in memory.
    async fn release(&self) {}

    async fn take_back(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
