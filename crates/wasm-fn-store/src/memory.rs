//! A store that is lost when the process ends: for tests, and for nodes that need not keep their state.

use std::{
    collections::BTreeMap,
    ops::Bound,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
};

use wasm_fn_core::{FunctionName, Revision};

use crate::{Commit, EmbeddedStore, JournalRange, KnownTraps, Loaded, Record, Store, StoreError};

/// Keeps everything in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    functions: BTreeMap<FunctionName, String>,
    journal: BTreeMap<Revision, (FunctionName, String)>,
    traps: KnownTraps,
}

impl Kept {
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

fn record((&revision, (_, text)): (&Revision, &(FunctionName, String))) -> Record {
    Record { revision, text: text.clone() }
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        let kept = self.kept();
        Ok(Loaded {
            revision: kept.revision(),
            functions: kept.functions.clone(),
            traps: kept.traps.clone(),
            last: kept.journal.last_key_value().map(record),
        })
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.kept().traps.extend(traps);
        Ok(())
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let Commit { revision, function, document, record, forgets_traps } = commit;
        let found = kept.revision();
        if found.next() != revision {
            return Err(StoreError::Conflict { expected: Revision(revision.0 - 1), found });
        }
        if forgets_traps {
            kept.traps.retain(|(name, ..), _| *name != function);
        }
        kept.functions.insert(function.clone(), document);
        kept.journal.insert(revision, (function, record));
        Ok(())
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        let kept = self.kept();
        let before = range.before.unwrap_or(Revision(u64::MAX));
        let about = |(_, (function, _)): &(&Revision, &(FunctionName, String))| {
            range.function.as_ref().is_none_or(|name| name == function)
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
        let (functions, journal, traps) = {
            let kept = self.kept();
            begun();
            (kept.functions.clone(), kept.journal.clone(), kept.traps.clone())
        };
        let copy = EmbeddedStore::open(&folder)?;
        for (revision, (function, record)) in journal {
            let document = functions.get(&function).cloned().unwrap_or_default();
            copy.commit(Commit { revision, function, document, record, forgets_traps: false }).await?;
        }
        copy.keep_traps(traps).await?;
        copy.release().await;
        Ok(())
    }

    /// No other process can open a store in memory.
    async fn release(&self) {}

    async fn take_back(&self) -> Result<(), StoreError> {
        Ok(())
    }
}
