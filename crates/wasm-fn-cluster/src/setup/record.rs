//! What a cluster is: one record on the broker, which every node checks.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use wasm_fn_core::{ClusterName, Digest, Revision};
use wasm_fn_store::Record;

use crate::{ClusterError, link::Api, names::Names};

/// The format of clusters that this program makes and knows.
const FORMAT: u64 = 1;

/// What a cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    format: u64,
    cluster: String,
    /// What tells the cluster from others of its name: 32 hexadecimal digits.
    pub id: String,
    /// How many servers keep each message.
    pub replicas: u8,
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
    pub(super) fn new(cluster: &ClusterName, replicas: u8, base: Option<Base>) -> Self {
        let id = format!("{:032x}", rand::random::<u128>());
        Self { format: FORMAT, cluster: cluster.to_string(), id, replicas, base }
    }

    /// The revision that the cluster begins from.
    pub fn base_revision(&self) -> Revision {
        self.base.as_ref().map_or(Revision(0), Base::revision)
    }

    /// Checks that it is the record of `cluster`, and of the one with `id` if one is expected.
    pub(super) fn check(&self, cluster: &ClusterName, id: Option<&str>) -> Result<(), ClusterError> {
        if self.format != FORMAT {
            return Err(ClusterError::Format { found: self.format, known: FORMAT });
        }
        if self.cluster != cluster.as_str() {
            let reason = format!("it is of the cluster {:?}, expected {cluster}", self.cluster);
            return Err(ClusterError::Malformed { what: "record of the cluster", reason });
        }
        match id {
            Some(expected) if expected != self.id => Err(ClusterError::Another {
                cluster: cluster.clone(),
                found: self.id.clone(),
                expected: expected.to_owned(),
            }),
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
