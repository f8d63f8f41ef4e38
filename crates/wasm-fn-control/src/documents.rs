//! The contents of the store, as the control plane writes and reads them: a document for each function, one
//! about access, and a record for each entry of the journal.

use std::{collections::BTreeMap, num::NonZeroUsize, panic, sync::Arc, thread};

use serde::Serialize;
use wasm_fn_access::Tokens;
use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};
use wasm_fn_secrets::SealedDataKey;
use wasm_fn_store::{Commit, JournalRange, KnownTraps, Record, Store, StoreError, Subject, TokenUses};

use crate::{
    journal::{ChainError, Entry, GENESIS, Hash, HeadError, NotedHead, Walk},
    state::{AccessChange, Action, Change, Function, State},
    stored,
};

/// How many documents a thread parses at least. It takes them about ten milliseconds.
const DOCUMENTS_AT_ONCE: usize = 1000;

/// How many records to read at once when verifying the journal.
const RECORDS_AT_ONCE: usize = 1000;

/// The parsed contents of a store.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LoadedState {
    pub(crate) state: State,
    /// Traps of versions that exist in the state.
    pub(crate) traps: KnownTraps,
    pub(crate) token_uses: TokenUses,
    /// The hash of the last entry.
    pub(crate) head: Hash,
}

/// Why the journal cannot be verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The chain is broken.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The chain does not contain a head that was noted.
    #[error("{0}")]
    Head(HeadError),
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
    for (name, mut function) in read_functions(loaded.functions)? {
        if function.revision == Revision::default() {
            // An earlier program did not store it.
            let last = JournalRange { function: Some(name.clone()), before: None, limit: 1 };
            function.revision =
                store.journal(last).await?.first().map_or(loaded.revision, |last| last.revision);
        }
        functions.insert(name, Arc::new(function));
    }
    let access = loaded.access.as_deref().map(read_access).transpose();
    let access =
        access.map_err(|reason| StoreError::Corrupt { table: "access", key: "tokens".to_owned(), reason })?;
    let (tokens, data_keys) = access.unwrap_or_default();
    let state = State::new(loaded.revision, functions, Arc::new(tokens), Arc::new(data_keys));
    let head = loaded.last.as_ref().map(read_entry).transpose()?.map_or(GENESIS, |entry| entry.hash);
    let traps = of_versions(loaded.traps, &state);
    Ok(LoadedState { state, traps, token_uses: loaded.token_uses, head })
}

/// The state that a store holds.
///
/// # Errors
/// If the store fails, or holds something that cannot be read.
pub async fn stored_state(store: &impl Store) -> Result<State, StoreError> {
    Ok(load(store).await?.state)
}

/// The commit for `entry`, which leads to the state `after`.
pub(crate) fn commit(entry: &Entry, after: &State) -> Commit {
    let (subject, document) = match &entry.change {
        // It changes nothing either.
        Change::Function(change) if change.action.is_record() => {
            (Subject::Function(change.function.clone()), None)
        }
        Change::Function(change) => {
            let function = after.stored_function(&change.function).cloned().unwrap_or_default();
            let document = json(&stored::StoredFunction::from(&*function));
            (Subject::Function(change.function.clone()), Some(document))
        }
        // A record of refusals changes nothing, so there is nothing to write but the record.
        Change::Access(AccessChange::Refuse { .. }) => (Subject::Access, None),
        Change::Access(_) => (Subject::Access, Some(json(&stored::StoredAccess::from(after)))),
    };
    Commit {
        revision: entry.revision,
        subject,
        document,
        record: entry.to_json(),
        forgets_traps: matches!(entry.change.action(), Some(Action::Delete)),
    }
}

fn json(document: &impl Serialize) -> String {
    serde_json::to_string(document).expect("a document has text keys and no fractions")
}

/// Entries of the journal, newest first.
///
/// # Errors
/// If the store fails, or a record cannot be read.
pub(crate) async fn journal(store: &impl Store, range: JournalRange) -> Result<Vec<Entry>, StoreError> {
    store.journal(range).await?.iter().map(read_entry).collect()
}

/// Verifies the whole chain of hashes, and that it contains the head that was `noted`. Returns its own head.
///
/// # Errors
/// The place where the chain is broken, or differs from the noted head.
pub async fn verify_journal(store: &impl Store, noted: Option<NotedHead>) -> Result<NotedHead, VerifyError> {
    let mut walk = Walk::new();
    let mut found = noted.filter(|noted| *noted != walk.head());
    loop {
        let records = store.journal_after(walk.head().revision, RECORDS_AT_ONCE).await?;
        if records.is_empty() {
            return match found {
                None => Ok(walk.head()),
                Some(noted) => Err(VerifyError::Head(HeadError::Missing {
                    noted: noted.revision,
                    last: walk.head().revision,
                })),
            };
        }
        for Record { revision, text } in &records {
            walk.step(revision.0, text)?;
            if let Some(noted) = found.take_if(|noted| noted.revision == walk.head().revision)
                && noted != walk.head()
            {
                return Err(VerifyError::Head(HeadError::Differs { revision: noted.revision }));
            }
        }
    }
}

/// Parses the `documents` of functions on all cores. A node that starts waits for it.
fn read_functions(
    documents: BTreeMap<FunctionName, String>,
) -> Result<Vec<(FunctionName, Function)>, StoreError> {
    let documents = Vec::from_iter(documents);
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let at_once = documents.len().div_ceil(cores).max(DOCUMENTS_AT_ONCE);
    let parse = |part: &[(FunctionName, String)]| -> Result<Vec<_>, StoreError> {
        let read = part.iter().map(|(name, document)| {
            let corrupt = |reason| StoreError::Corrupt { table: "functions", key: name.to_string(), reason };
            Ok((name.clone(), read_function(document).map_err(corrupt)?))
        });
        read.collect()
    };
    let mut parts = documents.chunks(at_once);
    let own = parts.next().unwrap_or_default();
    thread::scope(|scope| {
        let others: Vec<_> = parts.map(|part| scope.spawn(move || parse(part))).collect();
        let mut functions = parse(own)?;
        for other in others {
            functions.extend(other.join().unwrap_or_else(|panic| panic::resume_unwind(panic))?);
        }
        Ok(functions)
    })
}

fn read_function(document: &str) -> Result<Function, String> {
    let stored: stored::StoredFunction = serde_json::from_str(document).map_err(|error| error.to_string())?;
    Function::try_from(stored).map_err(|error| error.0)
}

fn read_access(document: &str) -> Result<(Tokens, Vec<SealedDataKey>), String> {
    let stored: stored::StoredAccess = serde_json::from_str(document).map_err(|error| error.to_string())?;
    stored.try_into().map_err(|error: stored::Malformed| error.0)
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
