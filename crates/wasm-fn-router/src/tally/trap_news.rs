//! Which versions have had a trap that they did not have before.

use std::{
    collections::BTreeSet,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use wasm_fn_core::{FunctionName, StageName, VersionNo};

/// The versions with new traps, by function, stage and number, until somebody takes them.
#[derive(Debug, Default)]
pub struct TrapNews(Mutex<BTreeSet<(FunctionName, StageName, VersionNo)>>);

/// Reports new traps of one version.
#[derive(Debug)]
pub struct TrapReporter {
    news: Arc<TrapNews>,
    version: (FunctionName, StageName, VersionNo),
}

impl TrapNews {
    /// What reports new traps of `version`.
    pub fn of(self: &Arc<Self>, version: (FunctionName, StageName, VersionNo)) -> TrapReporter {
        TrapReporter { news: Arc::clone(self), version }
    }

    /// The versions that have had new traps since the last call.
    pub fn take(&self) -> BTreeSet<(FunctionName, StageName, VersionNo)> {
        mem::take(&mut *self.versions())
    }

    /// Puts back what was [taken](Self::take) and could not be used.
    pub fn put_back(&self, versions: impl IntoIterator<Item = (FunctionName, StageName, VersionNo)>) {
        self.versions().extend(versions);
    }

    fn versions(&self) -> MutexGuard<'_, BTreeSet<(FunctionName, StageName, VersionNo)>> {
        // Nothing panics while holding the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TrapReporter {
    pub(super) fn report(&self) {
        self.news.versions().insert(self.version.clone());
    }
}
