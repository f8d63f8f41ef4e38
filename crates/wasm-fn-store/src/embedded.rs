//! The store of a single node: a crash-safe database file in the data directory.
//!
//! Tables: `meta` (format, revision), `functions` (name to document), `access` (one document), `journal`
//! (revision to record), `journal_by_function` (name and revision, an index), `traps` (function, stage and
//! version number to fingerprints) and `token_uses` (id of a token to a minute). One commit is one write
//! transaction, which is on disk when the commit returns.

mod advance;
mod buckets;
mod copy;
mod group_commit;
mod inbox;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    panic,
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use redb::{
    Database, DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageError,
    TableDefinition, WriteTransaction,
};
use wasm_fn_core::{FunctionName, Revision, StageName, VersionNo};

pub use self::{
    buckets::{EmbeddedBucket, EmbeddedBuckets},
    inbox::{AppliedEntry, Delivery, EmbeddedInbox},
};
use crate::{Commit, JournalRange, KnownTraps, Loaded, Record, Store, StoreError, Subject, TokenUses};

/// The newest format that this program reads. A database has it from the first change of access on.
const FORMAT: u64 = 2;

/// The format of a database without a change of access. Programs that know nothing of access read it.
const FORMAT_WITHOUT_ACCESS: u64 = 1;

/// The key of the only row of the table `access`.
const TOKENS: &str = "tokens";

/// The size of the page cache. The working set of a node is only a few pages.
const CACHE_BYTES: usize = 16 << 20;

const META: TableDefinition<'static, &str, u64> = TableDefinition::new("meta");
const FUNCTIONS: TableDefinition<'static, &str, &str> = TableDefinition::new("functions");
const JOURNAL: TableDefinition<'static, u64, &str> = TableDefinition::new("journal");
const ACCESS: TableDefinition<'static, &str, &str> = TableDefinition::new("access");
const TOKEN_USES: TableDefinition<'static, &str, u64> = TableDefinition::new("token_uses");
const TRAPS: TableDefinition<'static, (&str, &str, u32), Vec<u64>> = TableDefinition::new("traps");
const BY_FUNCTION: TableDefinition<'static, (&str, u64), ()> = TableDefinition::new("journal_by_function");

/// A database file that only this process may open, unless it has released it.
#[derive(Clone)]
pub struct EmbeddedStore {
    data_dir: PathBuf,
    // Readers are calls that use the file; writers close or open it.
    held: Arc<RwLock<Held>>,
}

struct Held {
    /// `None` while it is released, or could not be opened again.
    inner: Option<Inner>,
    is_released: bool,
}

struct Inner {
    path: PathBuf,
    database: Database,
    /// Whether the disk has failed: the database then refuses everything until it is opened again.
    is_broken: AtomicBool,
}

impl EmbeddedStore {
    /// The name of the file within the data directory.
    pub const FILE: &str = "state.redb";

    /// Opens the database in `data_dir`. Creates the directory, with access only for its owner, and the
    /// database if they do not exist. Blocks.
    ///
    /// Open this before anything else in the directory, because it keeps other nodes out.
    ///
    /// # Errors
    /// If another node uses the directory, if the directory is not writable, or if the file is damaged or has
    /// a newer format.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let held = Held { inner: Some(Inner::open(data_dir)?), is_released: false };
        let held = Arc::new(RwLock::new(held));
        Ok(Self { data_dir: data_dir.to_owned(), held })
    }

    /// Takes the documents and the records of `ahead`, which has to go on from what this store has, in one
    /// transaction. Traps and uses of tokens stay as this store has observed them.
    ///
    /// # Errors
    /// As of [`commit`](Store::commit); [`StoreError::Conflict`] if `ahead` is not ahead.
    pub async fn advance_to(&self, ahead: &Self) -> Result<(), StoreError> {
        let (found, expected) = (ahead.load().await?.revision, self.load().await?.revision.next());
        if found < expected {
            return Err(StoreError::Conflict { expected, found });
        }
        let ahead = ahead.clone();
        self.blocking(move |inner| {
            let held = ahead.held.read().unwrap_or_else(PoisonError::into_inner);
            let ahead = held.inner.as_ref().ok_or_else(|| StoreError::Released(ahead.data_dir.clone()))?;
            inner.advance_to(ahead)
        })
        .await
    }

    /// The directory that the file is in.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Waits for calls that use the file, and replaces it with the result of `open`, on a thread that may
    /// block.
    async fn hold(
        &self,
        open: impl FnOnce(&Path) -> Result<Option<Inner>, StoreError> + Send + 'static,
    ) -> Result<(), StoreError> {
        let (held, data_dir) = (Arc::clone(&self.held), self.data_dir.clone());
        let done = tokio::task::spawn_blocking(move || {
            let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
            // Close the old one before opening the new one, because only one may hold the file.
            *held = Held { inner: None, is_released: true };
            held.inner = open(&data_dir)?;
            held.is_released = held.inner.is_none();
            Ok(())
        });
        done.await.unwrap_or_else(|error| Err(self.failed_to(&error)))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (held, data_dir) = (Arc::clone(&self.held), self.data_dir.clone());
        let done = tokio::task::spawn_blocking(move || {
            // The value under the lock is only ever replaced as a whole, so it is sound after a panic.
            let is_usable = |held: &Held| held.inner.as_ref().is_some_and(|inner| !inner.is_broken());
            if !is_usable(&held.read().unwrap_or_else(PoisonError::into_inner)) {
                let mut held = held.write().unwrap_or_else(PoisonError::into_inner);
                if !held.is_released && !is_usable(&held) {
                    held.inner = None;
                    held.inner = Some(Inner::open(&data_dir)?);
                }
            }
            let held = held.read().unwrap_or_else(PoisonError::into_inner);
            match &held.inner {
                Some(inner) => work(inner),
                None => Err(StoreError::Released(data_dir)),
            }
        });
        done.await.unwrap_or_else(|error| Err(self.failed_to(&error)))
    }

    fn failed_to(&self, error: &tokio::task::JoinError) -> StoreError {
        StoreError::Database { path: self.data_dir.join(Self::FILE), reason: error.to_string() }
    }
}

/// The error if `path` cannot be opened.
pub(super) fn unusable(path: &Path, error: io::Error) -> StoreError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            StoreError::NotWritable { path, source: error }
        }
        _ => StoreError::of_io(&path, &error),
    }
}

/// The database at `path`, which may be new. Every page of it has the checksum that it was written with.
fn verified(path: &Path) -> Result<Database, DatabaseError> {
    let mut database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    if database.check_integrity()? {
        return Ok(database);
    }
    Err(StorageError::Corrupted("its pages are not what was written".to_owned()).into())
}

impl Inner {
    fn open(data_dir: &Path) -> Result<Self, StoreError> {
        // Environment variables in configurations may hold secrets.
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(data_dir);
        made.map_err(|error| unusable(data_dir, error))?;
        let path = data_dir.join(EmbeddedStore::FILE);
        let damaged = |reason: &str| StoreError::Database { path: path.clone(), reason: reason.to_owned() };
        // redb panics on some pages that are not what it wrote.
        let opened = panic::catch_unwind(|| verified(&path)).map_err(|_| damaged("it is damaged"))?;
        let database = opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(data_dir.to_owned()),
            DatabaseError::Storage(StorageError::Io(error)) => unusable(data_dir, error),
            error => damaged(&error.to_string()),
        })?;
        let inner = Inner { path, database, is_broken: AtomicBool::new(false) };
        inner.prepare()?;
        Ok(inner)
    }

    fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        let error = error.into();
        if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            self.is_broken.store(true, Ordering::Release);
        }
        group_commit::failed(&self.path, &error)
    }

    fn is_broken(&self) -> bool {
        self.is_broken.load(Ordering::Acquire)
    }

    fn write(&self) -> Result<WriteTransaction, StoreError> {
        let mut transaction = self.database.begin_write().map_err(|error| self.failed(error))?;
        transaction.set_durability(Durability::Immediate).map_err(|error| self.failed(error))?;
        // With one phase, redb takes damage in the last commit for a write that a crash cut short, and goes
        // back to the commit before: a change that was acknowledged would be gone, and nobody would know.
        transaction.set_two_phase_commit(true);
        Ok(transaction)
    }

    fn read(&self) -> Result<ReadTransaction, StoreError> {
        self.database.begin_read().map_err(|error| self.failed(error))
    }

    /// Creates the tables, or checks that this program knows their format.
    fn prepare(&self) -> Result<(), StoreError> {
        let transaction = self.write()?;
        {
            let mut meta = transaction.open_table(META).map_err(|error| self.failed(error))?;
            let format = meta.get("format").map_err(|error| self.failed(error))?.map(|found| found.value());
            match format {
                Some(found) if found > FORMAT => {
                    return Err(StoreError::Newer { path: self.path.clone(), found, known: FORMAT });
                }
                Some(_) => {}
                None => {
                    meta.insert("format", FORMAT_WITHOUT_ACCESS).map_err(|error| self.failed(error))?;
                    meta.insert("revision", 0).map_err(|error| self.failed(error))?;
                }
            }
            transaction.open_table(FUNCTIONS).map_err(|error| self.failed(error))?;
            transaction.open_table(JOURNAL).map_err(|error| self.failed(error))?;
            transaction.open_table(BY_FUNCTION).map_err(|error| self.failed(error))?;
            transaction.open_table(TRAPS).map_err(|error| self.failed(error))?;
            transaction.open_table(ACCESS).map_err(|error| self.failed(error))?;
            transaction.open_table(TOKEN_USES).map_err(|error| self.failed(error))?;
        }
        transaction.commit().map_err(|error| self.failed(error))
    }

    fn load(&self) -> Result<Loaded, StoreError> {
        let transaction = self.read()?;
        let meta = transaction.open_table(META).map_err(|error| self.failed(error))?;
        let revision = meta.get("revision").map_err(|error| self.failed(error))?;
        let revision = Revision(revision.map_or(0, |revision| revision.value()));
        let functions = transaction.open_table(FUNCTIONS).map_err(|error| self.failed(error))?;
        let functions = functions.iter().map_err(|error| self.failed(error))?.map(|row| {
            let (name, document) = row.map_err(|error| self.failed(error))?;
            Ok((read_name(name.value())?, document.value().to_owned()))
        });
        let functions = functions.collect::<Result<BTreeMap<_, _>, StoreError>>()?;
        let journal = transaction.open_table(JOURNAL).map_err(|error| self.failed(error))?;
        let last = journal.last().map_err(|error| self.failed(error))?;
        let last = last.map(|(key, text)| record(key.value(), text.value()));
        let last_revision = last.as_ref().map_or(Revision(0), |record| record.revision);
        if last_revision != revision {
            let reason = format!("found {revision}, expected {last_revision}, where the journal ends");
            return Err(StoreError::Corrupt { table: "meta", key: "revision".to_owned(), reason });
        }
        let traps = transaction.open_table(TRAPS).map_err(|error| self.failed(error))?;
        let traps = traps.iter().map_err(|error| self.failed(error))?.map(|row| {
            let (key, fingerprints) = row.map_err(|error| self.failed(error))?;
            Ok((read_trap_key(key.value())?, fingerprints.value()))
        });
        let traps = traps.collect::<Result<_, StoreError>>()?;
        let access = transaction.open_table(ACCESS).map_err(|error| self.failed(error))?;
        let access = access.get(TOKENS).map_err(|error| self.failed(error))?;
        let access = access.map(|document| document.value().to_owned());
        let uses = transaction.open_table(TOKEN_USES).map_err(|error| self.failed(error))?;
        let uses = uses.iter().map_err(|error| self.failed(error))?.map(|row| {
            let (id, minute) = row.map_err(|error| self.failed(error))?;
            Ok((id.value().to_owned(), minute.value()))
        });
        let token_uses = uses.collect::<Result<_, StoreError>>()?;
        Ok(Loaded { revision, functions, access, token_uses, traps, last })
    }

    fn keep_traps(&self, traps: &KnownTraps) -> Result<(), StoreError> {
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(TRAPS).map_err(|error| self.failed(error))?;
            for ((function, stage, version), fingerprints) in traps {
                let key = (function.as_str(), stage.as_str(), version.number());
                table.insert(key, fingerprints).map_err(|error| self.failed(error))?;
            }
        }
        transaction.commit().map_err(|error| self.failed(error))
    }

    fn keep_token_uses(&self, uses: &TokenUses) -> Result<(), StoreError> {
        let transaction = self.write()?;
        {
            let mut table = transaction.open_table(TOKEN_USES).map_err(|error| self.failed(error))?;
            table.retain(|id, _| uses.contains_key(id)).map_err(|error| self.failed(error))?;
            for (id, minute) in uses {
                table.insert(id.as_str(), minute).map_err(|error| self.failed(error))?;
            }
        }
        transaction.commit().map_err(|error| self.failed(error))
    }

    /// Removes the traps of a deleted function.
    fn forget_traps(&self, transaction: &WriteTransaction, function: &str) -> Result<(), StoreError> {
        let mut table = transaction.open_table(TRAPS).map_err(|error| self.failed(error))?;
        // No name of a stage is empty, and none has a character behind `z`.
        let of_function = (function, "", 0)..(function, "{", 0);
        table.retain_in(of_function, |_, _| false).map_err(|error| self.failed(error))
    }

    fn commit(&self, commits: &[Commit]) -> Result<(), StoreError> {
        let transaction = self.write()?;
        for commit in commits {
            self.put(&transaction, commit)?;
        }
        transaction.commit().map_err(|error| self.failed(error))
    }

    fn put(&self, transaction: &WriteTransaction, commit: &Commit) -> Result<(), StoreError> {
        let Commit { revision, subject, document, record, forgets_traps } = commit;
        let mut meta = transaction.open_table(META).map_err(|error| self.failed(error))?;
        let found = meta.get("revision").map_err(|error| self.failed(error))?;
        let found = Revision(found.map_or(0, |found| found.value()));
        if found.next() != *revision {
            return Err(StoreError::Conflict { expected: Revision(revision.0 - 1), found });
        }
        meta.insert("revision", revision.0).map_err(|error| self.failed(error))?;
        let mut journal = transaction.open_table(JOURNAL).map_err(|error| self.failed(error))?;
        journal.insert(revision.0, record.as_str()).map_err(|error| self.failed(error))?;
        let (table, key) = match subject {
            Subject::Function(function) => {
                let mut index = transaction.open_table(BY_FUNCTION).map_err(|error| self.failed(error))?;
                index.insert((function.as_str(), revision.0), ()).map_err(|error| self.failed(error))?;
                (FUNCTIONS, function.as_str())
            }
            Subject::Access => {
                meta.insert("format", FORMAT).map_err(|error| self.failed(error))?;
                (ACCESS, TOKENS)
            }
        };
        if let Some(document) = document {
            let mut table = transaction.open_table(table).map_err(|error| self.failed(error))?;
            table.insert(key, document.as_str()).map_err(|error| self.failed(error))?;
        }
        if *forgets_traps {
            self.forget_traps(transaction, key)?;
        }
        Ok(())
    }

    fn journal(&self, range: &JournalRange) -> Result<Vec<Record>, StoreError> {
        let transaction = self.read()?;
        let journal = transaction.open_table(JOURNAL).map_err(|error| self.failed(error))?;
        let before = range.before.map_or(u64::MAX, |before| before.0);
        let Some(function) = &range.function else {
            let rows = journal.range(..before).map_err(|error| self.failed(error))?;
            return rows
                .rev()
                .take(range.limit)
                .map(|row| {
                    let (key, text) = row.map_err(|error| self.failed(error))?;
                    Ok(record(key.value(), text.value()))
                })
                .collect();
        };
        let index = transaction.open_table(BY_FUNCTION).map_err(|error| self.failed(error))?;
        let name = function.as_str();
        let rows = index.range((name, 0)..(name, before)).map_err(|error| self.failed(error))?;
        rows.rev()
            .take(range.limit)
            .map(|row| {
                let key = row.map_err(|error| self.failed(error))?.0.value().1;
                let text = journal.get(key).map_err(|error| self.failed(error))?;
                let text = text.ok_or_else(|| StoreError::Corrupt {
                    table: "journal_by_function",
                    key: format!("{name} {key}"),
                    reason: "names an entry that is not in the journal".to_owned(),
                })?;
                Ok(record(key, text.value()))
            })
            .collect()
    }

    fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        let transaction = self.read()?;
        let journal = transaction.open_table(JOURNAL).map_err(|error| self.failed(error))?;
        let rows = journal.range(after.next().0..).map_err(|error| self.failed(error))?;
        let records = rows.take(limit).map(|row| {
            let (key, text) = row.map_err(|error| self.failed(error))?;
            Ok(record(key.value(), text.value()))
        });
        records.collect()
    }
}

fn record(key: u64, text: &str) -> Record {
    Record { revision: Revision(key), text: text.to_owned() }
}

fn read_name(name: &str) -> Result<FunctionName, StoreError> {
    name.parse().map_err(|error: wasm_fn_core::NameError| StoreError::Corrupt {
        table: "functions",
        key: name.to_owned(),
        reason: error.to_string(),
    })
}

fn read_trap_key(
    (function, stage, version): (&str, &str, u32),
) -> Result<(FunctionName, StageName, VersionNo), StoreError> {
    let corrupt = |reason: String| {
        let key = format!("{function} {stage} {version}");
        StoreError::Corrupt { table: "traps", key, reason }
    };
    let named = |error: wasm_fn_core::NameError| corrupt(error.to_string());
    let no =
        VersionNo::new(version).ok_or_else(|| corrupt("version is 0, expected at least 1".to_owned()))?;
    Ok((function.parse().map_err(named)?, stage.parse().map_err(named)?, no))
}

impl Store for EmbeddedStore {
    async fn load(&self) -> Result<Loaded, StoreError> {
        self.blocking(Inner::load).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.commit_all(vec![commit]).await
    }

    /// In one transaction: all of them or none.
    async fn commit_all(&self, commits: Vec<Commit>) -> Result<(), StoreError> {
        self.blocking(move |inner| inner.commit(&commits)).await
    }

    async fn keep_traps(&self, traps: KnownTraps) -> Result<(), StoreError> {
        self.blocking(move |inner| inner.keep_traps(&traps)).await
    }

    async fn keep_token_uses(&self, uses: TokenUses) -> Result<(), StoreError> {
        self.blocking(move |inner| inner.keep_token_uses(&uses)).await
    }

    async fn journal(&self, range: JournalRange) -> Result<Vec<Record>, StoreError> {
        self.blocking(move |inner| inner.journal(&range)).await
    }

    async fn journal_after(&self, after: Revision, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.blocking(move |inner| inner.journal_after(after, limit)).await
    }

    async fn copy(&self, folder: PathBuf, begun: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
        self.blocking(move |inner| inner.copy(&folder, begun)).await
    }

    async fn release(&self) {
        if let Err(error) = self.hold(|_| Ok(None)).await {
            tracing::error!(%error, "state was not closed cleanly");
        }
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.hold(|data_dir| Inner::open(data_dir).map(Some)).await
    }
}
