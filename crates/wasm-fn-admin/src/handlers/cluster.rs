//! The cluster that the node is in.

use std::sync::Arc;

use axum::{Json, extract::State};
use wasm_fn_api as api;
use wasm_fn_control::host::Host;
use wasm_fn_core::NodeName;
use wasm_fn_store::Store;

use crate::{ApiError, ClusterSource, admin::Shared, extract::JsonBody};

/// Shows the cluster as this node sees it.
pub(crate) async fn show<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
) -> Result<Json<api::ClusterView>, ApiError> {
    Ok(Json(cluster(admin.options.cluster.as_ref())?.view().await))
}

/// Has a node finish its requests and end.
pub(crate) async fn drain<H: Host, S: Store>(
    State(Shared(admin)): State<Shared<H, S>>,
    JsonBody(request): JsonBody<api::DrainRequest>,
) -> Result<Json<api::NodeDrained>, ApiError> {
    let cluster = cluster(admin.options.cluster.as_ref())?;
    let node = match request.node {
        None => cluster.node().clone(),
        Some(name) => name.parse::<NodeName>()?,
    };
    if !cluster.view().await.nodes.iter().any(|known| known.name == node.as_str()) {
        return Err(ApiError::unknown_node(&node));
    }
    cluster.drain(&node);
    Ok(Json(api::NodeDrained { node: node.to_string() }))
}

fn cluster(cluster: Option<&Arc<dyn ClusterSource>>) -> Result<&Arc<dyn ClusterSource>, ApiError> {
    cluster.ok_or_else(ApiError::no_cluster)
}
