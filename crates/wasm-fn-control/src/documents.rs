//! The contents of the store, as the control plane writes and reads them: a document for each function, and a
//! record for each entry of the journal.

use std::{collections::BTreeMap, sync::Arc};

use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};
use wasm_fn_store::{Commit, JournalRange, KnownTraps, Record, Store, StoreError};

use crate::{
    journal::{ChainError, Entry, GENESIS, Hash, Walk},
    state::{Action, Function, State},
    stored,
};

/// How many records to read at once when verifying the journal.
const RECORDS_AT_ONCE: usize = 1000;

/// The parsed contents of a store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadedState {
    pub(crate) state: State,
    /// Traps of versions that exist in the state.
    pub(crate) traps: KnownTraps,
    /// The hash of the last entry.
    pub(crate) head: Hash,
}

/// Why the journal cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The journal cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads the state.
///
/// # Errors
/// If the store fails, or holds something that cannot be read.
pub(crate) async fn load(store: &impl Store) -> Result<LoadedState, StoreError> {
    let loaded = store.load().await?;
    let mut functions = BTreeMap::new();
    for (name, document) in loaded.functions {
        let mut function = read_function(&document).map_err(|reason| StoreError::Corrupt {
            table: "functions",
            key: name.to_string(),
            reason,
        })?;
        if function.revision == Revision::default() {
            // An earlier program did not store it.
            let last = JournalRange { function: Some(name.clone()), before: None, limit: 1 };
            function.revision =
                store.journal(last).await?.first().map_or(loaded.revision, |last| last.revision);
        }
        functions.insert(name, Arc::new(function));
    }
    let state = State::new(loaded.revision, functions);
    let head = loaded.last.as_ref().map(read_entry).transpose()?.map_or(GENESIS, |entry| entry.hash);
    let traps = of_versions(loaded.traps, &state);
    Ok(LoadedState { state, traps, head })
}

/// The state that a store holds.
///
/// # Errors
/// If the store fails, or holds something that cannot be read.
pub async fn stored_state(store: &impl Store) -> Result<State, StoreError> {
    Ok(load(store).await?.state)
}

/// The commit for `entry`, which leaves its function as `function`.
pub(crate) fn commit(entry: &Entry, function: &Function) -> Commit {
    let document = serde_json::to_string(&stored::StoredFunction::from(function));
    Commit {
        revision: entry.revision,
        function: entry.change.function.clone(),
        document: document.expect("a document has text keys and no fractions"),
        record: entry.to_json(),
        forgets_traps: matches!(entry.change.action, Action::Delete),
    }
}

/// Entries of the journal, newest first.
///
/// # Errors
/// If the store fails, or a record cannot be read.
pub(crate) async fn journal(store: &impl Store, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
    store.journal(range).await?.iter().map(read_entry).collect()
}

/// Verifies the whole chain of hashes. Returns the revision of its last entry.
///
/// # Errors
/// The place where the chain is broken.
pub async fn verify_journal(store: &impl Store) -> Result<Revision, VerifyError> {
    let mut walk = Walk::new();
    loop {
        let records = store.journal_after(walk.revision(), RECORDS_AT_ONCE).await?;
        if records.is_empty() {
            return Ok(walk.revision());
        }
        for Record { revision, text } in &records {
            walk.step(revision.0, text)?;
        }
    }
}

fn read_function(document: &str) -> Result<Function, String> {
    let stored: stored::StoredFunction = serde_json::from_str(document).map_err(|error| error.to_string())?;
    Function::try_from(stored).map_err(|error| error.0)
}

fn read_entry(record: &Record) -> Result<Entry, StoreError> {
    Entry::parse(&record.text).map_err(|error| StoreError::Corrupt {
        table: "journal",
        key: record.revision.0.to_string(),
        reason: error.0,
    })
}

/// The `traps` whose versions exist in `state`.
fn of_versions(traps: KnownTraps, state: &State) -> KnownTraps {
    let known = |(name, stage, version): &(FunctionName, StageName, VersionNo)| {
        state.function(name).is_ok_and(|function| {
            function.stages.contains_key(stage) && function.versions.contains_key(version)
        })
    };
    traps.into_iter().filter(|(key, _)| known(key)).collect()
}

#[cfg(test)]
mod tests;
