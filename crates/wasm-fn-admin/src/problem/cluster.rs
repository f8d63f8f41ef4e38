//! What a node answers because it is in a cluster, or in none.

use std::{fmt::Display, time::Duration};

use http::StatusCode;
use wasm_fn_core::{NodeName, Revision, TokenName};
use wasm_fn_store::StoreError;

use super::ApiError;

impl ApiError {
    pub(crate) fn no_cluster() -> Self {
        let detail = "the node is alone, expected one that was started with --cluster";
        Self::new(StatusCode::CONFLICT, "no-cluster", "there is no cluster", detail)
    }

    pub(crate) fn unknown_node(node: &NodeName) -> Self {
        let detail = format!("no node {node} was heard of in the last minute");
        Self::new(StatusCode::NOT_FOUND, "no-such-node", "there is no such node", detail)
            .help("`wasm-fn cluster status` shows the nodes")
    }

    pub(crate) fn silent_node(node: &NodeName, reason: impl Display) -> Self {
        let detail = format!("node {node} does not tell: {reason}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "node-silent", "the node does not answer", detail)
            .help("ask that node itself, or all nodes")
    }

    pub(crate) fn revision_not_reached(wanted: Revision, found: Revision, patience: Duration) -> Self {
        let detail = format!("the node has revision {found}, expected at least {wanted} within {patience:?}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "revision-not-reached", "the node is not so far", detail)
            .help("try again, or ask the node that made the change")
    }

    pub(super) fn cluster_not_prepared(detail: impl Display) -> Self {
        let title = "the cluster is not ready for it";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "cluster-not-prepared", title, detail)
    }

    pub(super) fn suspended(token: &TokenName, cause: StoreError) -> Self {
        Self::from(cause).help(format!(
            "`{token}` is refused for ten minutes by this node and by those that it can tell; repeat the command \
             until it succeeds"
        ))
    }

    fn out_of_touch(detail: impl Display) -> Self {
        let title = "the node is out of touch";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "out-of-touch", title, detail)
            .help("ask another node of the cluster, or try again when the broker is back")
    }

    fn outcome_unknown(detail: impl Display) -> Self {
        let title = "the outcome is not known";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome-unknown", title, detail)
            .help("look whether the change was made before you try again")
    }

    fn disk_full(detail: impl Display) -> Self {
        let title = "there is no room for the change";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "disk-full", title, detail)
            .help("make room where the detail says, on the node or on the broker; everything else goes on")
    }

    fn cluster_diverged(detail: impl Display) -> Self {
        let title = "the cluster has lost changes";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "cluster-diverged", title, detail)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Released(_) => Self::not_ready(error),
            StoreError::OutOfTouch { .. } | StoreError::Unanswered { .. } => Self::out_of_touch(error),
            StoreError::Unknown { .. } => Self::outcome_unknown(error),
            StoreError::Diverged { .. } => Self::cluster_diverged(error),
            StoreError::DiskFull { .. } => Self::disk_full(error),
            _ => Self::internal(error),
        }
    }
}
