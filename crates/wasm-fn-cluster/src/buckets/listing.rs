//! Which keys a bucket has, and which buckets there are: what the stream's leader says of its subjects.
//!
//! A key that was deleted has a message for another second. There is one exactly if the bucket has more
//! subjects than keys, and only then the keys that were found are looked at one by one.

use std::collections::BTreeSet;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use wasm_fn_core::FunctionName;
use wasm_fn_store::{BucketAddress, BucketConsistency, BucketUsage, KeyPage};

use super::{
    asking::{Asking, Trouble},
    subjects::{Shard, Subjects, place},
};

/// How many records are asked for at once.
const CONCURRENT: usize = 32;

/// An offset behind all subjects: only their number is told.
const COUNT_ONLY: u64 = 1 << 62;

const STRONG: BucketConsistency = BucketConsistency::Strong;

impl Asking {
    /// The keys among `keys` that have a value, in their order. `id` is that of their bucket.
    async fn living(&self, id: &str, keys: Vec<String>) -> Result<Vec<String>, Trouble> {
        let asked: Vec<_> = keys.iter().map(String::as_str).collect();
        let stored = self.outlines_of(id, &asked).await?;
        Ok(keys.into_iter().zip(stored).filter(|(_, stored)| stored.is_some()).map(|(key, _)| key).collect())
    }

    /// Whether each subject of the bucket's keys has a value, if it has `keys` of them.
    async fn all_live(&self, id: &str, keys: u64) -> Result<bool, Trouble> {
        let filter = self.subjects.keys(id, Shard::All);
        Ok(self.subjects_of(&filter, COUNT_ONLY).await?.total == keys)
    }

    /// At most `limit` keys from the place `cursor` on, by their place.
    pub(super) async fn list_keys(
        &self,
        address: &BucketAddress,
        cursor: u64,
        limit: usize,
    ) -> Result<KeyPage, Trouble> {
        let head = self.head(address, STRONG).await?;
        let Some(record) = head.live() else { return Ok(KeyPage { keys: Vec::new(), cursor: None }) };
        let count = record.usage().keys;
        let all_live = self.all_live(&record.id, count).await?;
        let (mut keys, mut from) = (Vec::new(), Some(cursor));
        while let Some(start) = from {
            let shard = Shard::at(start, count);
            let mut found = self.all_keys(&self.subjects.keys(&record.id, shard)).await?;
            found.retain(|key| key.0 >= cursor);
            found.sort();
            for (place, key) in found {
                if keys.len() >= limit {
                    let keys = if all_live { keys } else { self.living(&record.id, keys).await? };
                    return Ok(KeyPage { keys, cursor: Some(place) });
                }
                keys.push(key);
            }
            from = shard.end();
        }
        let keys = if all_live { keys } else { self.living(&record.id, keys).await? };
        Ok(KeyPage { keys, cursor: None })
    }

    /// The keys of the subjects within `filter`, with their places.
    async fn all_keys(&self, filter: &str) -> Result<Vec<(u64, String)>, Trouble> {
        let mut keys = Vec::new();
        let mut offset = 0;
        loop {
            let page = self.subjects_of(filter, offset).await?;
            let found = page.subjects.iter().filter_map(|subject| Subjects::key_of(subject));
            keys.extend(found.map(|key| (place(&key), key)));
            offset += page.subjects.len() as u64;
            if page.subjects.is_empty() || offset >= page.total {
                return Ok(keys);
            }
        }
    }

    /// At most `limit` keys that begin with `prefix`, in order, those behind `after`.
    pub(super) async fn find_keys(
        &self,
        address: &BucketAddress,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Trouble> {
        let head = self.head(address, STRONG).await?;
        let Some(record) = head.live() else { return Ok(Vec::new()) };
        let all_live = self.all_live(&record.id, record.usage().keys).await?;
        let (mut keys, mut after) = (Vec::new(), after.map(str::to_owned));
        loop {
            let first = self.first_keys(&record.id, prefix, after.as_deref(), limit - keys.len()).await?;
            let is_last = first.len() < limit - keys.len();
            after = first.last().cloned().or(after);
            keys.extend(if all_live { first } else { self.living(&record.id, first).await? });
            if is_last || keys.len() >= limit {
                return Ok(keys);
            }
        }
    }

    /// The first `limit` keys that begin with `prefix`, behind `after`, whether or not they have a value. No
    /// more than that are held.
    async fn first_keys(
        &self,
        id: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, Trouble> {
        let filter = self.subjects.keys(id, Shard::All);
        let mut first = BTreeSet::new();
        let mut offset = 0;
        loop {
            let page = self.subjects_of(&filter, offset).await?;
            for key in page.subjects.iter().filter_map(|subject| Subjects::key_of(subject)) {
                if key.starts_with(prefix) && after.is_none_or(|after| *key > *after) {
                    first.insert(key);
                    if first.len() > limit {
                        first.pop_last();
                    }
                }
            }
            offset += page.subjects.len() as u64;
            if page.subjects.is_empty() || offset >= page.total {
                return Ok(first.into_iter().collect());
            }
        }
    }

    /// The buckets of `function`, or of all functions, with what they hold.
    pub(super) async fn buckets(
        &self,
        function: Option<&FunctionName>,
    ) -> Result<Vec<(BucketAddress, BucketUsage)>, Trouble> {
        let filter = self.subjects.records(function);
        let (mut addresses, mut offset) = (Vec::new(), 0);
        loop {
            let page = self.subjects_of(&filter, offset).await?;
            addresses.extend(page.subjects.iter().filter_map(|subject| self.subjects.address(subject)));
            offset += page.subjects.len() as u64;
            if page.subjects.is_empty() || offset >= page.total {
                break;
            }
        }
        addresses.sort();
        let head = |address: BucketAddress| async move {
            let head = self.head(&address, STRONG).await?;
            Ok::<_, Trouble>(head.live().map(|record| (address, record.usage())))
        };
        let heads: Vec<_> = addresses.into_iter().map(head).collect();
        let found: Vec<_> = stream::iter(heads).buffered(CONCURRENT).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }
}
