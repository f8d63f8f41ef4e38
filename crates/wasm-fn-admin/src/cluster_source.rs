//! What the admin API asks of the cluster that its node is in.

use std::fmt;

use futures_util::future::BoxFuture;
use wasm_fn_api::ClusterView;
use wasm_fn_core::NodeName;

/// Knows the cluster that a node is in.
pub trait ClusterSource: fmt::Debug + Send + Sync {
    /// The name of the node.
    fn node(&self) -> &NodeName;

    /// What the node knows of the cluster.
    fn view(&self) -> BoxFuture<'_, ClusterView>;

    /// Has the node called `node` end, if it is there.
    fn drain(&self, node: &NodeName);
}
