//! The buckets of a single node: `kv.redb` in the data directory.
//!
//! Writes go through the writer. Reads do not: each is a transaction of its own, on the thread that asks,
//! because most of them are answered from memory in microseconds.

mod opening;
mod tables;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use redb::{Database, Durability, Error, ReadTransaction, ReadableDatabase as _, WriteTransaction};
use wasm_fn_core::{FunctionName, NameError, Revision};

use self::{opening::Opening, tables::BucketRow};
use crate::{
    StoreError,
    buckets::{
        Bucket, BucketAccess, BucketAddress, BucketDurability, BucketError, BucketQuota, BucketUsage,
        Buckets, Delta, KeyPage, KeyRevision, KeyValue, Swap,
    },
    embedded::{
        copy::copy_table,
        group_commit::{DatabaseFile, GroupCommit, Hooks, META, Urgency, want_sweep},
    },
};

/// The newest format that this program reads.
const FORMAT: u64 = 1;

/// Buckets in a database file that only this process may open, unless it has released it. Clones are the same
/// store; the last one, or the last bucket of it, closes the file when it is dropped, and waits for that.
#[derive(Clone)]
pub struct EmbeddedBuckets {
    group: Opening,
}

/// A bucket of [`EmbeddedBuckets`].
#[derive(Clone)]
pub struct EmbeddedBucket {
    group: Opening,
    address: Arc<BucketAddress>,
    quota: BucketQuota,
    urgency: Urgency,
}

fn file(data_dir: &Path) -> DatabaseFile {
    DatabaseFile { path: data_dir.join(EmbeddedBuckets::FILE), format: FORMAT, prepare: tables::prepare }
}

impl EmbeddedBuckets {
    /// The name of the file within the data directory.
    pub const FILE: &str = "kv.redb";

    /// Opens the buckets in `data_dir`. Creates the file and the directory if they do not exist. Blocks.
    ///
    /// # Errors
    /// Another node has it open, it cannot be opened, or it has a newer format.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        Ok(Self { group: Opening::opened(start(file(data_dir))?) })
    }

    /// Opens the buckets in `data_dir` once the process that has them open has released them or has ended,
    /// but waits for that no longer than `patience`. Does not block; operations wait until the buckets are
    /// open, and fail if they could not be opened.
    pub fn open_once_free(data_dir: &Path, patience: Duration) -> Self {
        Self { group: Opening::once_free(file(data_dir), patience, start) }
    }

    /// Copies all buckets as they are at one moment into a new store in `folder`. Calls `begun` at that
    /// moment: later writes are not in the copy, and need not wait for it.
    ///
    /// # Errors
    /// The store failed. The folder then holds no complete copy.
    pub async fn copy(
        &self,
        folder: PathBuf,
        begun: impl FnOnce() + Send + 'static,
    ) -> Result<(), StoreError> {
        let copy = move |database: &Database| {
            let from = database.begin_read()?;
            begun();
            let file = file(&folder);
            let copied = file.open().and_then(|copy| {
                let copied = copy_all(&from, &copy);
                copied.map_err(|error| file.failed(&error))
            });
            Ok(copied)
        };
        self.group.wait().await?.read_blocking(copy).await?
    }

    /// Makes everything durable, and then releases the store, so that another process can open it. After
    /// that, every call is refused with [`StoreError::Released`] until [`take_back`](Self::take_back).
    pub async fn release(&self) {
        // What could not be opened is free already.
        if let Ok(group) = self.group.wait().await {
            group.release().await;
        }
    }

    /// Reopens a store that was [released](Self::release). Another process may have changed it meanwhile.
    ///
    /// # Errors
    /// The errors of opening it. The store then stays released.
    pub async fn take_back(&self) -> Result<(), StoreError> {
        self.group.wait().await?.take_back().await
    }
}

/// Opens `file`, and starts its writer.
fn start(file: DatabaseFile) -> Result<GroupCommit, StoreError> {
    let database = file.open()?;
    let hooks = Hooks { sweep: tables::sweep, reopened: Box::new(|_| Ok(())) };
    GroupCommit::start(file, database, hooks)
}

/// The buckets of `function`, or of all functions.
fn rows(
    database: &Database,
    function: Option<&FunctionName>,
) -> Result<Vec<(BucketAddress, BucketUsage)>, Error> {
    let table = database.begin_read()?.open_table(tables::BUCKETS)?;
    let mut buckets = Vec::new();
    for row in table.range((function.map_or("", FunctionName::as_str), "", "")..)? {
        let (key, row) = row?;
        let (of_function, stage, name) = key.value();
        if function.is_some_and(|function| function.as_str() != of_function) {
            break;
        }
        let malformed = |text: &str, error: NameError| {
            redb::StorageError::Corrupted(format!("table buckets, key {text:?}: {error}"))
        };
        let function = of_function.parse().map_err(|error| malformed(of_function, error))?;
        let stage = stage.parse().map_err(|error| malformed(stage, error))?;
        let address = BucketAddress { function, stage, name: name.to_owned() };
        buckets.push((address, BucketRow::of(row.value()).usage()));
    }
    Ok(buckets)
}

impl Buckets for EmbeddedBuckets {
    type Bucket = EmbeddedBucket;

    fn open(
        &self,
        address: BucketAddress,
        quota: BucketQuota,
        access: BucketAccess,
    ) -> Result<EmbeddedBucket, BucketError> {
        let (found, limit) = (address.name.len(), Self::NAME_BYTES_MAX);
        if found > limit {
            return Err(BucketError::NameTooLong { found, limit });
        }
        let urgency = match access.durability {
            BucketDurability::Committed => Urgency::Durable,
            BucketDurability::Relaxed => Urgency::Visible,
        };
        Ok(EmbeddedBucket { group: self.group.clone(), address: Arc::new(address), quota, urgency })
    }

    async fn buckets(
        &self,
        function: Option<&FunctionName>,
    ) -> Result<Vec<(BucketAddress, BucketUsage)>, BucketError> {
        let function = function.cloned();
        let group = self.group.wait().await?;
        Ok(group.read_blocking(move |database| rows(database, function.as_ref())).await?)
    }

    /// Nobody else changes the state that these buckets go with, so none was made after its stage was gone.
    async fn delete_bucket(&self, address: BucketAddress, _gone: Revision) -> Result<bool, BucketError> {
        let group = self.group.wait().await?;
        let sweep = group.sweep();
        let apply = move |transaction: &WriteTransaction| tables::delete_bucket(transaction, &address);
        let then = move |_: &bool| want_sweep(&sweep);
        Ok(group.write(Urgency::Durable, 0, apply, then).await?)
    }
}

fn copy_all(from: &ReadTransaction, copy: &Database) -> Result<(), Error> {
    let mut to = copy.begin_write()?;
    to.set_durability(Durability::Immediate)?;
    copy_table(from, &to, META)?;
    copy_table(from, &to, tables::BUCKETS)?;
    copy_table(from, &to, tables::VALUES)?;
    copy_table(from, &to, tables::KEYS)?;
    copy_table(from, &to, tables::DELETED)?;
    to.commit()?;
    Ok(())
}

/// What a write gave, or why it was refused; or why the transaction fails.
type Applied<T> = Result<Result<T, BucketError>, Error>;

fn key_fits(key: &str) -> Result<(), BucketError> {
    let (found, limit) = (key.len(), EmbeddedBucket::KEY_BYTES_MAX);
    if found > limit { Err(BucketError::KeyTooLong { found, limit }) } else { Ok(()) }
}

fn keys_fit<'k>(keys: impl ExactSizeIterator<Item = &'k String>) -> Result<(), BucketError> {
    let (found, limit) = (keys.len(), EmbeddedBucket::KEYS_MAX);
    if found > limit {
        return Err(BucketError::TooManyKeys { found, limit });
    }
    keys.into_iter().try_for_each(|key| key_fits(key))
}

impl EmbeddedBucket {
    fn value_fits(&self, value: &[u8]) -> Result<(), BucketError> {
        let (found, limit) = (value.len() as u64, self.quota.value_bytes_max);
        if found > limit { Err(BucketError::ValueTooLarge { found, limit }) } else { Ok(()) }
    }

    /// Calls `work` with a transaction and what is kept of the bucket; `T::default()` if it does not exist.
    async fn read<T: Default>(
        &self,
        work: impl FnOnce(&ReadTransaction, BucketRow) -> Result<T, Error>,
    ) -> Result<T, BucketError> {
        let read = |database: &Database| {
            let transaction = database.begin_read()?;
            let row = transaction.open_table(tables::BUCKETS)?.get(tables::row_key(&self.address))?;
            match row.map(|row| BucketRow::of(row.value())) {
                Some(row) => work(&transaction, row),
                None => Ok(T::default()),
            }
        };
        Ok(self.group.wait().await?.read(read)?)
    }

    /// Has the writer apply `apply` to this bucket.
    async fn write<T: Send + 'static>(
        &self,
        bytes: usize,
        apply: impl Fn(&WriteTransaction, &BucketAddress, &BucketQuota) -> Applied<T> + Send + 'static,
    ) -> Result<T, BucketError> {
        let (address, quota) = (Arc::clone(&self.address), self.quota);
        let apply = move |transaction: &WriteTransaction| apply(transaction, &address, &quota);
        self.group.wait().await?.write(self.urgency, bytes, apply, |_| {}).await?
    }

    async fn change(&self, changes: Vec<(String, Option<Bytes>)>) -> Result<(KeyRevision, u64), BucketError> {
        let bytes = changes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Bytes::len)).sum();
        let limit = Self::CALL_BYTES_MAX;
        if changes.len() > 1 && bytes as u64 > limit {
            return Err(BucketError::TooManyBytes { limit });
        }
        let apply = move |transaction: &WriteTransaction, address: &BucketAddress, quota: &BucketQuota| {
            tables::change(transaction, address, quota, &changes)
        };
        self.write(bytes, apply).await
    }
}

impl Bucket for EmbeddedBucket {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>, BucketError> {
        key_fits(key)?;
        self.read(|transaction, row| {
            let found = transaction.open_table(tables::VALUES)?.get((row.number, key))?;
            Ok(found.map(|found| key_value(found.value())))
        })
        .await
    }

    async fn get_many(&self, keys: &[String]) -> Result<Vec<Option<KeyValue>>, BucketError> {
        keys_fit(keys.iter())?;
        let limit = Self::CALL_BYTES_MAX;
        let found = self.read(|transaction, row| {
            let table = transaction.open_table(tables::VALUES)?;
            let (mut values, mut bytes) = (Vec::with_capacity(keys.len()), 0);
            for key in keys {
                let found = table.get((row.number, key.as_str()))?.map(|found| key_value(found.value()));
                bytes += found.as_ref().map_or(0, |found| found.value.len() as u64);
                if bytes > limit && keys.len() > 1 {
                    return Ok(Some(Err(BucketError::TooManyBytes { limit })));
                }
                values.push(found);
            }
            Ok(Some(Ok(values)))
        });
        let found = found.await?;
        found.unwrap_or_else(|| Ok(vec![None; keys.len()]))
    }

    async fn exists(&self, key: &str) -> Result<bool, BucketError> {
        key_fits(key)?;
        self.read(|transaction, row| {
            Ok(transaction.open_table(tables::VALUES)?.get((row.number, key))?.is_some())
        })
        .await
    }

    async fn list_keys(&self, cursor: Option<u64>, limit: usize) -> Result<KeyPage, BucketError> {
        let page = self.read(|transaction, row| {
            let table = transaction.open_table(tables::KEYS)?;
            let (mut keys, mut cursor) = (Vec::new(), cursor.unwrap_or(0));
            for found in table.range((row.number, cursor)..=(row.number, u64::MAX))? {
                let (place, key) = found?;
                cursor = place.value().1;
                if keys.len() == limit {
                    return Ok(Some(KeyPage { keys, cursor: Some(cursor) }));
                }
                keys.push(key.value().to_owned());
            }
            Ok(Some(KeyPage { keys, cursor: None }))
        });
        let page = page.await?;
        Ok(page.unwrap_or(KeyPage { keys: Vec::new(), cursor: None }))
    }

    async fn find_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, BucketError> {
        self.read(|transaction, row| {
            let table = transaction.open_table(tables::VALUES)?;
            let from = after.map_or(prefix, |after| after.max(prefix));
            let mut keys = Vec::new();
            for found in table.range((row.number, from)..)? {
                let (found, _) = found?;
                let (number, key) = found.value();
                if keys.len() == limit || number != row.number || !key.starts_with(prefix) {
                    break;
                }
                if after != Some(key) {
                    keys.push(key.to_owned());
                }
            }
            Ok(keys)
        })
        .await
    }

    async fn set(&self, key: String, value: Bytes) -> Result<KeyRevision, BucketError> {
        key_fits(&key)?;
        self.value_fits(&value)?;
        Ok(self.change(vec![(key, Some(value))]).await?.0)
    }

    async fn set_many(&self, values: Vec<(String, Bytes)>) -> Result<(), BucketError> {
        keys_fit(values.iter().map(|(key, _)| key))?;
        values.iter().try_for_each(|(_, value)| self.value_fits(value))?;
        let changes = values.into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.change(changes).await?;
        Ok(())
    }

    async fn delete(&self, key: String) -> Result<bool, BucketError> {
        key_fits(&key)?;
        Ok(self.change(vec![(key, None)]).await?.1 == 1)
    }

    async fn delete_many(&self, keys: Vec<String>) -> Result<u64, BucketError> {
        keys_fit(keys.iter())?;
        Ok(self.change(keys.into_iter().map(|key| (key, None)).collect()).await?.1)
    }

    async fn increment(&self, key: String, delta: Delta) -> Result<i128, BucketError> {
        key_fits(&key)?;
        let apply = move |transaction: &WriteTransaction, address: &BucketAddress, quota: &BucketQuota| {
            tables::increment(transaction, address, quota, &key, delta)
        };
        self.write(0, apply).await
    }

    async fn compare_and_swap(
        &self,
        key: String,
        expected: Option<KeyRevision>,
        value: Bytes,
    ) -> Result<Swap, BucketError> {
        key_fits(&key)?;
        self.value_fits(&value)?;
        let bytes = value.len();
        let apply = move |transaction: &WriteTransaction, address: &BucketAddress, quota: &BucketQuota| {
            tables::compare_and_swap(transaction, address, quota, (&key, &value), expected)
        };
        self.write(bytes, apply).await
    }

    async fn usage(&self) -> Result<BucketUsage, BucketError> {
        self.read(|_, row| Ok(row.usage())).await
    }
}

fn key_value((revision, _, value): (u64, u64, &[u8])) -> KeyValue {
    KeyValue { revision: KeyRevision(revision), value: Bytes::copy_from_slice(value) }
}

#[cfg(test)]
mod tests;
