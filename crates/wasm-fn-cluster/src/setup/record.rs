//! What a cluster is: one record on the broker, which every node checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_fn_core::{ClusterName, Digest, Revision};
use wasm_fn_store::Record;

use crate::{ClusterError, ClusterOptions, link::Api, names::Names};

/// The format of clusters that this program makes and knows.
const FORMAT: u64 = 1;

/// How much of a fingerprint people are shown.
const SHOWN: usize = 16;

/// What a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    format: u64,
    cluster: String,
    /// What tells the cluster from others of its name: 32 hexadecimal digits.
    pub id: String,
    /// How many servers keep each message.
    pub replicas: u8,
    /// The fingerprint of the key that its nodes have; `None` if whoever made it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// What the log goes on from; `None` if it begins with nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// The state that a cluster's log goes on from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    revision: u64,
    /// The SHA-256 of the text of the record of that revision.
    record: String,
    /// The SHA-256 of a store at that revision, which is in the bucket of components.
    snapshot: String,
}

impl Base {
    /// The state whose last record is `record`, and which the component `snapshot` has.
    pub fn new(record: &Record, snapshot: Digest) -> Self {
        let hash = Digest(Sha256::digest(record.text.as_bytes()).into());
        Self { revision: record.revision.0, record: hash.to_string(), snapshot: snapshot.to_string() }
    }

    /// The revision of the state.
    pub fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// The component that is a store at that revision.
    ///
    /// # Errors
    /// The broker has something else than a digest.
    pub fn snapshot(&self) -> Result<Digest, ClusterError> {
        self.snapshot.parse().map_err(|error: wasm_fn_core::DigestError| ClusterError::Malformed {
            what: "record of the cluster",
            reason: error.to_string(),
        })
    }

    /// Whether `record` is the last one of the state.
    pub(crate) fn is_at(&self, record: &Record) -> bool {
        record.revision.0 == self.revision
            && Digest(Sha256::digest(record.text.as_bytes()).into()).to_string() == self.record
    }
}

impl ClusterRecord {
    /// The record of a new cluster.
    pub(super) fn new(cluster: &ClusterName, replicas: u8, key: Option<String>, base: Option<Base>) -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Self { format: FORMAT, cluster: cluster.to_string(), id, replicas, key, base }
    }

    /// The revision that the cluster begins from.
    pub fn base_revision(&self) -> Revision {
        self.base.as_ref().map_or(Revision(0), Base::revision)
    }

    /// Checks that it is the record of the cluster of `options`: of its id, and its key, where they are
    /// known.
    pub(super) fn check(&self, options: &ClusterOptions) -> Result<(), ClusterError> {
        let ClusterOptions { cluster, cluster_id, key, .. } = options;
        if self.format != FORMAT {
            return Err(ClusterError::Format { found: self.format, known: FORMAT });
        }
        if self.cluster != cluster.as_str() {
            let reason = format!("it is of the cluster {:?}, expected {cluster}", self.cluster);
            return Err(ClusterError::Malformed { what: "record of the cluster", reason });
        }
        if let Some(expected) = cluster_id.as_ref().filter(|expected| **expected != self.id) {
            let (cluster, found) = (cluster.clone(), self.id.clone());
            return Err(ClusterError::Another { cluster, found, expected: expected.clone() });
        }
        match (key, &self.key) {
            (Some(found), Some(expected)) if found != expected => {
                let begins = |fingerprint: &str| fingerprint.chars().take(SHOWN).collect();
                let (cluster, found, expected) = (cluster.clone(), begins(found), begins(expected));
                Err(ClusterError::Key { cluster, found, expected })
            }
            _ => Ok(()),
        }
    }
}

/// What every format has.
#[derive(Deserialize)]
struct AnyFormat {
    format: u64,
}

/// The record that the broker has; `None` if there is none.
pub(super) async fn read(
    api: &Api,
    names: &Names,
    patience: Duration,
) -> Result<Option<ClusterRecord>, ClusterError> {
    if api.stream(&names.coordination, patience).await?.is_none() {
        return Ok(None);
    }
    let Some(kept) = api.last_of(&names.coordination, &names.record, patience).await? else {
        return Ok(None);
    };
    let malformed = |error: serde_json::Error| ClusterError::Malformed {
        what: "record of the cluster",
        reason: error.to_string(),
    };
    // Another format may be anything else.
    let AnyFormat { format } = serde_json::from_slice(&kept.payload).map_err(malformed)?;
    if format != FORMAT {
        return Err(ClusterError::Format { found: format, known: FORMAT });
    }
    serde_json::from_slice(&kept.payload).map(Some).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The record of a cluster as this format has been written; another release may read it.
    const WRITTEN: &str = include_str!("../../formats/1/cluster.json");

    #[test]
    fn record_of_a_cluster_is_written_and_read_as_ever() {
        let last = Record { revision: Revision(5), text: "record 5".to_owned() };
        let record = ClusterRecord {
            format: FORMAT,
            cluster: "test".to_owned(),
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            replicas: 3,
            key: None,
            base: Some(Base::new(&last, Digest([0; 32]))),
        };
        assert_eq!(serde_json::to_string(&record).unwrap(), WRITTEN.trim_end());
        // A later release that keeps the format may say more.
        let more = WRITTEN.replacen('{', "{\"later\":[1],", 1);
        for text in [WRITTEN, &more] {
            assert_eq!(serde_json::from_str::<ClusterRecord>(text).unwrap(), record);
        }
    }
}
