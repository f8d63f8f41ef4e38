//! Several operations as one write: what it changes, and what each of them is told. Pure.
//!
//! An operation that reads what an earlier one of the same draft changes waits for the next draft, because
//! the revision of that change is not known yet. Only increments go on from each other.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use wasm_fn_store::{BucketError, BucketQuota, BucketUsage, Delta, KeyRevision};

use super::value::{Stored, further_parts};

/// Messages of a batch at most: what the broker takes.
pub(super) const MESSAGES_MAX: u64 = 1000;

/// Bytes of the values of a draft at most, if it has more than one operation.
const BYTES_MAX: u64 = 32 << 20;

/// What an operation does.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Sets values, or deletes keys.
    Set(BTreeMap<String, Option<Bytes>>),
    Increment(String, Delta),
    Swap {
        key: String,
        expected: Option<KeyRevision>,
        value: Bytes,
    },
}

/// What the stream has of keys; `None` where there is no value.
pub(super) type Found = HashMap<String, Option<Stored>>;

/// What an operation is told, once its draft is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// How many of its keys were there.
    Known(u64),
    /// The sum.
    Sum(i128),
    /// The value is set, with the revision that the key has then.
    Swapped,
    /// The revision was this one.
    Unexpected(Option<KeyRevision>),
}

/// What becomes of an operation.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is in the draft.
    Yes(Told),
    /// It is refused, and changes nothing.
    Refused(BucketError),
    /// It has to wait for the next draft.
    Later,
}

/// A change of one key.
#[derive(Clone, Debug)]
struct Pending {
    value: Option<Bytes>,
    /// Whether increments alone made it.
    is_sum: bool,
}

/// Operations on a bucket that are written together.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    bucket: &'a str,
    found: &'a Found,
    usage: BucketUsage,
    changes: BTreeMap<String, Pending>,
    messages: u64,
    bytes: u64,
}

impl Change {
    /// The keys that it reads.
    pub(super) fn keys(&self) -> impl Iterator<Item = &String> {
        let (many, one) = match self {
            Self::Set(values) => (Some(values.keys()), None),
            Self::Increment(key, _) | Self::Swap { key, .. } => (None, Some(key)),
        };
        many.into_iter().flatten().chain(one)
    }
}

impl<'a> Draft<'a> {
    /// An empty draft of the bucket called `bucket`, which holds `usage`. `found` has all keys that its
    /// operations read.
    pub(super) fn new(bucket: &'a str, usage: BucketUsage, found: &'a Found) -> Self {
        // The record is a message, too.
        Self { bucket, found, usage, changes: BTreeMap::new(), messages: 1, bytes: 0 }
    }

    /// What the bucket holds once the draft is written.
    pub(super) fn usage(&self) -> BucketUsage {
        self.usage
    }

    /// What is written: the new value of each key, or `None` to delete it.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&str, Option<&Bytes>)> {
        self.changes.iter().map(|(key, pending)| (key.as_str(), pending.value.as_ref()))
    }

    /// Takes `change` in, if it can.
    pub(super) fn take(&mut self, change: &Change, quota: &BucketQuota) -> Taken {
        match change {
            Change::Set(values) => self.set(values, quota),
            Change::Increment(key, delta) => self.increment(key, *delta, quota),
            Change::Swap { key, expected, value } => self.swap(key, *expected, value, quota),
        }
    }

    fn set(&mut self, values: &BTreeMap<String, Option<Bytes>>, quota: &BucketQuota) -> Taken {
        if values.keys().any(|key| self.changes.contains_key(key)) {
            return Taken::Later;
        }
        let known = values.keys().filter(|key| self.stored(key).is_some()).count() as u64;
        let changes = values.iter().filter(|(key, value)| value.is_some() || self.stored(key).is_some());
        let changes: Vec<_> = changes.map(|(key, value)| (key.as_str(), value.clone())).collect();
        self.change(changes, false, quota, Told::Known(known))
    }

    fn swap(
        &mut self,
        key: &str,
        expected: Option<KeyRevision>,
        value: &Bytes,
        quota: &BucketQuota,
    ) -> Taken {
        if self.changes.contains_key(key) {
            return Taken::Later;
        }
        let found = self.stored(key).map(|stored| stored.revision);
        if found != expected {
            return Taken::Yes(Told::Unexpected(found));
        }
        self.change(vec![(key, Some(value.clone()))], false, quota, Told::Swapped)
    }

    fn increment(&mut self, key: &str, delta: Delta, quota: &BucketQuota) -> Taken {
        let range = delta.range();
        let pending = self.changes.get(key);
        if pending.is_some_and(|pending| !pending.is_sum) {
            return Taken::Later;
        }
        let (found, whole) = match (pending, self.stored(key)) {
            (Some(pending), _) => (pending.value.as_ref().map_or(0, Bytes::len), pending.value.as_ref()),
            (None, Some(stored)) => (usize::try_from(stored.bytes).unwrap_or(usize::MAX), stored.whole()),
            (None, None) => (0, None),
        };
        let is_there = pending.is_some() || self.stored(key).is_some();
        let number = whole.and_then(|value| std::str::from_utf8(value).ok()?.parse::<i128>().ok());
        let number = match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None if is_there => return Taken::Refused(BucketError::NoNumber { found, range }),
            None => 0,
        };
        let sum = number + delta.number();
        if !range.contains(&sum) {
            return Taken::Refused(BucketError::Overflow { found: sum, range });
        }
        let value = sum.to_string();
        let (found, limit) = (value.len() as u64, quota.value_bytes_max);
        if found > limit {
            return Taken::Refused(BucketError::ValueTooLarge { found, limit });
        }
        self.change(vec![(key, Some(Bytes::from(value)))], true, quota, Told::Sum(sum))
    }

    fn stored(&self, key: &str) -> Option<&'a Stored> {
        self.found.get(key).and_then(Option::as_ref)
    }

    /// Makes `changes`, if they are within `quota` and the draft has room for them.
    fn change(
        &mut self,
        changes: Vec<(&str, Option<Bytes>)>,
        is_sum: bool,
        quota: &BucketQuota,
        told: Told,
    ) -> Taken {
        let (mut after, mut messages, mut bytes) = (self.usage, self.messages, self.bytes);
        for (key, value) in &changes {
            let size = |bytes: u64| key.len() as u64 + bytes;
            let before = match self.changes.get(*key) {
                Some(pending) => pending.value.as_ref().map(|value| value.len() as u64),
                None => self.stored(key).map(|stored| stored.bytes),
            };
            if let Some(before) = before {
                after.bytes = after.bytes.saturating_sub(size(before));
                after.keys = after.keys.saturating_sub(1);
            }
            let value = value.as_ref().map(|value| value.len() as u64);
            if let Some(value) = value {
                after.bytes += size(value);
                after.keys += 1;
            }
            messages += 1 + further_parts(value.unwrap_or(0));
            bytes += value.unwrap_or(0);
        }
        if let Some(error) = self.refusal(quota, &after) {
            return Taken::Refused(error);
        }
        if !self.changes.is_empty() && (messages > MESSAGES_MAX || bytes > BYTES_MAX) {
            return Taken::Later;
        }
        (self.usage, self.messages, self.bytes) = (after, messages, bytes);
        for (key, value) in changes {
            self.changes.insert(key.to_owned(), Pending { value, is_sum });
        }
        Taken::Yes(told)
    }

    /// Why the bucket, which is to hold `after`, would grow beyond `quota`.
    fn refusal(&self, quota: &BucketQuota, after: &BucketUsage) -> Option<BucketError> {
        let bucket = || self.bucket.to_owned();
        if after.bytes > quota.bytes_max && after.bytes > self.usage.bytes {
            let (found, limit) = (after.bytes, quota.bytes_max);
            return Some(BucketError::Bytes { bucket: bucket(), found, limit });
        }
        if after.keys > quota.keys_max && after.keys > self.usage.keys {
            let (found, limit) = (after.keys, quota.keys_max);
            return Some(BucketError::Keys { bucket: bucket(), found, limit });
        }
        None
    }
}

#[cfg(test)]
mod tests;
