//! The journal: every committed change, with who made it, when, from where and why, in a chain of hashes.
//!
//! The hash of an entry is SHA-256 over its canonical JSON without the hash itself: keys are sorted, there is
//! no white space, and strings are escaped as `serde_json` does it. This is the form of RFC 8785 for the
//! values that occur: no fractions, no integers above 2⁵³. The hash covers the hash of the entry before, so
//! nobody can change or remove an entry without changing all later ones.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use wasm_fn_core::Revision;

use crate::{
    state::{Change, Meta},
    stored::{self, Malformed},
};

/// SHA-256 of an entry.
pub type Hash = [u8; 32];

/// The hash before the first entry.
pub const GENESIS: Hash = [0; 32];

/// One committed change.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The revision that the change made.
    pub revision: Revision,
    /// When, Unix milliseconds.
    pub at_ms: u64,
    /// The name of the token that made the change.
    pub actor: String,
    /// The id of that token; `None` for the node itself and the token in the data directory.
    pub token: Option<String>,
    /// The address that the change came from.
    pub origin: String,
    /// The node of a cluster that made it; `None` for a node that is alone.
    pub node: Option<String>,
    /// Why the change was made.
    pub message: Option<String>,
    /// The change.
    pub change: Change,
    /// The hash of the entry before; [`GENESIS`] for the first.
    pub previous_hash: Hash,
    /// The hash of this entry; [`GENESIS`] until the entry is [sealed](Self::sealed).
    pub hash: Hash,
}

#[derive(Serialize, Deserialize)]
struct Record {
    revision: u64,
    at_ms: u64,
    actor: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    origin: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    message: Option<String>,
    change: stored::StoredChange,
    previous_hash: String,
    #[serde(default)]
    hash: String,
}

/// Where and how a chain is broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The entry cannot be read.
    #[error("journal entry {revision}: {reason}")]
    Unreadable {
        /// The key of the entry.
        revision: u64,
        /// Why it cannot be read.
        reason: String,
    },
    /// The entry does not match its hash.
    #[error("journal entry {revision} does not match its hash: it was changed")]
    Changed {
        /// The key of the entry.
        revision: u64,
    },
    /// The entry does not follow the one before.
    #[error("journal entry {revision} does not follow the entry before it: one was changed or removed")]
    Gap {
        /// The key of the entry.
        revision: u64,
    },
}

/// The end of a journal, as somebody noted it elsewhere. It covers all entries up to there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotedHead {
    /// The revision of the last entry; 0 if there is none.
    pub revision: Revision,
    /// Its hash; [`GENESIS`] if there is none.
    pub hash: Hash,
}

/// How a journal differs from a head that was noted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// The journal ends before it.
    #[error("journal ends at revision {last}, expected an entry {noted}: entries were removed from its end")]
    Missing {
        /// The revision noted.
        noted: Revision,
        /// The revision of the last entry.
        last: Revision,
    },
    /// The entry has another hash.
    #[error(
        "journal entry {revision} has another hash than was noted: it, or one before it, was written anew"
    )]
    Differs {
        /// The revision noted.
        revision: Revision,
    },
}

impl Entry {
    /// The entry with the hash of its contents, whatever its hash was before.
    #[must_use]
    pub fn sealed(self) -> Self {
        let value = serde_json::to_value(Record::from(&self));
        Self { hash: hash(value.expect("a record has text keys and no fractions")), ..self }
    }

    /// The facts that [`State::apply`](crate::state::State::apply) needs besides the change.
    pub fn meta(&self) -> Meta<'_> {
        Meta {
            revision: self.revision,
            at_ms: self.at_ms,
            actor: &self.actor,
            message: self.message.as_deref(),
        }
    }

    /// Checks that the entry with the text `next` follows the one with the text `previous`, or is the first
    /// if there is none.
    ///
    /// # Errors
    /// Where and how the chain is broken.
    pub fn verify_next(previous: Option<&str>, next: &str) -> Result<(), ChainError> {
        let unreadable = |revision, error: Malformed| ChainError::Unreadable { revision, reason: error.0 };
        let mut walk = match previous {
            Some(previous) => {
                let previous = Self::parse(previous).map_err(|error| unreadable(0, error))?;
                Walk { revision: previous.revision.0, hash: previous.hash }
            }
            None => Walk::new(),
        };
        walk.step(walk.revision + 1, next)
    }

    /// The text to store.
    pub(crate) fn to_json(&self) -> String {
        serde_json::to_string(&Record::from(self)).expect("a record has text keys and no fractions")
    }

    /// Reads the text of a record.
    ///
    /// # Errors
    /// What is wrong with the text.
    pub fn parse(json: &str) -> Result<Self, Malformed> {
        let record: Record = serde_json::from_str(json).map_err(|error| Malformed(error.to_string()))?;
        Ok(Self {
            revision: Revision(record.revision),
            at_ms: record.at_ms,
            actor: record.actor,
            token: record.token,
            origin: record.origin,
            node: record.node,
            message: record.message,
            change: record.change.try_into()?,
            previous_hash: parse_hash(&record.previous_hash)?,
            hash: parse_hash(&record.hash)?,
        })
    }
}

impl From<&Entry> for Record {
    fn from(entry: &Entry) -> Self {
        Self {
            revision: entry.revision.0,
            at_ms: entry.at_ms,
            actor: entry.actor.clone(),
            token: entry.token.clone(),
            origin: entry.origin.clone(),
            node: entry.node.clone(),
            message: entry.message.clone(),
            change: (&entry.change).into(),
            previous_hash: hex::encode(entry.previous_hash),
            hash: hex::encode(entry.hash),
        }
    }
}

/// Verifies a chain entry by entry.
#[derive(Debug)]
pub(crate) struct Walk {
    revision: u64,
    hash: Hash,
}

impl Walk {
    /// The state before the first entry.
    pub(crate) fn new() -> Self {
        Self { revision: 0, hash: GENESIS }
    }

    /// Checks the next entry, which is stored as `json` under `key`.
    pub(crate) fn step(&mut self, key: u64, json: &str) -> Result<(), ChainError> {
        let unreadable = |reason: String| ChainError::Unreadable { revision: key, reason };
        let value: Value = serde_json::from_str(json).map_err(|error| unreadable(error.to_string()))?;
        let text = |name| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let stated = parse_hash(&text("hash")).map_err(|error| unreadable(error.0))?;
        let previous = parse_hash(&text("previous_hash")).map_err(|error| unreadable(error.0))?;
        let revision = value.get("revision").and_then(Value::as_u64);
        if revision != Some(key) || key != self.revision + 1 || previous != self.hash {
            return Err(ChainError::Gap { revision: key });
        }
        if hash(value) != stated {
            return Err(ChainError::Changed { revision: key });
        }
        *self = Self { revision: key, hash: stated };
        Ok(())
    }

    /// The last verified entry.
    pub(crate) fn head(&self) -> NotedHead {
        NotedHead { revision: Revision(self.revision), hash: self.hash }
    }
}

fn parse_hash(text: &str) -> Result<Hash, Malformed> {
    let mut hash = GENESIS;
    hex::decode_to_slice(text, &mut hash)
        .map_err(|_| Malformed(format!("hash {text:?}, expected 64 hexadecimal digits")))?;
    Ok(hash)
}

/// The hash of a record, whatever hash it states.
fn hash(mut record: Value) -> Hash {
    if let Some(fields) = record.as_object_mut() {
        fields.remove("hash");
    }
    let mut text = String::new();
    canonical(&record, &mut text);
    Sha256::digest(text).into()
}

fn canonical(value: &Value, out: &mut String) {
    match value {
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|&(name, _)| name);
            out.push('{');
            for (at, (name, field)) in fields.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                canonical(&Value::String(name.clone()), out);
                out.push(':');
                canonical(field, out);
            }
            out.push('}');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string());
        }
    }
}

#[cfg(test)]
mod tests;
