//! The tables of `kv.redb`, and writes to them.
//!
//! A bucket has a number, by which the other tables know it, so that deleting it is one row. `meta` has the
//! next number; `buckets` what each holds, and its last revision; `values` the values by key, and `keys` the
//! keys by the order in which they came; `deleted` the numbers of buckets whose rows are still to be removed.

use std::collections::BTreeMap;

use bytes::Bytes;
use redb::{Error, ReadableTable as _, StorageError, Table, TableDefinition, WriteTransaction};

use crate::{
    buckets::{BucketAddress, BucketError, BucketQuota, BucketUsage, Delta, KeyRevision, Swap},
    embedded::group_commit::{META, Swept, remove},
};

type BucketKey<'a> = (&'a str, &'a str, &'a str);
type BucketValue = (u32, u64, u64, u64, u64);

pub(super) const BUCKETS: TableDefinition<'static, BucketKey<'static>, BucketValue> =
    TableDefinition::new("buckets");
pub(super) const VALUES: TableDefinition<'static, (u32, &str), (u64, u64, &[u8])> =
    TableDefinition::new("values");
pub(super) const KEYS: TableDefinition<'static, (u32, u64), &str> = TableDefinition::new("keys");
pub(super) const DELETED: TableDefinition<'static, u32, ()> = TableDefinition::new("deleted");

/// Rows that a step of a sweep removes at most.
const SWEEP_ROWS_MAX: usize = 500;

/// Creates the tables.
pub(super) fn prepare(transaction: &WriteTransaction) -> Result<(), Error> {
    transaction.open_table(BUCKETS)?;
    transaction.open_table(VALUES)?;
    transaction.open_table(KEYS)?;
    transaction.open_table(DELETED)?;
    Ok(())
}

/// The key of a bucket's row.
pub(super) fn row_key(address: &BucketAddress) -> BucketKey<'_> {
    (address.function.as_str(), address.stage.as_str(), &address.name)
}

/// What is kept of a bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BucketRow {
    pub(super) number: u32,
    pub(super) bytes: u64,
    pub(super) keys: u64,
    // The revision of its last write, and the place of its last new key.
    pub(super) revision: u64,
    pub(super) last_place: u64,
}

impl BucketRow {
    pub(super) fn of((number, bytes, keys, revision, last_place): BucketValue) -> Self {
        Self { number, bytes, keys, revision, last_place }
    }

    pub(super) fn usage(self) -> BucketUsage {
        BucketUsage { bytes: self.bytes, keys: self.keys }
    }
}

/// A bucket in a transaction that writes to it.
pub(super) struct OpenBucket<'t, 'a> {
    address: &'a BucketAddress,
    row: BucketRow,
    buckets: Table<'t, BucketKey<'static>, BucketValue>,
    values: Table<'t, (u32, &'static str), (u64, u64, &'static [u8])>,
    keys: Table<'t, (u32, u64), &'static str>,
}

/// What a write changes: the new value, or `None` to delete the key.
pub(super) type Changes<'a> = BTreeMap<&'a str, Option<&'a [u8]>>;

impl<'t, 'a> OpenBucket<'t, 'a> {
    /// Opens the bucket at `address`, which is created by its first write.
    pub(super) fn open(transaction: &'t WriteTransaction, address: &'a BucketAddress) -> Result<Self, Error> {
        let buckets = transaction.open_table(BUCKETS)?;
        let row = buckets.get(row_key(address))?.map(|row| BucketRow::of(row.value()));
        let row = match row {
            Some(row) => row,
            None => {
                let meta = transaction.open_table(META)?;
                let number = |name: &str| -> Result<u64, Error> {
                    Ok(meta.get(name)?.map_or(0, |number| number.value()))
                };
                // Above those of a bucket that had this address before.
                BucketRow { revision: number("revision")?, ..BucketRow::default() }
            }
        };
        let values = transaction.open_table(VALUES)?;
        let keys = transaction.open_table(KEYS)?;
        Ok(Self { address, row, buckets, values, keys })
    }

    /// The revision and the value of `key`.
    pub(super) fn get(&self, key: &str) -> Result<Option<(KeyRevision, Vec<u8>)>, Error> {
        let found = self.values.get((self.row.number, key))?;
        Ok(found.map(|found| {
            let (revision, _, value) = found.value();
            (KeyRevision(revision), value.to_vec())
        }))
    }

    /// Makes `changes`, all or none of them. Returns the revision that they have, and how many keys that were
    /// there were changed.
    pub(super) fn change(
        &mut self,
        transaction: &WriteTransaction,
        quota: &BucketQuota,
        changes: &Changes<'_>,
    ) -> Result<Result<(KeyRevision, u64), BucketError>, Error> {
        let mut row = self.row;
        let mut places = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let found = self.values.get((row.number, *key))?.map(|found| {
                let (_, place, value) = found.value();
                (place, value.len())
            });
            let size = |bytes: usize| (key.len() + bytes) as u64;
            if let Some((_, bytes)) = found {
                row.bytes = row.bytes.saturating_sub(size(bytes));
                row.keys = row.keys.saturating_sub(1);
            }
            if let Some(value) = value {
                row.bytes += size(value.len());
                row.keys += 1;
            }
            places.push(found.map(|(place, _)| place));
        }
        if let Err(error) = self.has_room(quota, &row) {
            return Ok(Err(error));
        }
        let known = places.iter().flatten().count() as u64;
        let is_delete = changes.values().all(Option::is_none);
        if is_delete && known == 0 {
            return Ok(Ok((KeyRevision(row.revision), 0)));
        }
        // From here on nothing refuses.
        if row.number == 0 {
            row.number = next_number(transaction)?;
        }
        row.revision += 1;
        for ((key, value), place) in changes.iter().zip(places) {
            match (value, place) {
                (Some(value), Some(place)) => {
                    self.values.insert((row.number, *key), (row.revision, place, *value))?;
                }
                (Some(value), None) => {
                    row.last_place += 1;
                    self.keys.insert((row.number, row.last_place), *key)?;
                    self.values.insert((row.number, *key), (row.revision, row.last_place, *value))?;
                }
                (None, Some(place)) => {
                    self.keys.remove((row.number, place))?;
                    self.values.remove((row.number, *key))?;
                }
                (None, None) => {}
            }
        }
        let value = (row.number, row.bytes, row.keys, row.revision, row.last_place);
        self.buckets.insert(row_key(self.address), value)?;
        self.row = row;
        Ok(Ok((KeyRevision(row.revision), known)))
    }

    /// Checks that the bucket, which is to become `after`, does not grow beyond `quota`.
    fn has_room(&self, quota: &BucketQuota, after: &BucketRow) -> Result<(), BucketError> {
        let bucket = || self.address.name.clone();
        if after.bytes > quota.bytes_max && after.bytes > self.row.bytes {
            let (found, limit) = (after.bytes, quota.bytes_max);
            return Err(BucketError::Bytes { bucket: bucket(), found, limit });
        }
        if after.keys > quota.keys_max && after.keys > self.row.keys {
            let (found, limit) = (after.keys, quota.keys_max);
            return Err(BucketError::Keys { bucket: bucket(), found, limit });
        }
        Ok(())
    }
}

fn next_number(transaction: &WriteTransaction) -> Result<u32, Error> {
    let mut meta = transaction.open_table(META)?;
    let next = meta.get("bucket")?.map_or(0, |number| number.value()) + 1;
    meta.insert("bucket", next)?;
    u32::try_from(next).map_err(|_| StorageError::Corrupted("table meta: too many buckets".to_owned()).into())
}

/// Makes `changes` of a bucket.
pub(super) fn change(
    transaction: &WriteTransaction,
    address: &BucketAddress,
    quota: &BucketQuota,
    changes: &[(String, Option<Bytes>)],
) -> Result<Result<(KeyRevision, u64), BucketError>, Error> {
    // Of a key that comes twice, the last one counts.
    let changes = changes.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    OpenBucket::open(transaction, address)?.change(transaction, quota, &changes)
}

/// Adds `delta` to a number.
pub(super) fn increment(
    transaction: &WriteTransaction,
    address: &BucketAddress,
    quota: &BucketQuota,
    key: &str,
    delta: Delta,
) -> Result<Result<i128, BucketError>, Error> {
    let mut bucket = OpenBucket::open(transaction, address)?;
    let range = delta.range();
    let number = match bucket.get(key)? {
        None => 0,
        Some((_, value)) => {
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i128>().ok());
            match number.filter(|number| range.contains(number)) {
                Some(number) => number,
                None => return Ok(Err(BucketError::NoNumber { found: value.len(), range })),
            }
        }
    };
    let sum = number + delta.number();
    if !range.contains(&sum) {
        return Ok(Err(BucketError::Overflow { found: sum, range }));
    }
    let value = sum.to_string();
    if value.len() as u64 > quota.value_bytes_max {
        let (found, limit) = (value.len() as u64, quota.value_bytes_max);
        return Ok(Err(BucketError::ValueTooLarge { found, limit }));
    }
    let changed = bucket.change(transaction, quota, &[(key, Some(value.as_bytes()))].into())?;
    Ok(changed.map(|_| sum))
}

/// Sets a value if its revision is still `expected`.
pub(super) fn compare_and_swap(
    transaction: &WriteTransaction,
    address: &BucketAddress,
    quota: &BucketQuota,
    (key, value): (&str, &[u8]),
    expected: Option<KeyRevision>,
) -> Result<Result<Swap, BucketError>, Error> {
    let mut bucket = OpenBucket::open(transaction, address)?;
    let found = bucket.values.get((bucket.row.number, key))?.map(|found| KeyRevision(found.value().0));
    if found != expected {
        return Ok(Ok(Swap::Unexpected(found)));
    }
    let changed = bucket.change(transaction, quota, &[(key, Some(value))].into())?;
    Ok(changed.map(|(revision, _)| Swap::Swapped(revision)))
}

/// Deletes a bucket. What it held is left to the sweep. Returns whether it existed.
pub(super) fn delete_bucket(transaction: &WriteTransaction, address: &BucketAddress) -> Result<bool, Error> {
    let mut buckets = transaction.open_table(BUCKETS)?;
    let Some(row) = buckets.remove(row_key(address))?.map(|row| BucketRow::of(row.value())) else {
        return Ok(false);
    };
    transaction.open_table(DELETED)?.insert(row.number, ())?;
    let mut meta = transaction.open_table(META)?;
    let revision = meta.get("revision")?.map_or(0, |revision| revision.value());
    meta.insert("revision", revision.max(row.revision))?;
    Ok(true)
}

/// Removes rows of buckets that were deleted.
pub(super) fn sweep(transaction: &WriteTransaction) -> Result<Swept, Error> {
    let mut deleted = transaction.open_table(DELETED)?;
    let Some(number) = deleted.first()?.map(|(number, _)| number.value()) else { return Ok(Swept::All) };
    let next = number.saturating_add(1);
    let mut left = SWEEP_ROWS_MAX;
    left -= remove(&mut transaction.open_table(VALUES)?, (number, "")..(next, ""), left)?;
    left -= remove(&mut transaction.open_table(KEYS)?, (number, 0)..(next, 0), left)?;
    if left > 0 {
        deleted.remove(number)?;
    }
    Ok(if left > 0 && deleted.first()?.is_none() { Swept::All } else { Swept::Some })
}
