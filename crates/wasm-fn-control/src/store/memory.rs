//! A store that forgets: for tests, and for nodes that need not remember.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasm_fn_core::{FunctionName, Revision};

use super::{Commit, JournalRange, KnownTraps, Loaded, Store, StoreError, VerifyError, of_versions};
use crate::{
    journal::{Entry, GENESIS, Hash, Walk},
    state::State,
};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    state: State,
    head: Option<Hash>,
    journal: BTreeMap<Revision, Entry>,
    traps: KnownTraps,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics while it is locked, and every commit is checked against the revision.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let kept = self.kept();
        let traps = of_versions(kept.traps.clone(), &kept.state);
        Ok(Loaded { state: kept.state.clone(), traps, head: kept.head.unwrap_or(GENESIS) })
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.kept().traps.extend(traps);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let Commit { entry, function } = commit;
        let found = kept.state.revision();
        if found.next() != entry.revision {
            return Err(StoreError::Conflict { expected: Revision(entry.revision.0 - 1), found });
        }
        kept.state.revision = entry.revision;
        kept.state.functions.insert(entry.change.function.clone(), function);
        kept.head = Some(entry.hash);
        kept.journal.insert(entry.revision, entry);
        Ok(())
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
        let kept = self.kept();
        let about = |entry: &&Entry| {
            range.function.as_ref().is_none_or(|name: &FunctionName| *name == entry.change.function)
        };
        let before = range.before.unwrap_or(Revision(u64::MAX));
        let entries = kept.journal.range(..before).rev().map(|(_, entry)| entry);
        Ok(entries.filter(about).take(range.limit).cloned().collect())
    }

    async fn verify(&self) -> Result<Revision, VerifyError> {
        let mut walk = Walk::new();
        for (revision, entry) in &self.kept().journal {
            walk.step(revision.0, &entry.to_json())?;
        }
        Ok(walk.revision())
    }

    /// No other process can open it.
    async fn release(&self) {}

    async fn take_back(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
