//! What the admin API asks of the cluster that its node is in, and what nodes ask each other.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use wasm_fn_api::{ClusterView, RightsSpec};
use wasm_fn_core::NodeName;

/// A request of the admin API that one node passes to another. The other answers it for itself alone, within
/// the rights of the caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeQuestion {
    /// The path, with its query.
    pub target: String,
    /// The caller's name.
    pub actor: String,
    /// What the caller may do.
    pub rights: RightsSpec,
}

/// What a node answers to a [`NodeQuestion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAnswer {
    /// The status of the response.
    pub status: u16,
    /// Its media type.
    pub media_type: String,
    /// Its body.
    pub body: Bytes,
}

/// Another node of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherNode {
    /// Its name.
    pub name: NodeName,
    /// Why it is of no use to ask it, if it is.
    pub silent: Option<String>,
}

/// Knows the cluster that a node is in.
pub trait ClusterSource: fmt::Debug + Send + Sync {
    /// The name of the node.
    fn node(&self) -> &NodeName;

    /// What the node knows of the cluster without asking anybody.
    fn seen(&self) -> ClusterView;

    /// The same, and how the broker's servers are.
    fn view(&self) -> BoxFuture<'_, ClusterView>;

    /// Has the node called `node` end, if it is there.
    fn drain(&self, node: &NodeName);

    /// The other nodes that were heard of in the last minute, sorted by name; each name once.
    fn others(&self) -> Vec<OtherNode>;

    /// Asks the node called `node`, and waits for its answer no longer than `patience`.
    ///
    /// # Errors
    /// Why there is no answer, as the end of a sentence about the node.
    fn ask(
        &self,
        node: NodeName,
        question: NodeQuestion,
        patience: Duration,
    ) -> BoxFuture<'_, Result<NodeAnswer, String>>;
}
