//! `wasi:keyvalue`: how a guest uses the buckets that its version's configuration names.
//!
//! The runtime does not know where buckets are: whoever starts it gives it a [`BucketStore`]. Waiting for an
//! answer is no CPU time of the guest. If the guest is cancelled meanwhile, a write happens as a whole or not
//! at all. Writes are effects, and are asked for as such; reads are none.

mod link;

use std::{collections::BTreeMap, fmt::Write as _, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use wasm_fn_core::{BucketConfig, BucketName, FunctionName, StageName};

pub(crate) use link::{add_to_linker, is_offered};

/// The bucket that the empty identifier stands for.
const DEFAULT: &str = "default";

/// What a bucket answers, some time.
pub type BucketFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, BucketFailure>> + Send + 'a>>;

/// Why a bucket refused or failed, in words for whoever wrote the guest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct BucketFailure {
    /// What was found, and what was expected.
    pub reason: String,
    /// Whether the node is at fault. A guest that fails then is not charged with it.
    pub is_of_node: bool,
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketValue {
    /// The revision of the write that set it. No key of the bucket had it before.
    pub revision: u64,
    /// The value.
    pub value: Bytes,
}

/// Some keys of a bucket, and what the next page begins at, unless this is the last.
pub type BucketKeys = (Vec<String>, Option<u64>);

/// Keeps the buckets of functions.
pub trait BucketStore: Send + Sync + 'static {
    /// The bucket `name` of `function` in `stage`. It need not exist, and nothing is waited for.
    fn bucket(
        &self,
        function: &FunctionName,
        stage: &StageName,
        name: &BucketName,
        config: &BucketConfig,
    ) -> Arc<dyn GuestBucket>;
}

/// A bucket of keys and values. Reads see every write that returned before. Of a write that fails, nothing is
/// kept; of one whose future is dropped, all or nothing.
pub trait GuestBucket: Send + Sync + 'static {
    /// How long an answer takes at most while all is well; `None` if the node itself has the bucket. A guest
    /// whose time is over during a longer wait is not charged with it.
    fn usual_wait(&self) -> Option<Duration> {
        None
    }

    /// The value of `key`.
    fn get(&self, key: String) -> BucketFuture<'_, Option<BucketValue>>;

    /// The values of `keys`, in their order, as they are at one moment.
    fn get_many(&self, keys: Vec<String>) -> BucketFuture<'_, Vec<Option<(String, Bytes)>>>;

    /// Whether there is a value of `key`.
    fn exists(&self, key: String) -> BucketFuture<'_, bool>;

    /// A page of keys, those from `cursor` on.
    fn list_keys(&self, cursor: Option<u64>) -> BucketFuture<'_, BucketKeys>;

    /// Sets the value of `key`.
    fn set(&self, key: String, value: Bytes) -> BucketFuture<'_, ()>;

    /// Sets several values, all or none of them.
    fn set_many(&self, values: Vec<(String, Bytes)>) -> BucketFuture<'_, ()>;

    /// Deletes `key`, if it is there.
    fn delete(&self, key: String) -> BucketFuture<'_, ()>;

    /// Deletes several keys, all or none of them.
    fn delete_many(&self, keys: Vec<String>) -> BucketFuture<'_, ()>;

    /// Adds `delta` to the number in decimal digits that the value is, a `u64`. Returns the sum.
    fn add_unsigned(&self, key: String, delta: u64) -> BucketFuture<'_, u64>;

    /// The same for an `i64`.
    fn add_signed(&self, key: String, delta: i64) -> BucketFuture<'_, i64>;

    /// Sets the value of `key` if its revision is `expected`, or if there is none and that is `None`.
    fn swap(&self, key: String, expected: Option<u64>, value: Bytes) -> BucketFuture<'_, BucketSwap>;
}

/// How a comparison went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketSwap {
    /// As expected: the value is set.
    Swapped,
    /// The revision was this one, or there was no value. Nothing was changed.
    Unexpected(Option<u64>),
}

/// The buckets that a version may open.
pub(crate) type NamedBuckets = BTreeMap<BucketName, Arc<dyn GuestBucket>>;

/// The bucket that `identifier` stands for.
fn find<'b>(buckets: &'b NamedBuckets, identifier: &str) -> Option<&'b Arc<dyn GuestBucket>> {
    let name = if identifier.is_empty() { DEFAULT } else { identifier };
    buckets.get(&name.parse().ok()?)
}

/// What the function's log says of a bucket that is not named.
fn not_named(buckets: &NamedBuckets, identifier: &str) -> String {
    let mut text = if identifier.is_empty() {
        format!("bucket \"\" was opened, which stands for `{DEFAULT}`, and that is not configured")
    } else {
        format!("bucket {identifier:?} was opened, which is not configured")
    };
    match buckets.len() {
        0 => text.push_str("; this version has no buckets"),
        _ => text.push_str("; this version has the buckets"),
    }
    for (index, name) in buckets.keys().enumerate() {
        let separator = if index == 0 { " " } else { ", " };
        write!(text, "{separator}{name}").expect("a string takes text");
    }
    text
}
