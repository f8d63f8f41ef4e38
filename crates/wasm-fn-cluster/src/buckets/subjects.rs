//! Under which subjects the stream of buckets keeps what. Pure.
//!
//! A key can be any text, and a subject cannot. So a key is a token of base64, behind the first bytes of its
//! hash: these divide a large bucket into parts that can be listed one by one, in the order of the hash.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use wasm_fn_core::FunctionName;
use wasm_fn_store::BucketAddress;

/// A name of a bucket, and a key, may be empty or begin with anything. A token may not.
const MARK: char = 'k';

/// Subjects of a cluster's buckets.
#[derive(Clone, Debug)]
pub(super) struct Subjects {
    prefix: Arc<str>,
}

/// A part of the keys of a bucket: those whose hashes begin with these bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shard {
    All,
    First(u8),
    Second(u8, u8),
}

/// Where a key stands in its bucket: the beginning of its hash. Keys are listed in this order.
pub(super) fn place(key: &str) -> u64 {
    let hash = Sha256::digest(key.as_bytes());
    u64::from_be_bytes(std::array::from_fn(|index| hash[index]))
}

impl Shard {
    /// The shard that `place` is in, if a bucket of `keys` keys is divided. Each has some thousands at most.
    pub(super) fn at(place: u64, keys: u64) -> Self {
        let [first, second, ..] = place.to_be_bytes();
        match keys {
            0..=4_096 => Self::All,
            4_097..=1_000_000 => Self::First(first),
            _ => Self::Second(first, second),
        }
    }

    /// The first place behind it; `None` if it is the last.
    pub(super) fn end(self) -> Option<u64> {
        match self {
            Self::All => None,
            Self::First(first) => first.checked_add(1).map(|next| u64::from(next) << 56),
            Self::Second(first, second) => {
                let next = u16::from_be_bytes([first, second]).checked_add(1);
                next.map(|next| u64::from(next) << 48)
            }
        }
    }
}

impl Subjects {
    pub(super) fn new(prefix: &Arc<str>) -> Self {
        Self { prefix: Arc::clone(prefix) }
    }

    /// Of the record of a bucket.
    pub(super) fn record(&self, address: &BucketAddress) -> String {
        let BucketAddress { function, stage, name } = address;
        format!("{}.bucket.{function}.{stage}.{}", self.prefix, token(name))
    }

    /// Of the records of the buckets of `function`, or of all.
    pub(super) fn records(&self, function: Option<&FunctionName>) -> String {
        match function {
            Some(function) => format!("{}.bucket.{function}.>", self.prefix),
            None => format!("{}.bucket.>", self.prefix),
        }
    }

    /// The bucket whose record has this subject.
    pub(super) fn address(&self, subject: &str) -> Option<BucketAddress> {
        let rest = subject.strip_prefix(&*self.prefix)?.strip_prefix(".bucket.")?;
        let mut tokens = rest.split('.');
        let (function, stage, name) = (tokens.next()?, tokens.next()?, tokens.next()?);
        let address =
            BucketAddress { function: function.parse().ok()?, stage: stage.parse().ok()?, name: text(name)? };
        tokens.next().is_none().then_some(address)
    }

    /// Of a key of the bucket with this id.
    pub(super) fn key(&self, id: &str, key: &str) -> String {
        let [first, second, ..] = place(key).to_be_bytes();
        format!("{}.key.{id}.{first:02x}.{second:02x}.{}", self.prefix, token(key))
    }

    /// Of the keys of a shard.
    pub(super) fn keys(&self, id: &str, shard: Shard) -> String {
        match shard {
            Shard::All => format!("{}.key.{id}.>", self.prefix),
            Shard::First(first) => format!("{}.key.{id}.{first:02x}.>", self.prefix),
            Shard::Second(first, second) => format!("{}.key.{id}.{first:02x}.{second:02x}.>", self.prefix),
        }
    }

    /// The key that has this subject.
    pub(super) fn key_of(subject: &str) -> Option<String> {
        text(subject.rsplit('.').next()?)
    }

    /// Of the further part of a value with this number, from 1.
    pub(super) fn part(&self, id: &str, key: &str, part: u64) -> String {
        format!("{}.part.{id}.{}.{part}", self.prefix, token(key))
    }

    /// Of everything that a bucket has besides its record.
    pub(super) fn contents(&self, id: &str) -> [String; 2] {
        ["key", "part"].map(|what| format!("{}.{what}.{id}.>", self.prefix))
    }
}

fn token(text: &str) -> String {
    let mut token = String::from(MARK);
    BASE64_URL_SAFE_NO_PAD.encode_string(text, &mut token);
    token
}

fn text(token: &str) -> Option<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix(MARK)?).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
