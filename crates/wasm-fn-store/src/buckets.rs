//! Buckets of keys and values, which functions keep their state in: what `wasi:keyvalue` stands on.
//!
//! A bucket belongs to a function in a stage and has a name. It exists from its first write on. Whoever opens
//! it brings its quota, which every write is checked against exactly.
//!
//! Buckets are linearizable: a read sees every write that returned before it, unless whoever opened the
//! bucket settled for less. A *committed* write is on disk when it returns. A *relaxed* one is on disk
//! within a second; if the node crashes before, or its disk fails, it is lost, with the relaxed writes after
//! it, and another write may have its revision. An implementation may do better.
//!
//! Each write gives its key a new *revision*, which no key of the bucket had before. So a comparison with a
//! revision notices a value that was changed and changed back, or deleted and set again.

mod by_function;
mod operations;

use std::ops::RangeInclusive;

use bytes::Bytes;
use wasm_fn_core::{FunctionName, Revision, StageName};

use crate::StoreError;

pub use by_function::{BucketOperation, BucketOperationCounts, FunctionBucket, FunctionBuckets};
pub use operations::{BucketPlace, ValueFuture, ValueOperations};

/// Which bucket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BucketAddress {
    /// The function that it belongs to.
    pub function: FunctionName,
    /// The stage of the function.
    pub stage: StageName,
    /// Its name, unique among the buckets of the function in the stage.
    pub name: String,
}

/// What a bucket may hold. One that holds more already can be read, and written to if it does not grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketQuota {
    /// Bytes of all keys and values.
    pub bytes_max: u64,
    /// Keys.
    pub keys_max: u64,
    /// Bytes of one value.
    pub value_bytes_max: u64,
}

/// When a write to a bucket returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketDurability {
    /// Once it is on disk.
    #[default]
    Committed,
    /// Once readers see it. It is on disk within a second.
    Relaxed,
}

/// What a read sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BucketConsistency {
    /// Every write that returned before it.
    #[default]
    Strong,
    /// What some copy of the bucket has, which may be older. What a write compares is never older.
    Eventual,
}

/// How a bucket is read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketAccess {
    /// When a write returns.
    pub durability: BucketDurability,
    /// What a read sees.
    pub consistency: BucketConsistency,
}

/// A revision of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRevision(pub u64);

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The revision of the write that set it.
    pub revision: KeyRevision,
    /// The value.
    pub value: Bytes,
}

/// Some keys of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPage {
    /// The keys.
    pub keys: Vec<String>,
    /// What the next page begins at; `None` if this is the last.
    pub cursor: Option<u64>,
}

/// How a comparison went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The revision was the expected one. This is the new one.
    Swapped(KeyRevision),
    /// It was this one, or there was no such key. Nothing was changed.
    Unexpected(Option<KeyRevision>),
}

/// What a number in a bucket grows by. The type is also that of the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delta {
    /// The number is a `u64`.
    Unsigned(u64),
    /// The number is an `i64`.
    Signed(i64),
}

impl Delta {
    /// The delta as a number.
    pub fn number(self) -> i128 {
        match self {
            Self::Unsigned(delta) => delta.into(),
            Self::Signed(delta) => delta.into(),
        }
    }

    /// What the number can be.
    pub fn range(self) -> RangeInclusive<i128> {
        match self {
            Self::Unsigned(_) => 0..=u64::MAX.into(),
            Self::Signed(_) => i64::MIN.into()..=i64::MAX.into(),
        }
    }
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketUsage {
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// Keys.
    pub keys: u64,
}

/// Why a bucket refuses.
#[derive(Debug, thiserror::Error)]
pub enum BucketError {
    /// The name of the bucket is too long.
    #[error("name of a bucket has {found} bytes, expected at most {limit}")]
    NameTooLong {
        /// Its bytes.
        found: usize,
        /// Bytes of a name at most.
        limit: usize,
    },
    /// The key is too long.
    #[error("key has {found} bytes, expected at most {limit}")]
    KeyTooLong {
        /// Its bytes.
        found: usize,
        /// Bytes of a key at most.
        limit: usize,
    },
    /// The value is too large.
    #[error("value has {found} bytes, expected at most {limit}")]
    ValueTooLarge {
        /// Its bytes.
        found: u64,
        /// Bytes of a value at most.
        limit: u64,
    },
    /// The bucket has no room for more bytes.
    #[error("bucket `{bucket}` is full: {found} bytes with this write, expected at most {limit}")]
    Bytes {
        /// The name of the bucket.
        bucket: String,
        /// The bytes that it would have.
        found: u64,
        /// The bytes that it may have.
        limit: u64,
    },
    /// The bucket has no room for more keys.
    #[error("bucket `{bucket}` is full: {found} keys with this write, expected at most {limit}")]
    Keys {
        /// The name of the bucket.
        bucket: String,
        /// The keys that it would have.
        found: u64,
        /// The keys that it may have.
        limit: u64,
    },
    /// Too many keys in one call.
    #[error("{found} keys in one call, expected at most {limit}")]
    TooManyKeys {
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The values of one call are too large together.
    #[error("values of one call have more than {limit} bytes")]
    TooManyBytes {
        /// Their bytes at most.
        limit: u64,
    },
    /// The value to increment is no number in decimal digits.
    #[error("value has {found} bytes that are no decimal number from {} to {}", .range.start(), .range.end())]
    NoNumber {
        /// Its bytes.
        found: usize,
        /// What the number can be.
        range: RangeInclusive<i128>,
    },
    /// The sum does not fit into the number's type.
    #[error("sum is {found}, expected {} to {}", .range.start(), .range.end())]
    Overflow {
        /// The sum.
        found: i128,
        /// What the number can be.
        range: RangeInclusive<i128>,
    },
    /// Its function or its stage was deleted since it was opened.
    #[error("bucket was deleted with its function or its stage")]
    Deleted,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps buckets.
pub trait Buckets: Send + Sync + 'static {
    /// The bucket that [`open`](Self::open) gives.
    type Bucket: Bucket;

    /// Bytes of a bucket's name.
    const NAME_BYTES_MAX: usize = 256;

    /// Opens a bucket. It need not exist.
    ///
    /// # Errors
    /// [`BucketError::NameTooLong`].
    fn open(
        &self,
        address: BucketAddress,
        quota: BucketQuota,
        access: BucketAccess,
    ) -> Result<Self::Bucket, BucketError>;

    /// The buckets of a function, or of all functions, that exist, with what they hold.
    ///
    /// # Errors
    /// The store failed.
    fn buckets(
        &self,
        function: Option<&FunctionName>,
    ) -> impl Future<Output = Result<Vec<(BucketAddress, BucketUsage)>, BucketError>> + Send;

    /// Deletes a bucket with all that it holds, at once and durably, because the state has not had its stage
    /// since the revision `gone`. One that was made later is another, and stays, where others use the same
    /// buckets. What it occupies is freed in the background. Whoever has it open finds it empty, and creates
    /// it again by writing. Returns whether it existed.
    ///
    /// # Errors
    /// The store failed. Nothing is deleted.
    fn delete_bucket(
        &self,
        address: BucketAddress,
        gone: Revision,
    ) -> impl Future<Output = Result<bool, BucketError>> + Send;
}

/// A bucket. A clone is the same bucket. If a write fails, nothing of it is kept. If the future of a write is
/// dropped, it may still happen.
pub trait Bucket: Clone + Send + Sync + 'static {
    /// Bytes of a key.
    const KEY_BYTES_MAX: usize = 1024;

    /// Keys of one call.
    const KEYS_MAX: usize = 1000;

    /// Bytes of the keys and values of one call.
    const CALL_BYTES_MAX: u64 = 32 << 20;

    /// The value of `key`.
    ///
    /// # Errors
    /// [`BucketError::KeyTooLong`], or the store failed.
    fn get(&self, key: &str) -> impl Future<Output = Result<Option<KeyValue>, BucketError>> + Send;

    /// The values of `keys`, in their order, as they are at one moment.
    ///
    /// # Errors
    /// As of [`get`](Self::get); [`BucketError::TooManyKeys`] or [`BucketError::TooManyBytes`].
    fn get_many(
        &self,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<KeyValue>>, BucketError>> + Send;

    /// Whether there is a value of `key`.
    ///
    /// # Errors
    /// As of [`get`](Self::get).
    fn exists(&self, key: &str) -> impl Future<Output = Result<bool, BucketError>> + Send;

    /// At most `limit` keys, those from `cursor` on. A key that is there all the time is in one of the pages.
    ///
    /// # Errors
    /// The store failed.
    fn list_keys(
        &self,
        cursor: Option<u64>,
        limit: usize,
    ) -> impl Future<Output = Result<KeyPage, BucketError>> + Send;

    /// At most `limit` keys that begin with `prefix`, in order, those behind `after`.
    ///
    /// # Errors
    /// The store failed.
    fn find_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<String>, BucketError>> + Send;

    /// Sets the value of `key`.
    ///
    /// # Errors
    /// The key or the value is too long, the bucket is full, or the store failed.
    fn set(&self, key: String, value: Bytes)
    -> impl Future<Output = Result<KeyRevision, BucketError>> + Send;

    /// Sets several values, all or none of them. Of a key that comes twice the last value counts.
    ///
    /// # Errors
    /// As of [`set`](Self::set); [`BucketError::TooManyKeys`] or [`BucketError::TooManyBytes`].
    fn set_many(&self, values: Vec<(String, Bytes)>) -> impl Future<Output = Result<(), BucketError>> + Send;

    /// Deletes `key`. Returns whether it was there.
    ///
    /// # Errors
    /// The key is too long, or the store failed.
    fn delete(&self, key: String) -> impl Future<Output = Result<bool, BucketError>> + Send;

    /// Deletes several keys, all or none of them. Returns how many were there.
    ///
    /// # Errors
    /// As of [`delete`](Self::delete), or [`BucketError::TooManyKeys`].
    fn delete_many(&self, keys: Vec<String>) -> impl Future<Output = Result<u64, BucketError>> + Send;

    /// Adds `delta` to the number that the value of `key` is in decimal digits, or to 0 if there is none.
    /// Returns the sum.
    ///
    /// # Errors
    /// As of [`set`](Self::set); [`BucketError::NoNumber`] or [`BucketError::Overflow`].
    fn increment(&self, key: String, delta: Delta) -> impl Future<Output = Result<i128, BucketError>> + Send;

    /// Sets the value of `key` if its revision is still `expected`; if that is `None`, if there is none.
    ///
    /// # Errors
    /// As of [`set`](Self::set).
    fn compare_and_swap(
        &self,
        key: String,
        expected: Option<KeyRevision>,
        value: Bytes,
    ) -> impl Future<Output = Result<Swap, BucketError>> + Send;

    /// What the bucket holds.
    ///
    /// # Errors
    /// The store failed.
    fn usage(&self) -> impl Future<Output = Result<BucketUsage, BucketError>> + Send;
}
